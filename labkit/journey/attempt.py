"""A ping from its beginning to its journey: what is looked up, and what is told of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from labkit.journey.packets import warm
from labkit.journey.why import Case, Evidence, explain

if TYPE_CHECKING:
    from labkit.hosts import Host, Ping
    from labkit.journey import Journey


class Attempt:
    """One ping from `host` to address `target`.

    `named` is the namespace that was meant, where a host was named.
    """

    def __init__(self, host: Host, target: str, named: str | None) -> None:
        self._recording = host.lab.recording
        self._host = host
        self._target = target
        self._named = named
        self._evidence = Evidence(host.lab._request, self._recording, host.netns, target)
        self._begins = self._ends = time.time_ns()
        self._last = 0
        self._evidence.before()
        warm()

    def end(self, ping: Ping) -> None:
        """The program has ended: looks closer if it had no answer."""
        self._ends = self._recording.state().at
        if not ping:
            self._evidence.after()
        self._last = len(self._recording) - 1

    def journey(self, ping: Ping) -> Journey:
        """What happened to its packets, and why they came no further if they did not."""
        from labkit.journey.build import Question, build

        question = Question(
            host=self._host.name,
            netns=self._host.netns,
            target=self._target,
            sent=ping.sent,
            received=ping.received,
        )
        journey = build(
            self._recording,
            self._begins,
            self._ends,
            first=self._evidence.first,
            question=question,
            title=repr(ping),
        )
        case = Case(
            self._recording,
            self._evidence.first,
            self._last,
            source=self._host.netns,
            target=self._target,
            named=self._named,
            output=ping.output,
            answered=bool(ping),
            sent=ping.sent,
        )
        journey.finding = explain(case)
        return journey
