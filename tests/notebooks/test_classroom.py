"""Several students at once on one machine: `make class` asks for thirty."""

from __future__ import annotations

import asyncio
import copy
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench import classroom
from labkit.launch.launchers import LAUNCHERS


@pytest.mark.skipif(all(one.probe() for one in LAUNCHERS), reason="no launcher works here")
def test_students_do_the_same_and_see_their_own(monkeypatch):
    with ThreadPoolExecutor(1) as thread:  # the browser tests leave a loop running in this one
        found = thread.submit(lambda: asyncio.run(classroom.school(3))).result()
    assert classroom.problems(found) == []
    assert len({one["namespace"] for one in found["told"]}) == 3
    assert "3 students" in classroom.report(found)

    # What the class must be free of is found where it is there.
    for key, value, word in (
        ("strangers", 1, "somebody else's"),
        ("echoes", 23, "23 echoes"),
        ("namespace", found["told"][0]["namespace"], "share a network namespace"),
        ("steps", [], "different journeys"),
        ("ping", False, "not answered"),
    ):
        other = copy.deepcopy(found)
        other["told"][1][key] = value
        assert any(word in line for line in classroom.problems(other)), key
