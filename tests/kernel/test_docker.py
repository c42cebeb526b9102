"""Our docker0 beside the real one: the same kinds of interfaces, routes and ports."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.kernel.conftest import Scene, ask


def docker(*arguments: str) -> str:
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


@pytest.fixture
def container():
    """A container of the real Docker, with nothing in it but this machine's `ip` and `sleep`."""
    try:
        docker("info", "--format", "{{.ServerVersion}}")
        images = docker("images", "-q", "--filter", "reference=labkit-test").split()
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no Docker daemon answers here")
    if not images:
        pytest.skip("no Docker image labkit-test (docker import makes one)")
    name = docker("run", "-d", "--rm", images[0], "sleep", "300")
    yield name
    docker("kill", name)


def shape(links):
    """What is comparable of interfaces: names, kinds, masters, whether they are up."""
    return sorted(
        (
            "veth" if link.get("linkinfo", {}).get("info_kind") == "veth" else link["ifname"],
            link.get("linkinfo", {}).get("info_kind"),
            link.get("master"),
            "UP" in link["flags"],
            link["mtu"],
        )
        for link in links
    )


def test_the_scene_is_as_dockers(container, scene: Scene):
    pid = docker("inspect", "-f", "{{.State.Pid}}", container)

    def inside(command: str):
        enter = ["nsenter", "-t", pid, "-n", "sh", "-c", command]
        return json.loads(subprocess.run(enter, capture_output=True, check=True).stdout)

    assert shape(inside("ip -d -j link")) == shape(ask(scene.nginx1, "ip -d -j link"))
    theirs = {(r["dst"], r.get("gateway"), r.get("scope")) for r in inside("ip -j route")}
    ours = {(r["dst"], r.get("gateway"), r.get("scope")) for r in ask(scene.nginx1, "ip -j route")}
    assert theirs == ours
    real = json.loads(subprocess.check_output(["ip", "-d", "-j", "link", "show", "docker0"]))[0]
    made = ask(scene.lab.machine, "ip -d -j link show docker0")[0]
    for key in ("stp_state", "ageing_time", "forward_delay", "vlan_filtering"):
        mine = made["linkinfo"]["info_data"][key]
        assert real["linkinfo"]["info_data"][key] == mine, key
