"""Each operation in both dialects, quoted; and the script as a whole."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from typing import get_args

import pytest

from labkit.model import operations as op
from labkit.model.commands import Commands, commands_for

PORT = op.End(netns="machine", interface="veth1234567", mac="02:00:00:00:00:01", bridge="docker0")
ETH0 = op.End(netns="nginx-1", interface="eth0", mac="02:42:ac:11:00:02", address="172.17.0.2/16")
C0 = op.End(netns="h1", interface="eth1", mac="02:00:00:00:00:0a", address="10.0.0.1/31")
C1 = op.End(netns="h2", interface="eth0", mac="02:00:00:00:00:0b", address="fd00::1/64")
BRIDGE = op.AddBridge(
    name="docker0",
    interface="docker0",
    mac="02:42:00:00:00:01",
    address="172.17.0.1/16",
    ageing=0.5,
    stp=True,
)
LONG = op.AddBridge(name="a-very-long-bridge-name", interface="a-very-l1", mac="02:00:00:00:00:02")
DEFAULT = op.AddRoute(netns="nginx-1", destination="default", via="172.17.0.1")

ONE_OF_EACH: tuple[op.Operation, ...] = (
    op.AddHost(name="nginx-1", netns="nginx-1"),
    op.RemoveHost(name="nginx-1", netns="nginx-1"),
    BRIDGE,
    op.RemoveBridge(name="docker0", interface="docker0"),
    op.AddCable(a=ETH0, b=PORT),
    op.RemoveCable(a=ETH0, b=PORT),
    op.Unplug(a=ETH0, b=PORT),
    op.Plug(a=ETH0, b=PORT),
    DEFAULT,
    op.RemoveRoute(netns="nginx-1", destination="default", via="172.17.0.1"),
    op.FlushFdb(bridge="docker0", interface="docker0"),
)


def texts(operation: op.Operation) -> list[str]:
    return [command.text for command in commands_for(operation)]


def classics(operation: op.Operation) -> list[str | None]:
    return [command.classic for command in commands_for(operation)]


def test_every_operation_has_commands() -> None:
    assert {type(one) for one in ONE_OF_EACH} == set(get_args(op.Operation))
    for operation in ONE_OF_EACH:
        assert all(command.text and command.about for command in commands_for(operation))


def test_a_host() -> None:
    router = texts(op.AddHost(name="r", netns="r", forwarding=True, ipv6=True))
    assert router[:2] == ["ip netns add r", "ip -n r link set dev lo up"]
    assert "ip netns exec r sysctl -qw net.ipv4.ip_forward=1" in router
    assert 'ip netns exec r sysctl -qw net.ipv4.ping_group_range="0 2147483647"' in router
    assert any("net.ipv6.conf.all.disable_ipv6=0" in text for text in router)
    assert any("bridge-nf-call-iptables=0" in text for text in router)
    plain = texts(op.AddHost(name="h", netns="h"))
    assert any("ip_forward=0" in text for text in plain)
    assert any("net.ipv6.conf.default.disable_ipv6=1" in text for text in plain)


def test_a_host_in_the_machines_namespace_makes_nothing() -> None:
    for operation in (
        op.AddHost(name="web", netns="machine"),
        op.RemoveHost(name="web", netns="machine"),
    ):
        assert texts(operation) == [": nothing to do"]


def test_a_bridge_in_both_dialects() -> None:
    assert texts(BRIDGE) == [
        "ip link add name docker0 address 02:42:00:00:00:01 type bridge ageing_time 50 stp_state 1",
        "ip addr add 172.17.0.1/16 brd + dev docker0",
        "ip link set dev docker0 up",
    ]
    assert classics(BRIDGE) == [
        "brctl addbr docker0\nifconfig docker0 hw ether 02:42:00:00:00:01\n"
        "brctl setageing docker0 0.5\nbrctl stp docker0 on",
        "ifconfig docker0 172.17.0.1 netmask 255.255.0.0",
        "ifconfig docker0 up",
    ]
    assert texts(LONG)[-1] == ("ip link property add dev a-very-l1 altname a-very-long-bridge-name")


def test_a_cable_to_a_bridge() -> None:
    cable = op.AddCable(a=ETH0, b=PORT)
    assert texts(cable) == [
        "ip link add name veth1234567 address 02:00:00:00:00:01 type veth "
        "peer name eth0 netns nginx-1 address 02:42:ac:11:00:02",
        "ip -n nginx-1 addr add 172.17.0.2/16 brd + dev eth0",
        "ip -n nginx-1 link set dev eth0 up",
        "ip link set dev veth1234567 master docker0",
        "ip link set dev veth1234567 up",
    ]
    assert classics(cable)[1] == (
        "ip netns exec nginx-1 ifconfig eth0 172.17.0.2 netmask 255.255.0.0"
    )
    assert classics(cable)[3] == "brctl addif docker0 veth1234567"


def test_a_cable_between_hosts() -> None:
    made, first, _, second, _ = texts(op.AddCable(a=C0, b=C1))
    assert made.startswith("ip -n h1 link add name eth1 ")
    assert "peer name eth0 netns h2 address" in made
    assert first == "ip -n h1 addr add 10.0.0.1/31 dev eth1"
    assert second == "ip -n h2 addr add fd00::1/64 dev eth0"


@pytest.mark.parametrize(
    ("destination", "via", "interface", "today", "classic"),
    [
        ("default", "10.0.0.9", None, "default via 10.0.0.9", "default gw 10.0.0.9"),
        (
            *("10.9.1.1/16", "10.0.0.9", "eth0", "10.9.0.0/16 via 10.0.0.9 dev eth0"),
            "-net 10.9.0.0 netmask 255.255.0.0 gw 10.0.0.9 dev eth0",
        ),
        ("10.7.0.1", None, "eth0", "10.7.0.1/32 dev eth0", "-host 10.7.0.1 dev eth0"),
    ],
)
def test_routes(
    destination: str, via: str | None, interface: str | None, today: str, classic: str
) -> None:
    for kind, verb in ((op.AddRoute, "add"), (op.RemoveRoute, "del")):
        (command,) = commands_for(
            kind(netns="h", destination=destination, via=via, interface=interface)
        )
        assert command.text == f"ip -n h route {verb} {today}"
        assert command.classic == f"ip netns exec h route {verb} {classic}"


def test_an_ipv6_route() -> None:
    (command,) = commands_for(op.AddRoute(netns="machine", destination="default", via="fd00::9"))
    assert command.text == "ip -6 route add default via fd00::9"
    assert command.classic == "route -A inet6 add default gw fd00::9"


def test_a_plugged_end_gets_back_the_routes_it_lost() -> None:
    cable = {"a": PORT, "b": ETH0}
    there: list[op.Operation] = [
        op.AddHost(name="nginx-1", netns="nginx-1"),
        op.AddCable(**cable),
        DEFAULT,
    ]
    route = commands_for(DEFAULT)[0].text
    again = Commands.of([*there, op.Unplug(**cable), op.Unplug(**cable), op.Plug(**cable)])
    assert [c.text for c in again].count(route) == 2
    assert again[-1].text == route
    out_and_in: list[op.Operation] = [op.Unplug(**cable), op.Plug(**cable)]
    assert [c.text for c in Commands.of([*there, *out_and_in, *out_and_in])].count(route) == 3
    twice = Commands.of([*there, op.Unplug(**cable), op.Plug(**cable), op.Plug(**cable)])
    assert [c.text for c in twice].count(route) == 2
    removal = op.RemoveRoute(netns="nginx-1", destination="default")
    removed = Commands.of([*there, removal, op.Unplug(**cable), op.Plug(**cable)])
    assert [c.text for c in removed].count(route) == 1


def test_the_other_ends_routes_stay() -> None:
    cable = {"a": ETH0, "b": PORT}
    done = Commands.of([op.AddCable(**cable), DEFAULT, op.Unplug(**cable), op.Plug(**cable)])
    assert [c.text for c in done].count(commands_for(DEFAULT)[0].text) == 1


def test_odd_names_stay_one_word() -> None:
    odd = "a b;$(reboot)'\nrm x"
    script = Commands.of(
        [
            op.AddHost(name=odd, netns=odd),
            op.AddBridge(name=odd, interface=odd, mac=odd),
            op.AddRoute(netns=odd, destination="default", via="10.0.0.1", interface=odd),
        ]
    ).script
    words = shlex.split(script, comments=True)
    assert words.count(odd) >= 8
    assert "reboot" not in "".join(word for word in words if word != odd and odd not in word)


def test_the_script_is_a_shell_script() -> None:
    script = str(Commands.of(ONE_OF_EACH))
    assert script.startswith("#!/bin/sh\n")
    assert "set -eu" in script
    assert "#   text's day: brctl addbr docker0\n" in script
    assert script.endswith("\n")
    shell = shutil.which("dash") or shutil.which("sh")
    assert shell
    subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_the_table_is_escaped() -> None:
    page = Commands.of([op.AddHost(name="<b>", netns="<b>"), BRIDGE])._repr_html_()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert page.count('<th scope="col"') == 2
    assert "brctl addbr docker0<br>" in page
    assert "nothing was done yet" in Commands()._repr_html_()
