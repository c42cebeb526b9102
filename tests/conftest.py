"""In CI a test may be skipped only for a reason that `allowed-skips.txt` lists."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from pathlib import Path

import pytest

ALLOWED = Path(__file__).with_name("allowed-skips.txt")


def unexpected(skips: list[tuple[str, str]], allowed: str) -> list[str]:
    """The skips (test, reason) that no line ``test-glob: reason-glob`` of `allowed` lists."""
    rules = [
        tuple(part.strip() for part in line.split(" : ", 1))
        for line in allowed.splitlines()
        if line.strip() and not line.startswith("#")
    ]
    return [
        f"{test}: {reason}"
        for test, reason in skips
        if not any(fnmatch(test, rule[0]) and fnmatch(reason, rule[1]) for rule in rules)
    ]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which skips are not on the list."""
    found = unexpected(_skips(terminalreporter), ALLOWED.read_text())
    if found and os.environ.get("CI"):
        terminalreporter.section("skipped, but not on the list")
        for line in found:
            terminalreporter.line(line)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails the run in CI when more was skipped than the list allows."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if (
        reporter
        and os.environ.get("CI")
        and session.exitstatus == 0
        and unexpected(_skips(reporter), ALLOWED.read_text())
    ):
        session.exitstatus = 1


def _skips(reporter: pytest.TerminalReporter) -> list[tuple[str, str]]:
    return [
        (report.nodeid, str(report.longrepr[2]).removeprefix("Skipped: "))
        for report in reporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    ]
