"""The magics in a real notebook kernel: completion, and an interrupt."""

from __future__ import annotations

import re
import time

import pytest
from jupyter_client.manager import start_new_kernel

from labkit.launch.launchers import LAUNCHERS

SETUP = "from labkit import Lab\nlab = Lab('magic')\nh = lab.host('nginx-1')\nlab.host('nginx-2')"


@pytest.fixture
def kernel():
    if all(launcher.probe() for launcher in LAUNCHERS):
        pytest.fail("no launcher works here")
    manager, client = start_new_kernel(kernel_name="python3")
    run(client, SETUP)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run(client, code: str, until: str | None = None, timeout: float = 30) -> list[dict]:
    """What a cell put out; returns as soon as `until` was printed, else at its end."""
    request = client.execute(code)
    return follow(client, request, until, timeout)


def follow(client, request: str, until: str | None = None, timeout: float = 30) -> list[dict]:
    found = []
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        message = client.get_iopub_msg(timeout=timeout)
        if message["parent_header"].get("msg_id") != request:
            continue
        found.append(message)
        content = message["content"]
        if message["msg_type"] == "status" and content["execution_state"] == "idle":
            return found
        if until and re.search(until, content.get("text", "")):
            return found
    pytest.fail(f"no end in time: {found}")


def test_host_names_complete_in_a_notebook(kernel):
    _, client = kernel
    for code in ("%on ngi", "%%on ngi"):
        reply = client.complete(code, reply=True, timeout=20)
        assert reply["content"]["matches"] == ["nginx-1", "nginx-2"]


def test_an_interrupt_ends_the_command_and_its_children(kernel):
    manager, client = kernel
    request = client.execute("%on nginx-1 echo begun; sleep 987 & sleep 987")
    follow(client, request, until="begun")
    manager.interrupt_kernel()
    (error,) = [m for m in follow(client, request) if m["msg_type"] == "error"]
    assert error["content"]["ename"] == "CommandError"
    assert len(error["content"]["traceback"]) == 1
    (said,) = [
        m["content"]["text"]
        for m in run(client, "print(h.run('pgrep -c sleep').stdout)")
        if m["msg_type"] == "stream"
    ]
    assert said.strip() == "0"
