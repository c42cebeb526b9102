"""The predictions and exercises of lesson 7: break it and mend it."""

from __future__ import annotations

from collections.abc import Iterator

from labkit.lessons.exercise import exercise
from labkit.lessons.look import Look, Missing
from labkit.lessons.mystery import made
from labkit.lessons.predict import Seen, prediction
from labkit.lessons.verdict import Row

CLINIC = {"clinic-1": 2, "clinic-2": 14, "clinic-3": 21, "clinic-4": 12}
"""The patients, by the seeds of their mysteries."""


def _admit(name: str, seed: int) -> None:
    def hints(_: Look) -> tuple[str, str, str]:
        return made(seed).hints()

    @exercise(name, asks="Find the fault of this network and mend it.", hints=hints)
    def rows(_: Look) -> Iterator[Row]:
        yield from made(seed).check().rows


for _name, _seed in CLINIC.items():
    _admit(_name, _seed)


FEW, HUNDREDS, THOUSANDS = "4 or fewer", "some hundreds", "thousands"


@prediction(
    "storm",
    "One ARP question, and two switches that are joined by two cables for a fifth of a second. "
    "How many frames will the second cable carry?",
    (FEW, HUNDREDS, THOUSANDS),
)
def storm(look: Look) -> Seen:
    cables = [c for c in look.lab.cables if {end.bridge for end in c.ends} == {"sw1", "sw2"}]
    if len(cables) < 2:
        raise Missing("sw1 and sw2 are not joined by two cables")
    port = cables[1].ends[0].interface
    folder = f"/sys/class/net/{port}/statistics"
    _, text = look.run(look.lab.machine, f"cat {folder}/tx_packets {folder}/rx_packets")
    sent, received = map(int, text.split())
    if not sent + received:
        raise Missing("the second cable has carried no frame yet")
    count = sent + received
    kind = FEW if count <= 4 else HUNDREDS if count < 1000 else THOUSANDS
    return Seen((kind,), (f"{port}: {sent:,} sent, {received:,} received",))
