"""The launcher of last resort: plays what was recorded of the very lesson on a real kernel.

To a lab it is a connection like any other: requests go in, replies and events come out, with the
times of now. Each request is answered as the same one was in the recording, and the events that
came with the answer come again, as far apart as they were. What is not in it is refused.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from labkit.errors import LabkitError, RecordedError
from labkit.launch import transcript
from labkit.launch.connection import PACKAGE, Fault, gone
from labkit.launch.machine import Launcher, Machine, Problem
from labkit.launch.transcript import Said, Transcript, running_cell
from labkit.model import events as ev
from labkit.model import wire
from labkit.model.replayed import HOW, NOTICE, REPLAY

LESSON = "LABKIT_LESSON"
"""Environment variable: the recording that is played, where it is not the notebook's own."""
NOTEBOOK = "JPY_SESSION_NAME"
"""Environment variable by which Jupyter tells a kernel its notebook's path."""
PATIENCE = 10.0
"""Seconds for which a cell may ask, more than `MANY` times, what there is while nothing comes."""
MANY = 50
LONGEST = 1_500_000_000
"""Nanoseconds that a request waits without anything happening, at most: a busy machine's delays
need not be lived through again. ARP asks every second, and a ping waits as long (`arp(7)`)."""


class Replay(Launcher):
    """Plays the recording of the notebook's lesson."""

    name = REPLAY
    summary = "as a recording of the lesson, played: no live lab, but on any machine"
    notice = NOTICE

    def probe(self, machine: Machine | None = None) -> Problem | None:
        del machine  # it needs none
        try:
            found = find()
        except LabkitError as error:
            return Problem(error.message, error.hint)
        if found is None:
            return Problem(
                "There is no recording of this notebook.",
                "Open one of the lessons in the folder notebooks, with notebooks/recordings "
                "beside it, and run its cells as they are.",
            )
        return None


def recorded() -> list[Path]:
    """The recordings of lessons that there are, in order.

    Of each name, the one beside the notebook, else the one beside the package's own notebooks.
    """
    found: dict[str, Path] = {}
    for folder in (Path.cwd() / "recordings", PACKAGE / "notebooks" / "recordings"):
        for path in folder.glob(f"*{transcript.SUFFIX}"):
            found.setdefault(path.name, path)
    return [found[name] for name in sorted(found)]


def find() -> Path | None:
    """The recording of this notebook: the one that is named, else the one that knows its cell.

    Raises LabkitError for a damaged one.
    """
    named = os.environ.get(LESSON)
    if named:
        path = Path(named)
        transcript.read_header(path)
        return path
    _, cell = running_cell()
    for path in recorded():
        with contextlib.suppress(LabkitError):  # another lesson's may be damaged
            if any(lab.cell == cell for lab in transcript.read_header(path).labs):
                return path
    name = Path(os.environ.get(NOTEBOOK, "")).stem + transcript.SUFFIX
    for path in recorded():
        if path.name == name:
            transcript.read_header(path)
            return path
    return None


_made: Counter[tuple[int, str]] = Counter()
"""How many labs of a name a run of a cell has made so far."""


def open_replay(on_event: Callable[[ev.Event], None], name: str) -> Replayed:
    """A connection to the recorded lab of that name. Raises LabkitError where there is none."""
    path = find()
    labs = transcript.read(path) if path else []
    number, cell = running_cell()
    alike = [lab for lab in labs if lab.name == name]
    own = [lab for lab in alike if lab.cell == cell] or alike
    if not own:
        raise refused(f"a lab with the name {name!r}")
    tried = _made[number, name]  # a mystery makes several, until one's fault can be planted
    _made[number, name] += 1
    return Replayed(own[min(tried, len(own) - 1)], on_event)


def refused(what: str) -> RecordedError:
    """Why a request has no answer."""
    return RecordedError(
        f"This is a recording, and what was asked is not in it: {what}.",
        hint=f"Run the lesson's own cells as they are, one after another. {HOW}",
    )


class Replayed:
    """A recorded lab. Events go to `on_event`, in order, one thread at a time.

    The recording is a row of exchanges, of which `_played` is the first not played yet. A cell of
    the lesson's plays its own, when it is run again the same ones again; those that were passed
    over are caught up with. Other code can go on only as the recording does.
    """

    def __init__(self, lab: Transcript, on_event: Callable[[ev.Event], None]) -> None:
        self._exchanges = lab.exchanges
        self._after = lab.after
        self._keys = [_key(exchange.request) for exchange in lab.exchanges]
        self._on_event = on_event
        self._lock = threading.RLock()
        self._played = 0
        self._begun = 0  # of so many exchanges, what came before them is told, or being told
        self._execution = -1
        self._own = range(0)  # the exchanges that this run of the cell plays
        self._next = 0  # where in them it is
        self._vain = 0  # how often nothing new could be told, one time after another
        self._vain_since = 0.0
        self._offset = 0  # nanoseconds from the recording's time to now
        self._meanwhile: deque[Said] = deque()
        self._asked = threading.Event()
        self._player: threading.Thread | None = None
        self.closed: str | None = None

    @property
    def process(self) -> Any:
        """There is none. Raises RecordedError."""
        raise refused("a process of the lab's")

    def request(self, kind: type[wire.Request], **fields: Any) -> Any:
        """The result that the same request had. Waits as long as it took.

        Raises Fault for what the agent refused, RecordedError for what was never asked.
        """
        with self._lock:
            if self.closed:
                raise self._gone()
            try:
                request = kind(id=0, **fields)
                wanted = _key(request)
            except (TypeError, ValueError, OverflowError, RecursionError):
                raise refused("what cannot even be told") from None
            place = self._find(request, wanted, *running_cell())
            if place is None:
                if isinstance(request, wire.Sync) and not self._waits_in_vain():
                    return None  # all that is known has been told
                raise refused(_in_words(request))
            reply = self._play(place)
        if reply.fault:
            raise Fault(reply.fault)
        return reply.result

    def _waits_in_vain(self) -> bool:
        """Whether a cell asks again and again for what the recording does not come to."""
        if not self._vain:
            self._vain_since = time.monotonic()
        self._vain += 1
        return self._vain > MANY and time.monotonic() - self._vain_since > PATIENCE

    @contextlib.contextmanager
    def interrupts_held(self) -> Iterator[None]:
        """Nothing can be left half done here."""
        yield

    def close(self, reason: str = "it was closed") -> None:
        """Ends the lab."""
        with self._lock:
            if self.closed is not None:
                return
            self.closed = reason
            self._hold()
            self._tell(ev.Closed(at=time.time_ns(), reason=reason))

    def _gone(self) -> LabkitError:
        return gone(self.closed)

    # Finding the exchange

    def _find(self, request: wire.Request, wanted: bytes, execution: int, cell: str) -> int | None:
        if execution != self._execution:
            self._execution, self._own, self._vain = execution, range(0), 0
        if not self._own and not _only_looks(request):
            self._own = self._run_of(cell)
            self._next = max(self._own.start, self._played if self._played in self._own else 0)
        if self._own:
            begins, ends = self._own.start, self._own.stop
            if isinstance(request, wire.Sync):  # it may be asked for more often, or less
                return self._next if self._next < ends and self._is_sync(self._next) else None
            places = (*range(self._next, ends), *range(begins, self._next))
            return next((place for place in places if self._keys[place] == wanted), None)
        for place in range(self._played, len(self._exchanges)):
            if self._keys[place] == wanted:
                return place
            if isinstance(request, wire.Sync) and self._is_sync(place):
                return place
            if not _only_looks(self._exchanges[place].request):
                break  # nobody has asked for what happened next
        for place in reversed(range(self._played)):  # a check, made again
            same = self._keys[place] == wanted and self._exchanges[place].cell == cell != ""
            if same and isinstance(request, wire.Spawn) and request.quiet:
                return place
        return None

    def _is_sync(self, place: int) -> bool:
        """Whether that exchange is a mere "tell all that there is"."""
        return isinstance(self._exchanges[place].request, wire.Sync)

    def _run_of(self, cell: str) -> range:
        """The exchanges of a cell of that text: those that are next, or else the last ones."""
        runs: list[range] = []
        for place, exchange in enumerate(self._exchanges):
            if exchange.cell == cell != "":
                begins = runs.pop().start if runs and runs[-1].stop == place else place
                runs.append(range(begins, place + 1))
        ahead = [run for run in runs if run.stop > self._played]
        return ahead[0] if ahead else runs[-1] if runs else range(0)

    # Playing it

    def _play(self, place: int) -> wire.Reply:
        self._hold()
        self._vain = 0
        exchange = self._exchanges[place]
        if place >= self._played:
            for number in range(self._played, place + 1):
                if number >= self._begun:
                    self._tell_at_once(self._exchanges[number].before)
                if number < place:  # passed over
                    self._tell_at_once(self._exchanges[number].during)
            self._played = self._begun = place + 1
        elif place > self._own.start:
            self._tell_at_once(exchange.before)
        self._next = place + 1
        self._offset = time.time_ns() - exchange.sent
        waiting = deque(exchange.during)
        try:
            while waiting:
                self._wait(waiting[0].at)
                self._tell_said(waiting.popleft())
            self._wait(exchange.ended)
        finally:  # an interrupt ends the wait, and leaves nothing out
            self._tell_at_once(waiting)
        if self._played == place + 1:
            self._go_on()
        return exchange.reply

    def _wait(self, at: int) -> None:
        """Waits until what was recorded at that time is due. A long wait is made shorter."""
        left = at + self._offset - time.time_ns()
        if left > LONGEST:
            self._offset -= left - LONGEST
            left = LONGEST
        if left > 0:
            time.sleep(left / 1e9)

    def _go_on(self) -> None:
        """Plays what happened between the requests while the notebook does other things."""
        last = self._played == len(self._exchanges)
        self._meanwhile.extend(self._after if last else self._exchanges[self._played].before)
        self._begun = self._played + 1
        if self._meanwhile:
            self._asked.clear()
            player = threading.Thread(target=self._run, name="labkit replay", daemon=True)
            with contextlib.suppress(RuntimeError):  # no threads here: at the next request, then
                player.start()
                self._player = player

    def _run(self) -> None:
        while self._meanwhile:
            left = self._meanwhile[0].at + self._offset - time.time_ns()
            if self._asked.wait(max(0, left) / 1e9):
                return
            self._tell_said(self._meanwhile.popleft())

    def _hold(self) -> None:
        """Ends that, and tells at once what is left of it."""
        self._asked.set()
        if self._player is not None and self._player is not threading.current_thread():
            self._player.join()
        self._player = None
        self._tell_at_once(self._meanwhile)
        self._meanwhile.clear()

    def _tell_at_once(self, events: Any) -> None:
        for said in events:
            self._tell_said(said)

    def _tell_said(self, said: Said) -> None:
        """Tells a recorded event, with its times moved to now; none is later than that."""
        event: Any = said.message
        by = min(self._offset, time.time_ns() - event.at)
        times = {"at": event.at + by}
        if isinstance(event, ev.FdbSet) and event.updated is not None:
            times["updated"] = event.updated + by
        self._tell(msgspec.structs.replace(event, **times))

    def _tell(self, event: ev.Event) -> None:
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 (a listener's fault must not end the playing for all)
            traceback.print_exc()


def _key(request: wire.Request) -> bytes:
    """What two requests have in common that ask the same, as the agent understands them."""
    said = msgspec.json.encode(msgspec.structs.replace(request, id=0))
    understood: wire.Request = msgspec.json.decode(said, type=wire.Request)
    return msgspec.json.encode(understood)  # a whole number may stand for any


def _only_looks(request: wire.Request) -> bool:
    """Whether a request is a look at what is there, as checks make them."""
    return isinstance(request, wire.Sync) or (isinstance(request, wire.Spawn) and request.quiet)


def _in_words(request: wire.Request) -> str:
    if isinstance(request, wire.Sync):
        return "what this cell waits for"
    if isinstance(request, wire.Spawn):
        return f"{' '.join(request.argv)!r} in {request.host}"
    if isinstance(request, wire.Build):
        kinds = dict.fromkeys(type(one).__name__ for one in request.operations)
        return f"to build ({', '.join(kinds)})"
    return f"a request of the kind {type(request).__name__}"
