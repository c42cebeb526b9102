"""The script builds, for real, the network that was asked for; so do the classic commands.

All of it happens in namespaces made here, with a /run of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from labkit.launch.launchers import LAUNCHERS
from labkit.model import operations as op
from labkit.model.commands import Command, Commands, prologue
from labkit.model.operations import MACHINE

LAUNCHER = {launcher.name: launcher for launcher in LAUNCHERS}
SPACES = (MACHINE, "nginx-1", "nginx-2", "r1")


def port(number: int, bridge: str = "docker0", **more: Any) -> op.End:
    return op.End(
        netns=MACHINE,
        interface=f"veth000000{number}",
        mac=f"02:00:00:00:01:0{number}",
        bridge=bridge,
        **more,
    )


def inside(netns: str, name: str, address: str, octet: int) -> op.End:
    return op.End(netns=netns, interface=name, mac=f"02:42:00:00:00:{octet:02x}", address=address)


ENDS = (
    (inside("nginx-1", "eth0", "172.17.0.2/16", 2), port(1)),
    (inside("nginx-2", "eth0", "172.17.0.3/16", 3), port(2)),
    (inside("nginx-2", "eth1", "10.0.0.1/24", 4), inside("r1", "eth0", "10.0.0.2/24", 5)),
    (port(3), port(4, "sw1", altname="the-far-end-of-that-cable")),
)
SCENE: tuple[op.Operation, ...] = (
    op.AddBridge(
        name="docker0", interface="docker0", mac="02:42:00:00:00:01", address="172.17.0.1/16"
    ),
    op.AddBridge(
        name="a-switch-with-a-long-name", interface="sw1", mac="02:00:00:00:02:01", ageing=0
    ),
    op.AddHost(name="nginx-1", netns="nginx-1"),
    op.AddHost(name="nginx-2", netns="nginx-2", ipv6=True),
    op.AddHost(name="r1", netns="r1", forwarding=True),
    op.AddHost(name="web", netns=MACHINE),
    *(op.AddCable(a=a, b=b) for a, b in ENDS),
    op.AddRoute(netns="nginx-1", destination="default", via="172.17.0.1"),
    op.AddRoute(netns="nginx-2", destination="default", via="172.17.0.1"),
    op.AddRoute(netns="r1", destination="172.17.0.0/16", via="10.0.0.1"),
    op.AddRoute(netns="r1", destination="10.7.0.1/32", via="10.0.0.1", interface="eth0"),
    op.AddRoute(netns="r1", destination="10.8.0.0/16", interface="eth0"),
)
LATER: tuple[op.Operation, ...] = (
    op.Unplug(a=ENDS[2][0], b=ENDS[2][1]),
    op.Plug(a=ENDS[2][0], b=ENDS[2][1]),
    op.FlushFdb(bridge="docker0", interface="docker0"),
    op.RemoveRoute(netns="r1", destination="10.8.0.0/16", interface="eth0"),
    op.RemoveCable(a=ENDS[3][0], b=ENDS[3][1]),
    op.RemoveBridge(name="a-switch-with-a-long-name", interface="sw1"),
    op.RemoveCable(a=ENDS[1][0], b=ENDS[1][1]),
    op.AddCable(a=ENDS[1][0], b=ENDS[1][1]),
)
SETTINGS = {
    "forwarding": "cat /proc/sys/net/ipv4/ip_forward",
    "quiet": "cat /proc/sys/net/ipv6/conf/default/disable_ipv6",
    "groups": "cat /proc/sys/net/ipv4/ping_group_range",
    "filters": "cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null || echo 0",
}


def run(script: str, folder: Path, launcher: str = "root") -> dict[str, dict[str, Any]]:
    """Runs a script in fresh namespaces; what `ip -j` and /proc say then, by namespace."""
    if LAUNCHER[launcher].probe() is not None:
        pytest.skip(f"the launcher {launcher} cannot be used here")
    (folder / "lab.sh").write_text(script)
    lines = ["set -eu", "mount -t tmpfs tmpfs /run", "mount -t sysfs sysfs /sys"]
    lines.append(f"sh {folder}/lab.sh")
    for netns in SPACES:
        ip = "ip" if netns == MACHINE else f"ip -n {netns}"
        enter = "" if netns == MACHINE else f"ip netns exec {netns} "
        lines += [
            f"{ip} -d -j {what} show > {folder}/{netns}.{what}"
            for what in ("link", "addr", "route")
        ]
        for what, command in SETTINGS.items():
            lines.append(f"{enter}sh -c '{command}' > {folder}/{netns}.{what}")
    done = subprocess.run(
        LAUNCHER[launcher].argv(["sh", "-c", "\n".join(lines)]),
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return {netns: found(folder, netns) for netns in SPACES}


def found(folder: Path, netns: str) -> dict[str, Any]:
    links, addresses, routes = (
        json.loads((folder / f"{netns}.{what}").read_text() or "[]")
        for what in ("link", "addr", "route")
    )
    return {
        "links": {
            link["ifname"]: (
                link["address"],
                "UP" in link["flags"],
                link.get("master"),
                link.get("linkinfo", {}).get("info_kind"),
                tuple(link.get("altnames", ())),
            )
            for link in links
        },
        "bridges": {
            link["ifname"]: (
                link["linkinfo"]["info_data"]["ageing_time"],
                link["linkinfo"]["info_data"]["stp_state"],
            )
            for link in links
            if link.get("linkinfo", {}).get("info_kind") == "bridge"
        },
        "addresses": {
            (link["ifname"], f"{row['local']}/{row['prefixlen']}", row.get("broadcast"))
            for link in addresses
            for row in link["addr_info"]
            if row["family"] == "inet"
        },
        "routes": {
            (row["dst"], row.get("gateway"), row["dev"], row.get("scope", "global"))
            for row in routes
            if row["protocol"] != "kernel"
        },
        **{
            what: (folder / f"{netns}.{what}").read_text().split("\n")[0].split()
            for what in SETTINGS
        },
    }


LO = ("00:00:00:00:00:00", True, None, None, ())


def check_scene(seen: dict[str, dict[str, Any]], *, altnames: bool = True) -> None:
    """Compares with what SCENE asks for."""
    far = ("the-far-end-of-that-cable",) if altnames else ()
    long = ("a-switch-with-a-long-name",) if altnames else ()
    machine = seen[MACHINE]
    assert machine["links"] == {
        "lo": LO,
        "docker0": ("02:42:00:00:00:01", True, None, "bridge", ()),
        "sw1": ("02:00:00:00:02:01", True, None, "bridge", long),
        "veth0000001": ("02:00:00:00:01:01", True, "docker0", "veth", ()),
        "veth0000002": ("02:00:00:00:01:02", True, "docker0", "veth", ()),
        "veth0000003": ("02:00:00:00:01:03", True, "docker0", "veth", ()),
        "veth0000004": ("02:00:00:00:01:04", True, "sw1", "veth", far),
    }
    assert machine["bridges"] == {"docker0": (30000, 0), "sw1": (0, 0)}
    home = ("lo", "127.0.0.1/8", None)
    assert machine["addresses"] == {home, ("docker0", "172.17.0.1/16", "172.17.255.255")}
    assert seen["nginx-1"]["addresses"] == {home, ("eth0", "172.17.0.2/16", "172.17.255.255")}
    assert seen["nginx-2"]["addresses"] == {
        home,
        ("eth0", "172.17.0.3/16", "172.17.255.255"),
        ("eth1", "10.0.0.1/24", "10.0.0.255"),
    }
    assert seen["nginx-1"]["links"] == {
        "lo": LO,
        "eth0": ("02:42:00:00:00:02", True, None, "veth", ()),
    }
    assert seen["r1"]["links"]["eth0"] == ("02:42:00:00:00:05", True, None, "veth", ())
    for netns in ("nginx-1", "nginx-2"):
        assert seen[netns]["routes"] == {("default", "172.17.0.1", "eth0", "global")}
    assert seen["r1"]["routes"] == {
        ("172.17.0.0/16", "10.0.0.1", "eth0", "global"),
        ("10.7.0.1", "10.0.0.1", "eth0", "global"),
        ("10.8.0.0/16", None, "eth0", "link"),
    }


def check_settings(seen: dict[str, dict[str, Any]], groups: list[str]) -> None:
    for netns, space in seen.items():
        assert space["forwarding"] == [str(int(netns == "r1"))]
        assert space["quiet"] == [str(int(netns != "nginx-2"))]
        assert space["groups"] == groups
        assert space["filters"] == ["0"]


@pytest.mark.parametrize("launcher", ["root", "rootless"])
def test_the_script_builds_the_scene(launcher: str, tmp_path: Path) -> None:
    seen = run(Commands.of(SCENE).script, tmp_path, launcher)
    check_scene(seen)
    check_settings(seen, ["0", "2147483647"] if launcher == "root" else ["0", "0"])


def test_the_script_changes_the_scene_as_was_asked(tmp_path: Path) -> None:
    seen = run(Commands.of((*SCENE, *LATER)).script, tmp_path)
    assert set(seen[MACHINE]["links"]) == {"lo", "docker0", "veth0000001", "veth0000002"}
    assert seen["r1"]["routes"] == {
        ("172.17.0.0/16", "10.0.0.1", "eth0", "global"),
        ("10.7.0.1", "10.0.0.1", "eth0", "global"),
    }
    assert seen["nginx-2"]["links"]["eth0"][0] == "02:42:00:00:00:03"


def test_removed_hosts_are_gone(tmp_path: Path) -> None:
    script = Commands.of([*SCENE, op.RemoveCable(a=ENDS[0][0], b=ENDS[0][1])]).script
    script += Commands.of([op.RemoveHost(name="nginx-1", netns="nginx-1")])[0].text
    again = Commands.of([op.AddHost(name="nginx-1", netns="nginx-1")])
    script += "\n" + "\n".join(command.text for command in again)
    seen = run(script, tmp_path)
    assert seen["nginx-1"]["links"] == {"lo": LO}


@pytest.mark.skipif(
    not all(shutil.which(p, path="/usr/sbin:/sbin:/usr/bin") for p in ("brctl", "ifconfig")),
    reason="bridge-utils and net-tools are not installed",
)
def test_the_classic_commands_build_the_same(tmp_path: Path) -> None:
    def spoken(command: Command) -> str:
        return command.classic or command.text

    commands = (*prologue(), *(c for c in Commands.of(SCENE) if "altname" not in c.text))
    script = "set -eu\n" + "\n".join(map(spoken, commands)) + "\n"
    check_scene(run(script, tmp_path), altnames=False)


def test_the_classic_commands_change_the_same(tmp_path: Path) -> None:
    commands = Commands.of((*SCENE, *LATER))
    built = len(Commands.of(SCENE))
    script = "set -eu\n" + "\n".join(
        [
            *(c.text for c in (*prologue(), *commands[:built])),
            *(c.classic or c.text for c in commands[built:]),
        ]
    )
    seen = run(script, tmp_path)
    assert set(seen[MACHINE]["links"]) == {"lo", "docker0", "veth0000001", "veth0000002"}
    assert seen["r1"]["routes"] == {
        ("172.17.0.0/16", "10.0.0.1", "eth0", "global"),
        ("10.7.0.1", "10.0.0.1", "eth0", "global"),
    }


def test_the_script_refuses_a_namespace_in_use(tmp_path: Path) -> None:
    if LAUNCHER["root"].probe() is not None:
        pytest.skip("the launcher root cannot be used here")
    (tmp_path / "lab.sh").write_text(Commands.of(SCENE).script)
    used = f"ip link add name x type bridge; ip link set dev x up; sh {tmp_path}/lab.sh"
    done = subprocess.run(
        LAUNCHER["root"].argv(["sh", "-c", used]), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "no fresh network namespace" in done.stderr
