"""What has been made out so far about a packet's way, and how a finding is written down."""

from __future__ import annotations

import re
from collections.abc import Iterable

from labkit.journey.sentences import opened
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
        left = [findings.REMAINING[key] for key in remaining]
        lost: list[ev.Event] = []
        if stage in ("bridge", "neighbour"):
            lost = [e for e in self.case.events if isinstance(e, ev.Lost) and e.what == "frames"]
        if lost:
            left.append(findings.REMAINING["capture-lost"])
        return Finding(
            verdict=verdict.partition(".")[0],
            stage="reply" if self.back else stage,
            text=opened(text.format(**words)),
            evidence=self.case.numbers(*evidence, *lost),
            fine=tuple(self.fine),
            remaining=tuple(left),
            advice=opened(advice.format(**words)),
        )

    # The packet filter

    def rules(self, netns: str) -> tuple[ev.FirewallSet | None, ev.FirewallSet | None]:
        """The packet filter's rules as they were read before and after."""
        return self.case.before.space(netns).firewall, self.case.after.space(netns).firewall

    def _met(
        self, netns: str, hook: str, targets: tuple[str, ...] = firewall.REFUSING
    ) -> list[firewall.Rule]:
        """The rules that packets have met meanwhile, and that send them to one of `targets`."""
        before, after = self.rules(netns)
        if after is None:
            return []
        return firewall.hits(before.rules if before else None, after.rules, hook, targets)

    def refused(self, netns: str, *hooks: str) -> firewall.Rule | None:
        """The rule that dropped packets meanwhile, at the first of the hooks that has one."""
        for hook in hooks:
            if met := self._met(netns, hook):
                # A rule of its own says more than the chain's policy.
                return min(met, key=lambda rule: rule.is_policy)
        return None

    def dropped(
        self, verdict: str, stage: str, netns: str, hooks: tuple[str, ...], *evidence: object
    ) -> Finding | None:
        """Whether a rule of the packet filter dropped packets meanwhile."""
        rule = self.refused(netns, *hooks)
        if rule is None:
            return None
        before, after = self.rules(netns)
        return self.found(
            verdict,
            stage,
            netns,
            *evidence,
            before,
            after,
            remaining=() if before else ("counters",),
            rule=rule.text,
            table=rule.table,
        )

    def translated(self, netns: str) -> str | None:
        """The address to which a namespace's packet filter sent packets on meanwhile (DNAT)."""
        for rule in self._met(netns, "PREROUTING", ("DNAT",)):
            if found := re.search(r"--to-destination ([\d.]+)", rule.text):
                return found[1]
        return None


def who_has(address: str) -> Match:
    """Matches the question who has an address."""
    return lambda p: p.operation == "who-has" and p.target == address and p.source != address


def is_at(address: str) -> Match:
    """Matches the answer to it."""
    return lambda p: p.operation == "is-at" and p.source == address
