"""Packet filter rules, read from what `iptables-save -c` prints (`iptables-save(8)`)."""

from __future__ import annotations

import itertools
import re
import shlex

import msgspec

_TABLE = re.compile(r"\*(\S+)")
_CHAIN = re.compile(r":(\S+) (\S+) \[(\d+):\d+\]")
_RULE = re.compile(r"\[(\d+):\d+\] (-A (\S+) .*)")
REFUSING = ("DROP", "REJECT")


class Rule(msgspec.Struct, frozen=True):
    """A rule, or a chain's policy; `target` is where it sends packets, `packets` their number."""

    table: str
    chain: str
    text: str
    target: str
    packets: int
    is_policy: bool = False


def parse(rules: str) -> list[Rule]:
    """The rules and policies, in their order; lines that are neither are passed over."""
    found = []
    table = ""
    for line in rules.splitlines():
        if match := _TABLE.match(line):
            table = match[1]
        elif match := _CHAIN.match(line):
            chain, policy, packets = match.groups()
            if policy != "-":  # a chain of its own has none
                text = f"-P {chain} {policy}"
                found.append(Rule(table, chain, text, policy, int(packets), is_policy=True))
        elif match := _RULE.match(line):
            found.append(Rule(table, match[3], match[2], _target(match[2]), int(match[1])))
    return found


def _target(rule: str) -> str:
    """Where a rule sends a packet (-j or -g); empty for one that only counts."""
    try:
        words = shlex.split(rule)  # a comment is quoted, and may hold anything
    except ValueError:
        return ""
    return next((b for a, b in itertools.pairwise(words) if a in ("-j", "-g")), "")


def hits(
    before: str | None, after: str, hook: str, targets: tuple[str, ...] = REFUSING
) -> list[Rule]:
    """The rules that packets have met meanwhile on the way through a built-in chain.

    Only those that send them to `targets`. Rules of chains that `hook` leads to are its own, too.
    Without `before` all the packets that a rule has met count.
    """
    rules = parse(after)
    counted: dict[tuple[str, str, str], list[int]] = {}
    for rule in parse(before or ""):
        counted.setdefault((rule.table, rule.chain, rule.text), []).append(rule.packets)
    chains = {hook}
    while more := {r.target for r in rules if r.chain in chains} - chains:
        chains |= more
    found = []
    for rule in rules:
        known = counted.get((rule.table, rule.chain, rule.text))
        earlier = known.pop(0) if known else 0
        if rule.chain in chains and rule.target in targets and rule.packets > earlier:
            found.append(rule)
    return found
