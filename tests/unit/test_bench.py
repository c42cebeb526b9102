"""The bench's report: goals are judged rightly, and what was measured is drawn."""

from __future__ import annotations

import json

import pytest

from bench import plot
from bench.__main__ import PARTS
from bench.report import LEAST, Report, Row


def test_more_is_better_where_a_goal_says_so():
    what = "1000 hosts: updates painted"
    least = LEAST[what, None]
    assert Row(what, least + 1, "/s").met is True
    assert Row(what, least - 1, "/s").met is False
    assert Row("close, 2 hosts", 0.01, "s").met is True
    assert Row("close, 2 hosts", 0.06, "s").met is False
    assert Row("anything else", 1, "s").met is None


@pytest.mark.parametrize("whole", [True, False])
def test_a_report_is_drawn_whole_or_in_part(tmp_path, whole):
    report = Report()
    if whole:
        for hosts in (2, 100):
            for what in ("build", "namespaces gone"):
                report.add(f"{what}, {hosts} hosts", 0.01 * hosts, "s", "C", 0.005 * hosts)
            for which in ("median", "95th", "99th"):
                report.add(f"event to pixel, {hosts} hosts, {which}", 20, "ms")
            report.add(f"browser tab's memory, {hosts} hosts", 200, "MB", "no lab", 190)
        report.add("journey, after 1,000 events", 2, "ms")
        report.add("lesson 5, solved", 9, "s")
    report.add("1000 hosts: updates painted", 12, "/s")
    rows = report.as_json()
    report.save(tmp_path / "rows.json")
    assert json.loads((tmp_path / "rows.json").read_text()) == rows
    plot.draw(rows, tmp_path / "rows.svg")
    drawn = (tmp_path / "rows.svg").read_text()
    assert drawn.count("<!-- not measured -->") == (0 if whole else 6)
    assert "1000 hosts: updates painted" in drawn


def test_every_part_can_be_asked_for_alone():
    assert {"busy", "memory", "lessons", "views", "journeys"} <= set(PARTS)
