"""What has been made out so far about a packet's way, and how a finding is written down."""

from __future__ import annotations

import re
from collections.abc import Iterable

from labkit.journey.values import Finding
from labkit.journey.why import findings, firewall
from labkit.journey.why.case import Case, Match
from labkit.model import events as ev


class Trail:
    """A case, and what was found to be in order before the packet was lost.

    `back` is true on the way from the target to the source, where every finding's stage is
    "reply".
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.back = False
        self.fine: list[str] = []

    @property
    def what(self) -> str:
        """What is on its way."""
        return findings.THINGS["reply" if self.back else "request"]

    def good(self, key: str, netns: str, **words: object) -> None:
        """Notes that something was in order."""
        text = findings.FINE[key].format(host=findings.host_name(netns), **words)
        if text not in self.fine:
            self.fine.append(text)

    def found(
        self,
        verdict: str,
        stage: str,
        netns: str,
        *evidence: object,
        remaining: Iterable[str] = (),
        **words: object,
    ) -> Finding:
        """The finding: `evidence` are events and sightings, `remaining` keys of REMAINING."""
        text, advice = findings.VERDICTS[verdict]
        words = {"host": findings.host_name(netns), **words}
        left = list(remaining)
        numbers = self.case.numbers(*evidence)
        lost = [n for n in self._lost() if n not in numbers]
        if lost and stage in ("bridge", "neighbour"):
            left.append("capture-lost")
            numbers = tuple(sorted({*numbers, *lost}))
        return Finding(
            verdict=verdict.partition(".")[0],
            stage="reply" if self.back else stage,
            text=findings.sentence(text, **words),
            evidence=numbers,
            fine=tuple(self.fine),
            remaining=tuple(findings.REMAINING[key] for key in left),
            advice=findings.sentence(advice, **words),
        )

    def _lost(self) -> list[int]:
        case = self.case
        return [
            number
            for number in range(case.first, case.last + 1)
            if isinstance(event := case.log[number], ev.Lost) and event.what == "frames"
        ]

    def refused(self, hook: str, netns: str) -> tuple[firewall.Rule, tuple[object, ...]] | None:
        """The packet filter's rule that dropped packets meanwhile, with its evidence."""
        after = self.case.after.space(netns).firewall
        before = self.case.before.space(netns).firewall
        if after is None:
            return None
        counted = before.rules if before else None
        rules = firewall.hits(counted, after.rules, hook)
        # A rule of its own says more than the chain's policy.
        rules.sort(key=lambda rule: rule.is_policy)
        return (rules[0], (before, after)) if rules else None

    def translated(self, netns: str) -> str | None:
        """The address to which a namespace's packet filter sent packets on meanwhile (DNAT)."""
        after = self.case.after.space(netns).firewall
        before = self.case.before.space(netns).firewall
        if after is None:
            return None
        counted = before.rules if before else None
        for rule in firewall.hits(counted, after.rules, "PREROUTING", ("DNAT",)):
            found = re.search(r"--to-destination ([\d.]+)", rule.text)
            if found:
                return found[1]
        return None


def who_has(address: str) -> Match:
    """Matches the question who has an address."""
    return lambda p: p.operation == "who-has" and p.target == address and p.source != address


def is_at(address: str) -> Match:
    """Matches the answer to it."""
    return lambda p: p.operation == "is-at" and p.source == address
