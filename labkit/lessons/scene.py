"""The small network that a mystery happens in, and what must hold for it to be well.

::

    client ─┐                       server
    client ─┴─ switch ── router ─────┘        two networks, one web service

Names, addresses and ports are drawn at random, so that no mystery gives another away.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator

from labkit.hosts import _NGINX, Host
from labkit.lab import Lab
from labkit.lessons.look import Look, Unable, expects
from labkit.lessons.verdict import Row
from labkit.wiring import Bridge

CLIENTS = ("anna", "bilal", "chen", "dora", "emil", "farah", "goran", "hana", "ines", "jun")
SERVERS = ("shop", "wiki", "mail", "files", "blog", "photos", "music", "news")
ROUTERS = ("gate", "edge", "border", "hub-1", "core")
SWITCHES = ("office", "floor-2", "lobby", "studio", "attic")
BIG = 1400
"""Bytes of data in a large echo request: it fits into an Ethernet frame of 1,500 unfragmented."""


class Scene:
    """Two clients, a router and a server, as they were meant to be."""

    def __init__(self, name: str, draw: random.Random, launcher: str | None) -> None:
        self.draw = draw
        first, second = draw.sample(CLIENTS, 2)
        server, router = draw.choice(SERVERS), draw.choice(ROUTERS)
        inside, outside = _networks(draw)
        near = [inside[number] for number in draw.sample(range(2, 250), 3)]
        far = [outside[number] for number in draw.sample(range(2, 250), 2)]
        self.port = draw.choice([80, *draw.sample(range(8000, 9000), 3)])
        self.inside, self.outside = inside, outside
        self.router_near, self.router_far = near[0], far[0]
        self.addresses = {router: near[0], first: near[1], second: near[2], server: far[1]}
        self.lab = Lab(name, launcher=launcher)
        try:
            with self.lab.batch():
                self.switch: Bridge = self.lab.bridge(draw.choice(SWITCHES))
                self.router: Host = self.lab.host(router, forwarding=True)
                self.first: Host = self.lab.host(first)
                self.second: Host = self.lab.host(second)
                self.server: Host = self.lab.host(server)
                self.cables = {
                    host.name: self.lab.cable(host, self.switch, f"{self.at(host)}/24")
                    for host in (self.router, self.first, self.second)
                }
                self.lab.cable(self.router, self.server, f"{far[0]}/24", f"{far[1]}/24")
                for host in (self.first, self.second):
                    host.add_route("default", via=str(self.router_near))
                self.server.add_route("default", via=str(self.router_far))
            self.macs = {
                host.name: next(one.mac for one in host.interfaces if one.name == "eth0")
                for host in (self.first, self.second, self.server, self.router)
            }
        except BaseException:
            self.lab.close()
            raise

    def at(self, host: Host) -> str:
        """The address that a host was meant to have (the router: inside)."""
        return str(self.addresses[host.name])

    def port_of(self, host: Host) -> str:
        """The switch's port to which a host's cable leads."""
        return self.cables[host.name].ends[1].interface

    def client(self) -> Host:
        """One of the two clients, by lot."""
        return self.draw.choice((self.first, self.second))

    def other(self, client: Host) -> Host:
        """The client that is not this one."""
        return self.second if client is self.first else self.first

    def free(self) -> str:
        """An inside address that nobody has."""
        taken = set(self.addresses.values())
        return str(self.draw.choice([a for a in list(self.inside.hosts())[1:] if a not in taken]))

    # Commands that are in no event: a fault must not be told by its name.

    def quietly(self, host: Host, *commands: str) -> None:
        """Runs commands in a host, in order. Raises Unable where one fails."""
        for command in commands:
            code, text = Look(self.lab).run(host, command)
            if code:
                raise Unable(f"{command!r} in {host.name}: {text.strip()}")

    def serve(self, listen: str) -> int:
        """Starts nginx in the server without a word in the log; the job's number."""
        folder = f"{self.server.name}-{next(self.lab.machine._services)}"
        root = f"/run/labkit/{folder}"
        files = {
            f"{folder}/nginx.conf": _NGINX.format(root=root, port=listen),
            f"{folder}/html/index.html": f"<h1>Hello from {self.server.name}</h1>\n",
        }
        argv = ("nginx", "-p", root, "-c", f"{root}/nginx.conf")
        job = self.lab._spawn(self.server, argv, wait=False, files=files, quiet=True).job
        wait = f"for i in $(seq 100); do test -s {root}/nginx.pid && exit; sleep 0.05; done; exit 1"
        self.quietly(self.server, wait)
        return job

    # What must hold

    def goals(self) -> Iterator[Row]:
        """What must hold for the network to be well, each way, from a cold start.

        All that was learned is emptied first (rows that somebody set stay), so that an old row
        hides nothing.
        """
        first, second, server = self.first, self.second, self.server
        ends = (first, second, server)
        for asking in ends:
            # One source at a time: whoever waits for an ARP answer takes what it needs from any
            # ARP frame of that host, its questions to others too (RFC 826).
            self._forget()
            pairs = [(asking, other) for other in ends if other is not asking]
            probes = [(source, self._ping(target)) for source, target in pairs]
            for (source, target), (code, _) in zip(pairs, self._at_once(probes), strict=True):
                what = f"{source.name} pings {target.name} ({self.at(target)})"
                yield _answered(what, code == 0)
        large = [(first, second), (first, server), (server, second)]
        probes = [(source, self._ping(target, f"-s {BIG} -M do")) for source, target in large]
        url = f"http://{self.at(server)}:{self.port}/"
        probes += [(client, f"curl -sS --max-time 1 {url}") for client in (first, second)]
        results = self._at_once(probes)
        for (source, target), (code, _) in zip(large, results[: len(large)], strict=True):
            yield _answered(f"{source.name} pings {target.name} with {BIG:,} bytes", code == 0)
        for client, (code, text) in zip((first, second), results[len(large) :], strict=True):
            ok = code == 0 and "Hello" in text
            observed = "its page" if ok else text or f"curl's exit code {code}"
            yield expects(
                f"{client.name} reads {url}",
                "its page",
                observed,
                ok=ok,
                source=f"curl in {client.name}",
            )

    def _forget(self) -> None:
        # Every namespace's at once; a port that is down has nothing to flush.
        script = (
            "ip -all netns exec ip neigh flush all; "
            f"ip link set {self.switch.interface} type bridge fdb_flush"
        )
        Look(self.lab).run(self.lab.machine, script)

    def _ping(self, target: Host, more: str = "") -> str:
        # Two requests, of which one answer is enough: on a machine with many labs the kernel may
        # drop an ARP row at once, since all namespaces share its limit (gc_thresh3 in arp(7)).
        return f"ping -n -c 2 -i 0.2 -W 1 {more} {self.at(target)}"

    def _at_once(self, probes: list[tuple[Host, str]]) -> list[tuple[int, str]]:
        """Runs commands in hosts all at the same time; the exit code and output of each.

        Raises Unable where one could not be run at all.
        """
        lines = [
            f"(said=$(ip netns exec {host.name} sh -c 'exec {command}' 2>&1); code=$?; "
            f"echo {number} $code $(echo $said | tail -c 200)) &"
            for number, (host, command) in enumerate(probes)
        ]
        _, text = Look(self.lab).run(self.lab.machine, "\n".join([*lines, "wait"]))
        found = {}
        for line in text.splitlines():
            place, code, *words = line.split(" ")
            found[int(place)] = (int(code), " ".join(words))
        results = [found.get(number, (127, text.strip())) for number in range(len(probes))]
        for (host, command), (status, said) in zip(probes, results, strict=True):
            if status in (126, 127, 255):  # the shell's and ip's own codes: it was not run
                raise Unable(f"{command!r} in {host.name}: {said}")
        return results


def _answered(what: str, answered: bool) -> Row:
    return expects(what, "answered", "answered" if answered else "no answer", source="ping")


def _networks(draw: random.Random) -> tuple[ipaddress.IPv4Network, ipaddress.IPv4Network]:
    """Two neighbouring networks of /24 in one of the private ranges (RFC 1918)."""
    kind = draw.choice(("10", "172", "192"))
    low = draw.randrange(0, 250)
    high = low + draw.randrange(1, 5)
    prefix = {
        "10": f"10.{draw.randrange(1, 250)}",
        "172": f"172.{draw.randrange(18, 31)}",
        "192": "192.168",
    }[kind]
    return (
        ipaddress.IPv4Network(f"{prefix}.{low}.0/24"),
        ipaddress.IPv4Network(f"{prefix}.{high}.0/24"),
    )
