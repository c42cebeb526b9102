"""What each operation is in Linux's own commands: today's, and those of the text's day.

Today's are `ip(8)`, `bridge(8)` and `sysctl(8)`; the classic ones are `brctl(8)`,
`ifconfig(8)` and `route(8)`. Together they make a shell script that builds the same
network without labkit.
"""

from __future__ import annotations

import html
import ipaddress
from collections.abc import Iterable, Sequence
from shlex import quote

import msgspec

from labkit.model import operations as op
from labkit.model.operations import MACHINE

USER_HZ = 100
"""Bridge timers are in hundredths of a second (`ip-link(8)`, ageing_time)."""

ALL_GROUPS = '"0 2147483647"'

HEADER = """\
#!/bin/sh
# Builds this lab's network with ip, bridge and sysctl alone.
# Run it as root in a throw-away namespace, and look around in the shell that follows; when you
# leave that, everything is gone:
#   unshare --net --mount sh -c 'mount -t tmpfs tmpfs /run && sh lab.sh && exec sh'
# (lab.sh is this file. If you are not root, add --user --map-root-user after unshare.)
# After "text's day:" comes the same in the older commands brctl, ifconfig and route.
set -eu

if ip -o link show up | grep -qv '^[0-9]*: lo:'; then
    echo "Interfaces are up here, so this is no fresh network namespace. See this file's head." >&2
    exit 1
fi
# Any group may ping; in a user namespace only the groups that it knows can be named.
groups="0 2147483647"
sysctl -qw net.ipv4.ping_group_range="$groups" 2>/dev/null || groups="0 0"
"""


class Command(msgspec.Struct, frozen=True):
    """A command, the classic one (or ones, a line each) that did the same, and what it does."""

    text: str
    classic: str | None
    about: str
    opens: bool = False
    """Whether it is the first of an operation's commands."""


class Commands(tuple[Command, ...]):
    """Commands in the order in which they were carried out. As text: a shell script."""

    @classmethod
    def of(cls, operations: Iterable[op.Operation]) -> Commands:
        """The commands of those operations, in order."""
        memory = _Routes()
        return cls(
            command
            for operation in operations
            for each in (operation, *memory.after(operation))
            for command in commands_for(each)
        )

    @property
    def script(self) -> str:
        """A complete POSIX shell script that builds the same network."""
        lines = ["# The machine itself"]
        for command in (*prologue(), *self):
            if command.opens:
                lines.append("")
            lines.append("# " + " ".join(command.about.split()))
            if command.classic:
                lines += [f"#   text's day: {line}" for line in command.classic.splitlines()]
            lines.append(command.text.replace(ALL_GROUPS, '"$groups"'))
        return HEADER + "\n" + "\n".join(lines) + "\n"

    def __str__(self) -> str:
        return self.script

    __repr__ = __str__

    def _repr_html_(self) -> str:
        left = 'style="text-align:left"'
        rows = "".join(
            f"<tr><td {left}><code>{_lines(command.text)}</code><br>"
            f"<small>{html.escape(command.about)}</small></td>"
            f"<td {left}>{f'<code>{_lines(command.classic)}</code>' if command.classic else '-'}"
            "</td></tr>"
            for command in self
        )
        rows = rows or '<tr><td colspan="2"><em>nothing was done yet</em></td></tr>'
        return (
            "<table><caption>The same in Linux's own commands</caption><thead><tr>"
            f'<th scope="col" {left}>today</th><th scope="col" {left}>in the old days</th>'
            f"</tr></thead><tbody>{rows}</tbody></table>"
        )


def prologue() -> tuple[Command, ...]:
    """What a lab does to its machine's namespace when it starts."""
    return _settle(MACHINE, forwarding=False, ipv6=False)


def commands_for(operation: op.Operation) -> tuple[Command, ...]:
    """The commands that do what the operation does: always one or more."""
    first, *others = _commands(operation)
    return (msgspec.structs.replace(first, opens=True), *others)


def _commands(operation: op.Operation) -> tuple[Command, ...]:
    match operation:
        case op.AddHost():
            return _add_host(operation)
        case op.RemoveHost(netns=op.MACHINE):
            return (_nothing(f"{operation.name} goes; the machine's namespace stays"),)
        case op.RemoveHost():
            text = f"ip netns delete {quote(operation.netns)}"
            return (Command(text, None, "ends the namespace; no process must be left in it"),)
        case op.AddBridge():
            return _add_bridge(operation)
        case op.RemoveBridge():
            name = quote(operation.interface)
            classic = f"ifconfig {name} down\nbrctl delbr {name}"
            return (Command(f"ip link delete dev {name}", classic, "deletes the bridge"),)
        case op.AddCable():
            return _add_cable(operation.a, operation.b)
        case op.RemoveCable():
            text = f"{_ip(operation.b.netns)} link delete dev {quote(operation.b.interface)}"
            return (Command(text, None, "deletes one end; the other goes with it"),)
        case op.Unplug():
            return (_switch(operation.b, "down", "one end down: neither end has a carrier"),)
        case op.Plug():
            about = "that end up again; the routes it lost must be added again"
            return (_switch(operation.b, "up", about),)
        case op.AddRoute():
            return (_route(operation, "add"),)
        case op.RemoveRoute():
            return (_route(operation, "del"),)
        case op.FlushFdb():
            name = quote(operation.interface)
            about = f"forgets learned rows; newer: bridge fdb flush dev {name} dynamic"
            return (Command(f"ip link set dev {name} type bridge fdb_flush", None, about),)


def _add_host(wanted: op.AddHost) -> tuple[Command, ...]:
    if wanted.netns == MACHINE:
        return (_nothing(f"{wanted.name} shares the machine's namespace"),)
    text = f"ip netns add {quote(wanted.netns)}"
    return (
        Command(text, None, f"host {wanted.name}: a network namespace"),
        *_settle(wanted.netns, forwarding=wanted.forwarding, ipv6=wanted.ipv6),
    )


def _settle(netns: str, *, forwarding: bool, ipv6: bool) -> tuple[Command, ...]:
    """Loopback, and the settings that a namespace would otherwise take from the machine."""
    sysctl = f"{_inside(netns)}sysctl -qw"
    off = int(not ipv6)
    quiet = " ".join(f"net.ipv6.conf.{which}.disable_ipv6={off}" for which in ("all", "default"))
    filters = " ".join(
        f"net.bridge.bridge-nf-call-{table}=0" for table in ("iptables", "ip6tables", "arptables")
    )
    return (
        _switch(op.End(netns=netns, interface="lo", mac=""), "up", "loopback up"),
        Command(f"{sysctl} -e {quiet}", None, f"IPv6 {'on' if ipv6 else 'off'}"),
        Command(
            f"{sysctl} net.ipv4.ip_forward={int(forwarding)}",
            None,
            "a router: forwards packets" if forwarding else "forwards no packets",
        ),
        Command(f"{sysctl} net.ipv4.ping_group_range={ALL_GROUPS}", None, "any group may ping"),
        Command(f"{sysctl} -e {filters}", None, "bridged frames pass by the firewall"),
    )


def _add_bridge(wanted: op.AddBridge) -> tuple[Command, ...]:
    name = quote(wanted.interface)
    made = Command(
        f"ip link add name {name} address {quote(wanted.mac)} type bridge "
        f"ageing_time {int(wanted.ageing * USER_HZ)} stp_state {int(wanted.stp)}",
        f"brctl addbr {name}\nifconfig {name} hw ether {quote(wanted.mac)}\n"
        f"brctl setageing {name} {_number(wanted.ageing)}\n"
        f"brctl stp {name} {'on' if wanted.stp else 'off'}",
        f"bridge {wanted.name}",
    )
    end = op.End(
        netns=MACHINE,
        interface=wanted.interface,
        mac=wanted.mac,
        address=wanted.address,
        altname=wanted.name if wanted.name != wanted.interface else None,
    )
    return (made, *_configure(end))


def _add_cable(a: op.End, b: op.End) -> tuple[Command, ...]:
    # Made from the machine's namespace where one end is there: that one has no name to give.
    near, far = (b, a) if b.netns == MACHINE else (a, b)
    there = f" netns {quote(far.netns)}" if far.netns != near.netns else ""
    text = (
        f"{_ip(near.netns)} link add name {quote(near.interface)} address {quote(near.mac)} "
        f"type veth peer name {quote(far.interface)}{there} address {quote(far.mac)}"
    )
    about = f"a veth pair: {a.netns}:{a.interface} and {b.netns}:{b.interface}"
    return (Command(text, None, about), *_configure(a), *_configure(b))


def _configure(end: op.End) -> list[Command]:
    """Bridge, address, up and altname of an interface that exists."""
    commands = []
    ip, inside, name = _ip(end.netns), _inside(end.netns), quote(end.interface)
    if end.bridge:
        bridge = quote(end.bridge)
        classic = f"{inside}brctl addif {bridge} {name}"
        about = f"{end.interface} becomes a port of {end.bridge}"
        commands.append(Command(f"{ip} link set dev {name} master {bridge}", classic, about))
    if end.address:
        address = ipaddress.ip_interface(end.address)
        broadcast = ""
        if address.version == 6:
            classic = f"{inside}ifconfig {name} add {address}"
        else:
            classic = f"{inside}ifconfig {name} {address.ip} netmask {address.netmask}"
            broadcast = " brd +" if address.network.prefixlen < 31 else ""
        text = f"{ip} addr add {address}{broadcast} dev {name}"
        commands.append(Command(text, classic, f"the address of {end.interface}"))
    commands.append(_switch(end, "up", f"{end.interface} up"))
    if end.altname:
        text = f"{ip} link property add dev {name} altname {quote(end.altname)}"
        commands.append(Command(text, None, "the name asked for; the kernel's has 15 characters"))
    return commands


def _route(wanted: op.AddRoute | op.RemoveRoute, verb: str) -> Command:
    destination = wanted.destination
    version = ipaddress.ip_address(wanted.via).version if wanted.via else 4
    target, mask = "default", ""
    if destination != "default":
        network = ipaddress.ip_network(destination, strict=False)
        version, destination = network.version, str(network)
        if version == 6:
            target = destination
        elif network.prefixlen == 32:
            target = f"-host {network.network_address}"
        else:
            target, mask = f"-net {network.network_address}", f" netmask {network.netmask}"
    via = f" via {quote(wanted.via)}" if wanted.via else ""
    gateway = f" gw {quote(wanted.via)}" if wanted.via else ""
    device = f" dev {quote(wanted.interface)}" if wanted.interface else ""
    six, inet6 = (" -6", " -A inet6") if version == 6 else ("", "")
    return Command(
        f"{_ip(wanted.netns)}{six} route {verb} {quote(destination)}{via}{device}",
        f"{_inside(wanted.netns)}route{inet6} {verb} {target}{mask}{gateway}{device}",
        f"{wanted.netns}: {'a' if verb == 'add' else 'no'} route to {wanted.destination}",
    )


def _switch(end: op.End, state: str, about: str) -> Command:
    name = quote(end.interface)
    return Command(
        f"{_ip(end.netns)} link set dev {name} {state}",
        f"{_inside(end.netns)}ifconfig {name} {state}",
        about,
    )


def _nothing(why: str) -> Command:
    return Command(": nothing to do", None, why)


def _ip(netns: str) -> str:
    return "ip" if netns == MACHINE else f"ip -n {quote(netns)}"


def _inside(netns: str) -> str:
    return "" if netns == MACHINE else f"ip netns exec {quote(netns)} "


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _lines(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")


class _Routes:
    """Which added routes an unplugged end loses: its plugging in adds them again."""

    def __init__(self) -> None:
        self._there: list[op.AddRoute] = []
        self._lost: dict[tuple[str, str], list[op.AddRoute]] = {}

    def after(self, operation: op.Operation) -> Sequence[op.AddRoute]:
        """Takes an operation in; the routes that follow from it."""
        match operation:
            case op.AddRoute():
                self._there.append(operation)
            case op.RemoveRoute():
                asked = msgspec.structs.asdict(operation)
                for route in self._there:
                    if all(v in (None, getattr(route, k)) for k, v in asked.items()):
                        self._there.remove(route)
                        break
            case op.Unplug():
                key = (operation.b.netns, operation.b.interface)
                self._lost.setdefault(key, []).extend(self._take(operation.b))
            case op.Plug():
                back = self._lost.pop((operation.b.netns, operation.b.interface), [])
                self._there += back
                return back
            case op.RemoveCable():
                for end in (operation.a, operation.b):
                    self._take(end)
                    self._lost.pop((end.netns, end.interface), None)
            case op.RemoveHost() if operation.netns != MACHINE:
                self._there = [r for r in self._there if r.netns != operation.netns]
            case _:
                pass
        return ()

    def _take(self, end: op.End) -> list[op.AddRoute]:
        """Removes the routes through an end, and returns them."""
        taken = [route for route in self._there if _goes_through(route, end)]
        self._there = [route for route in self._there if route not in taken]
        return taken


def _goes_through(route: op.AddRoute, end: op.End) -> bool:
    if route.netns != end.netns:
        return False
    if route.interface:
        return route.interface == end.interface
    if not end.address or not route.via:
        return False
    return ipaddress.ip_address(route.via) in ipaddress.ip_interface(end.address).network
