"""What is said wherever a lab is a lesson's recording that is played, and no kernel is at work."""

from __future__ import annotations

REPLAY = "replay"
"""The launcher that plays it, as a recording names it."""
HOW = (
    "A live lab needs Linux: `labkit doctor` says what is missing here, and "
    "docs/where-it-runs.md has the shortest way to one on each system."
)
NOTICE = (
    "● Recorded: no kernel is at work here. This lab plays what was recorded when this very lesson "
    f"was run on one; run the cells in order. {HOW}"
)
BADGE = f"No kernel is at work here: this plays what was recorded on one. {HOW}"
"""What a view says of its badge "recorded"."""
