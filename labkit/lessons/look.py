"""Looking at a lab on behalf of a check, a prediction or a mystery.

A `Look` reads the kernel's tables, the log, and what commands answer. Its commands are quiet:
they are in no event and in no `lab.commands`, so that a check neither tells what it looks for
nor fills the log. What is not there is `Missing` (an exercise's "not yet"); a probe that does not
work raises whatever it raises (an exercise's "could not tell").
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeVar

from labkit.errors import ClosedError, LabkitError, RecordedError
from labkit.hosts import Host
from labkit.lab import Lab, _open
from labkit.lessons.verdict import Row, Verdict
from labkit.model import events as ev
from labkit.model.operations import MACHINE
from labkit.model.state import State
from labkit.model.values import Interface
from labkit.recording import Recording
from labkit.wiring import Bridge

E = TypeVar("E")


class Missing(Exception):
    """What a check looks for is not there (yet)."""


class Unable(Exception):
    """A probe could not be carried out, so nothing can be said."""


class Look:
    """A lab, or a recording of one, as a check sees it.

    `since` is how many events of the log are older than the time that counts.
    """

    def __init__(self, source: Lab | Recording, since: int = 0) -> None:
        self._lab = None if isinstance(source, Recording) else source
        self.recording = source if isinstance(source, Recording) else source.recording
        self.since = since

    @property
    def lab(self) -> Lab:
        """The lab itself. Raises Unable for a recording, which cannot be asked."""
        if self._lab is None:
            raise Unable("this is a recording, in which no command can be run")
        return self._lab

    def host(self, name: str) -> Host:
        """A host by its name. Raises Missing."""
        for host in (self.lab.machine, *self.lab.hosts):
            if host.name == name:
                return host
        raise Missing(f"the lab has no host {name!r}")

    def bridge(self, name: str) -> Bridge:
        """A bridge by its name. Raises Missing."""
        for bridge in self.lab.bridges:
            if bridge.name == name:
                return bridge
        raise Missing(f"the lab has no bridge {name!r}")

    def interface(self, name: str, which: str = "eth0") -> Interface:
        """An interface of a host. Raises Missing."""
        for interface in self.host(name).interfaces:
            if interface.name == which:
                return interface
        who = "the machine" if name == MACHINE else name
        raise Missing(f"{who} has no interface {which!r} any more")

    def interfaces(self, name: str) -> list[Interface]:
        """A host's interfaces, lo left out. Raises Missing where it has no other."""
        own = [one for one in self.host(name).interfaces if one.name != "lo"]
        if not own:
            raise Missing(f"{name} has no interface but lo any more")
        return own

    def addresses(self, name: str) -> list[str]:
        """The addresses of a host's interfaces, lo left out. Raises Missing."""
        return [a.split("/")[0] for one in self.interfaces(name) for a in one.addresses]

    def state(self) -> State:
        """The tables, when all that has happened so far has been told."""
        return self.recording.state() if self._lab is None else self._lab._state(None)

    def numbered(self, *kinds: type[E]) -> Iterator[tuple[int, E]]:
        """The events of those kinds since `since`, in order, with their numbers in the log."""
        if self._lab is not None:
            self._lab._state(None)
        first, rows = self.recording.since(self.since)
        for number, (_, event) in enumerate(rows, first):
            if isinstance(event, kinds):
                yield number, event

    def events(self, *kinds: type[E]) -> Iterator[E]:
        """The events of those kinds since `since`, in order."""
        return (event for _, event in self.numbered(*kinds))

    def history(self) -> Iterator[tuple[ev.Event, State]]:
        """Every event with the state that it led to (one state, changed in place)."""
        if self._lab is not None:
            self._lab._state(None)
        state = self.recording.state(self.recording.begins - 1)  # what the log begins with
        for event in self.recording.events:
            state.apply(event)
            yield event, state

    def run(self, host: Host, *argv: str, timeout: float = 60) -> tuple[int, str]:
        """Runs a command quietly: its exit code and all it printed. Raises Unable, LabkitError."""
        argv = ("sh", "-c", argv[0]) if len(argv) == 1 else argv
        got = self.lab._spawn(host, argv, quiet=True, timeout=timeout)
        if got.timed_out:
            raise Unable(f"{argv[-1]!r} in {host.name} did not end in time")
        return got.exit_code or 0, got.stdout + got.stderr

    def json(self, host: Host, command: str) -> Any:
        """What a command with JSON output says, decoded. Raises Unable when it fails."""
        code, text = self.run(host, command)
        if code:
            raise Unable(f"{command!r} in {host.name} failed: {text.strip()}")
        return json.loads(text or "[]")

    def ping(self, host: Host, address: str, *, size: int | None = None) -> bool:
        """Whether an echo request (of `size` bytes of data, unfragmented) is answered.

        Raises Unable when `ping` could not send one for want of the program or the right.
        """
        argv = ["ping", "-n", "-c", "1", "-W", "1"]
        if size is not None:
            argv += ["-s", str(size), "-M", "do"]
        code, text = self.run(host, *argv, address)
        if code not in (0, 1) and not any(words in text for words in UNSENT):
            raise Unable(f"ping in {host.name} failed: {text.strip()}")
        return code == 0


UNSENT = (
    "unreachable",
    "Invalid argument",  # a blackhole route
    "Permission denied",  # a prohibit route
    "not permitted",  # dropped by the host's own OUTPUT rules
    "No route to host",
    "Message too long",
    "Network is down",
)
"""What ping says of a network that does not let it send: an answer, no broken probe."""


def expects(
    what: str, expected: object, observed: object, *, ok: bool | None = None, source: str = ""
) -> Row:
    """A row of a verdict; met when both are equal, unless `ok` says otherwise."""
    met = expected == observed if ok is None else ok
    return Row(what=what, expected=str(expected), observed=str(observed), ok=met, source=source)


def reaches(look: Look, name: str, address: str, *, how: str = "") -> Row:
    """A row: that a host's ping to an address is answered."""
    ok = look.ping(look.host(name), address)
    return expects(
        f"{name} reaches {address}{how}",
        "an answered ping",
        "answered" if ok else "no answer",
        ok=ok,
        source=f"ping in {name}",
    )


def judge(name: str, rows: Iterator[Row], *, asks: str = "") -> Verdict:
    """The verdict of a check: its rows, and what stopped it, if something did.

    What is missing is "not yet". Any other exception is "could not tell", never a pass.
    """
    what = asks or name
    kept: list[Row] = []
    try:
        for row in rows:
            kept.append(row)  # noqa: PERF402 (one by one: those before an exception count)
    except Missing as missing:
        kept.append(Row(what=what, expected="it is there", observed=str(missing), ok=False))
    except RecordedError:
        observed = "a recording, in which this was not looked at"
        kept.append(Row(what=what, expected="a live kernel", observed=observed, ok=None))
    except Exception as error:  # noqa: BLE001 (whatever is wrong with a probe, the learner is told)
        observed = words_of(error)
        kept.append(Row(what=what, expected="a probe that works", observed=observed, ok=None))
    return Verdict(name=name, rows=tuple(kept), asks=asks)


def words_of(error: Exception) -> str:
    """What went wrong with a probe, for the learner."""
    if isinstance(error, ClosedError):
        return error.message
    if isinstance(error, Unable | LabkitError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def newest_lab() -> Lab:
    """The lab that was made last in this notebook and is still open. Raises LabkitError."""
    for lab in open_labs():
        return lab
    raise LabkitError(
        "There is no lab yet, or it has ended.", hint="Run the cell with Lab(…) first."
    )


def open_labs() -> list[Lab]:
    """The labs of this notebook that have not ended, the one made last first."""
    return [lab for lab in reversed(_open.values()) if not lab._connection.closed]
