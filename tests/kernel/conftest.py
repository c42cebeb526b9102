"""A lab of its own for each test, with every launcher that works here, slow ones in `SELECTED` files."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit import Lab
from labkit.launch.launchers import LAUNCHERS

BY_NAME = {launcher.name: launcher for launcher in LAUNCHERS}
SELECTED = {
    "sudo": ("test_life.py", "test_scene.py"),
    "uml": (
        "test_capture.py",
        "test_faults.py",
        "test_journey.py",
        "test_life.py",
        "test_scene.py",
    ),
}
"""What is tried with a launcher that needs seconds for each lab, or that is root's but for its start.

All files with LABKIT_EVERY_LAUNCHER=1. `test_sudo.py` and `test_uml.py` are theirs alone.
"""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the files that a launcher is not tried with."""
    if os.environ.get("LABKIT_EVERY_LAUNCHER"):
        return
    left_out = [item for item in items if not _is_selected(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _is_selected(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    if callspec is None or item.path.parent != Path(__file__).parent:
        return True
    files = SELECTED.get(callspec.params.get("launcher"))
    return files is None or item.path.name in files


@pytest.fixture(scope="session", params=[launcher.name for launcher in LAUNCHERS])
def launcher(request: pytest.FixtureRequest) -> str:
    """Each launcher in turn; one that cannot be used here skips, with its own reason."""
    problem = BY_NAME[request.param].probe()
    if problem:
        pytest.skip(f"launcher {request.param}: {problem.reason}")
    return str(request.param)


@pytest.fixture
def lab(launcher: str) -> Iterator[Lab]:
    """An empty lab."""
    with Lab("test", launcher=launcher) as lab:
        yield lab


class Scene:
    """The scene of the text: docker0, nginx-1 and nginx-2."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.docker0 = lab.bridge("docker0", "172.17.0.1/16")
        self.nginx1 = lab.host("nginx-1")
        self.nginx2 = lab.host("nginx-2")
        self.cable1 = lab.cable(self.nginx1, self.docker0, "172.17.0.2/16")
        self.cable2 = lab.cable(self.nginx2, self.docker0, "172.17.0.3/16")
        self.nginx1.add_route("default", via="172.17.0.1")
        self.nginx2.add_route("default", via="172.17.0.1")


@pytest.fixture
def scene(lab: Lab) -> Scene:
    """The lab with the scene of the text in it."""
    return Scene(lab)


def ask(host: Any, command: str) -> Any:
    """What an independent program (`ip -j`, `bridge -j`) says, decoded."""
    result = host.run(command)
    assert result.exit_code == 0, result
    return json.loads(result.stdout or "[]")


def wait_for(true: Callable[[], Any], seconds: float = 10) -> Any:
    """Waits until something holds, and returns it; fails at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = true()
        if value:
            return value
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.02)
