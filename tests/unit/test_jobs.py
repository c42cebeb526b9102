"""What the agent keeps of commands that have ended is bounded."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from labkit.agent import processes


def ended(number: int, output: bytes = b"") -> processes.Job:
    job = processes.Job(number, SimpleNamespace(pid=0, stdout=None, stderr=None))
    job.take("stdout", output)
    job.exit_code = 0
    return job


@pytest.fixture
def jobs(monkeypatch):
    monkeypatch.setattr(processes, "KEPT", 3)
    return processes.Processes(SimpleNamespace(), None, None, None)


def kept(jobs, *numbers):
    found = []
    for number in numbers:
        try:
            found.append(jobs.get(number).number)
        except ProcessLookupError as error:
            assert "kept no longer" in str(error)
    return found


def finish(jobs, job):
    jobs._jobs[job.number] = job
    jobs._last = job.number
    jobs.tick()


def test_of_many_that_said_little_the_newest_are_kept(jobs):
    for number in range(1, 6):
        finish(jobs, ended(number))
    assert kept(jobs, 1, 2, 3, 4, 5) == [3, 4, 5]
    jobs.forget(jobs.get(4))
    finish(jobs, ended(6))
    assert kept(jobs, 3, 4, 5, 6) == [3, 5, 6]


def test_of_few_that_said_much_the_newest_are_kept(jobs, monkeypatch):
    monkeypatch.setattr(processes, "OVER", 100_000)
    for number in (1, 2):
        finish(jobs, ended(number, b"x" * 60_000))
    assert kept(jobs, 1, 2) == [2]
