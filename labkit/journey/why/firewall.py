"""Packet filter rules, read from what `iptables-save -c` prints (`iptables-save(8)`)."""

from __future__ import annotations

import re

import msgspec

_TABLE = re.compile(r"\*(\S+)")
_CHAIN = re.compile(r":(\S+) (\S+) \[(\d+):\d+\]")
_RULE = re.compile(r"\[(\d+):\d+\] (-A (\S+) .*)")
_TARGET = re.compile(r"(?:^| )-[jg] (\S+)")
REFUSING = ("DROP", "REJECT")


class Rule(msgspec.Struct, frozen=True):
    """A rule, or a chain's policy; `target` is where it sends packets, `packets` their number."""

    table: str
    chain: str
    text: str
    target: str
    packets: int
    is_policy: bool = False


def parse(text: str) -> list[Rule]:
    """The rules and policies, in their order; lines that are neither are passed over."""
    found = []
    table = ""
    for line in text.splitlines():
        if match := _TABLE.match(line):
            table = match[1]
        elif match := _CHAIN.match(line):
            if match[2] != "-":
                found.append(
                    Rule(
                        table, match[1], f"-P {match[1]} {match[2]}", match[2], int(match[3]), True
                    )
                )
        elif match := _RULE.match(line):
            target = _TARGET.search(match[2])
            found.append(
                Rule(table, match[3], match[2], target[1] if target else "", int(match[1]))
            )
    return found


def hits(before: str | None, after: str, hook: str) -> list[Rule]:
    """The rules that have refused packets meanwhile, on the way through a built-in chain.

    Rules of chains that `hook` leads to count as its own. Without `before`, all packets do.
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
        if rule.chain in chains and rule.target in REFUSING and rule.packets > earlier:
            found.append(rule)
    return found
