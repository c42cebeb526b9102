"""Hosts, and what runs in them: commands, jobs, pings."""

from __future__ import annotations

import errno
import html
import ipaddress
import itertools
import math
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from labkit import naming
from labkit.errors import ClosedError, CommandError, KernelError, LabkitError
from labkit.model import operations as op
from labkit.model import wire
from labkit.model.values import Interface, Neighbour, Route, Table

if TYPE_CHECKING:
    from labkit.journey import Journey
    from labkit.lab import Lab

TIMEOUT = 60.0
"""Seconds after which `Host.run` gives up, unless told otherwise."""


class Result(msgspec.Struct, frozen=True):
    """What a command answered. Prints as its output."""

    command: str
    exit_code: int
    stdout: str
    stderr: str

    def __bool__(self) -> bool:
        return self.exit_code == 0

    def __str__(self) -> str:
        text = self.stdout + self.stderr
        return text if self.exit_code == 0 else f"{text}(exit code {self.exit_code})"

    __repr__ = __str__


class Job:
    """A command that goes on in a host while the notebook does other things."""

    def __init__(self, host: Host, number: int, command: str) -> None:
        self.host = host
        self.command = command
        self._number = number

    def _result(self) -> wire.CommandResult:
        return self.host.lab._command(wire.JobOutput, job=self._number)

    @property
    def is_running(self) -> bool:
        """Whether its process is still there."""
        try:
            return self._result().exit_code is None
        except ClosedError:
            return False
        except KernelError as error:
            if error.code == errno.ESRCH:  # so long over that the lab has forgotten it
                return False
            raise

    @property
    def exit_code(self) -> int | None:
        """Its exit code; None while it runs, negative for death by a signal."""
        return self._result().exit_code

    @property
    def output(self) -> str:
        """What it has printed so far, errors after output; at most the last million bytes each."""
        result = self._result()
        return result.stdout + result.stderr

    def stop(self) -> None:
        """Ends it and its children: SIGTERM, and a second later SIGKILL for what is left."""
        self.host.lab._command(wire.StopJob, job=self._number)

    def __repr__(self) -> str:
        state = "running" if self.is_running else "ended"
        return f"<Job {self.command!r} in {self.host.name}: {state}>"


class Ping:
    """What a real `ping` reported. True when every request was answered."""

    def __init__(
        self,
        source: str,
        target: str,
        output: str,
        tell: Callable[[Ping], Journey],
    ) -> None:
        self.source = source
        self.target = target
        self.output = output
        self._tell = tell
        self._journey: Journey | None = None
        counts = re.search(r"(\d+) packets transmitted, (\d+) (?:packets )?received", output)
        self.sent = int(counts[1]) if counts else 0
        self.received = int(counts[2]) if counts else 0
        self.rtts_ms = tuple(float(ms) for ms in re.findall(r"time[=<]([\d.]+) ?ms", output))

    def __bool__(self) -> bool:
        return 0 < self.sent <= self.received

    @property
    def journey(self) -> Journey:
        """What happened to its packets, step by step, each with its evidence."""
        if self._journey is None:
            self._journey = self._tell(self)
        return self._journey

    def __repr__(self) -> str:
        if not self.sent:
            words = self.output.strip().rsplit("\n", 1)[-1] or "nothing was sent"
            return f"{self.source} → {self.target}: {words}"
        text = f"{self.source} → {self.target}: {self.received} of {self.sent} answered"
        if self.rtts_ms:
            text += f", {min(self.rtts_ms):.3f} to {max(self.rtts_ms):.3f} ms"
        return text


class Host:
    """A host of a lab: a network stack of its own, or the machine's (`network="machine"`)."""

    def __init__(self, lab: Lab, name: str, netns: str) -> None:
        self.lab = lab
        self.name = name
        self.netns = netns
        self._removed = False
        self._interfaces = 0
        self._services = itertools.count(1)  # of the machine: the lab's web servers

    def __repr__(self) -> str:
        shares = "" if self.netns == self.name else f", in the network of {self.netns}"
        return f"<Host {self.name}{shares}{' (removed)' if self._removed else ''}>"

    def _check(self) -> None:
        if self._removed:
            raise ClosedError(
                f"The host {self.name!r} was removed from the lab.",
                hint=f'Make it again: lab.host("{self.name}").',
            )

    # Tables

    @property
    def interfaces(self) -> Table[Interface]:
        """The interfaces, as the kernel has them now."""
        self._check()
        return self.lab._state(self.netns).interfaces(self.netns)

    @property
    def routes(self) -> Table[Route]:
        """The main routing table, as the kernel has it now."""
        self._check()
        return self.lab._state(self.netns).routes(self.netns)

    @property
    def neighbours(self) -> Table[Neighbour]:
        """The neighbour table ("ARP cache"), as the kernel has it now."""
        self._check()
        return self.lab._state(self.netns).neighbours(self.netns)

    # Changes

    def add_route(
        self, destination: str, *, via: str | None = None, interface: str | None = None
    ) -> None:
        """Adds a route to the main table. Raises LabkitError; KernelError if it is refused.

        `destination` is ``"default"`` or a network like ``"10.1.0.0/16"``; `via` is the
        gateway's address, `interface` the way out where that is not plain.
        """
        self.lab._build(self._route(op.AddRoute, destination, via, interface))

    def remove_route(
        self, destination: str, *, via: str | None = None, interface: str | None = None
    ) -> None:
        """Removes a route that `add_route` added. Raises LabkitError, KernelError."""
        self.lab._build(self._route(op.RemoveRoute, destination, via, interface))

    def _route(
        self,
        kind: type[op.AddRoute | op.RemoveRoute],
        destination: object,
        via: object,
        interface: str | None,
    ) -> op.AddRoute | op.RemoveRoute:
        self._check()
        if not (isinstance(destination, str) and destination == "default"):
            try:
                destination = str(
                    ipaddress.ip_network(naming.address_text(destination), strict=False)
                )
            except ValueError:
                raise LabkitError(
                    f"{naming.shown(destination)} is not a destination for a route.",
                    hint='Write "default" or a network like "10.1.0.0/16".',
                ) from None
        if via is not None:
            try:
                via = str(ipaddress.ip_address(naming.address_text(via)))
            except ValueError:
                raise LabkitError(
                    f"{naming.shown(via)} is not a gateway's address.",
                    hint="Write the address of the next hop, without a prefix: 172.17.0.1.",
                ) from None
        if interface is not None and not (naming.is_text(interface) and interface):
            raise LabkitError(
                f"{naming.shown(interface)} is not the name of an interface.",
                hint="Name one of the host's: see host.interfaces.",
            )
        if via is None and interface is None:
            raise LabkitError(
                f"A route to {destination} needs a way: a gateway or an interface.",
                hint=f'add_route("{destination}", via="172.17.0.1"), or interface="eth0".',
            )
        return kind(netns=self.netns, destination=str(destination), via=via, interface=interface)

    def remove(self) -> None:
        """Ends the host: its processes, its cables, its namespace."""
        self._check()
        self.lab._remove_host(self)

    # Commands

    def run(self, command: str | list[str], *, timeout: float | None = TIMEOUT) -> Result:
        """Runs a command in the host and waits for it; a string goes through the shell.

        A failing command is no error: see `Result.exit_code`. Raises CommandError when it is
        not found or has not ended after `timeout` seconds (it is then killed, with its children).
        """
        argv, text = naming.check_command(command)
        if timeout is not None:
            naming.check_number(timeout, "timeout", 0.001, 1e6)
        got = self.lab._spawn(self, argv, timeout=timeout)
        if got.timed_out:
            raise CommandError(
                f"{text!r} in {self.name} had not ended after {timeout:g} s, and was killed "
                f"with its children.\n{(got.stdout + got.stderr)[-2000:]}".rstrip(),
                hint="Give it longer (timeout=…), let it stop by itself (ping -c 3), or use "
                "host.start(…) for what runs on.",
            )
        # 126 and 127 with the shell's own words: it found no such program, or none that it may run
        if got.exit_code in (126, 127) and argv[0] == "sh" and got.stderr.startswith("sh: "):
            raise CommandError(
                f"{text!r} in {self.name}: {got.stderr.strip()}",
                hint="Check its spelling; `labkit doctor` tells which programs are missing "
                "and what to install.",
            )
        note = f"[labkit: the first {got.dropped} bytes are left out]\n" if got.dropped else ""
        code = got.exit_code if got.exit_code is not None else -1
        return Result(text, code, note + got.stdout, got.stderr)

    def start(self, command: str | list[str]) -> Job:
        """Starts a command in the host and lets it run. Raises CommandError."""
        argv, text = naming.check_command(command)
        return Job(self, self.lab._spawn(self, argv, wait=False).job, text)

    def ping(self, target: Host | Interface | str, *, count: int = 1, timeout: float = 1) -> Ping:
        """Sends real echo requests with `ping`; `timeout` is how long to wait for each, seconds."""
        self._check()
        naming.check_whole(count, "count", 1, 100_000)
        naming.check_number(timeout, "timeout", 0.01, 3600)
        address = _address_of(target, self)
        argv = ["ping", "-n", "-c", str(int(count)), "-W", f"{timeout:g}", address]
        if count > 1:
            argv[1:1] = ["-i", "0.2"]
        limit = int(count) * (timeout + 1) + 10
        from labkit.journey.attempt import Attempt

        self.lab._settle()
        attempt = Attempt(self, address, _named(target, self))
        got = self.lab._spawn(self, argv, timeout=math.ceil(limit))
        ping = Ping(self.name, address, got.stdout + got.stderr, attempt.journey)
        attempt.end(ping)
        return ping

    def serve(self, port: int = 80) -> Job:
        """Starts a real nginx whose page names this host; returns when it listens.

        Raises CommandError with nginx's own words when it cannot (the port is taken, say).
        """
        naming.check_whole(port, "port", 1, 65535)
        folder = f"{self.name}-{next(self.lab.machine._services)}"
        root = f"/run/labkit/{folder}"
        name = html.escape(self.name)
        page = f"<!doctype html>\n<title>{name}</title>\n<h1>Hello from {name}</h1>\n"
        files = {
            f"{folder}/nginx.conf": _NGINX.format(root=root, port=int(port)),
            f"{folder}/html/index.html": page,
        }
        argv = ("nginx", "-p", root, "-c", f"{root}/nginx.conf")
        number = self.lab._spawn(self, argv, wait=False, files=files).job
        job = Job(self, number, f"nginx on port {int(port)}")
        deadline = time.monotonic() + 10
        while job.is_running and time.monotonic() < deadline:
            # nginx writes its pid when it has bound its ports (ngx_init_cycle comes first)
            asked = ("test", "-s", f"{root}/nginx.pid")
            if self.lab._spawn(self, asked, quiet=True).exit_code == 0:
                return job
            time.sleep(0.005)
        words = _nginx_words(job.output)
        job.stop()
        raise CommandError(
            f"nginx could not serve on port {int(port)} of {self.name}: {words}",
            hint="Stop what holds the port (the job's .stop()), or choose another port."
            if "Address already in use" in words
            else "",
        )


def _address_of(target: object, source: Host) -> str:
    """The address that a ping to `target` from `source` goes to. Raises LabkitError."""
    hosts = {host.name: host for host in (source.lab.machine, *source.lab.hosts)}
    if isinstance(target, str):
        try:
            return str(ipaddress.ip_address(target.split("/")[0]))
        except ValueError:
            if target not in hosts:
                raise LabkitError(
                    f"{naming.shown(target)} is neither an address nor a host of the lab.",
                    hint=f"The hosts are: {', '.join(hosts)}.",
                ) from None
            target = hosts[target]
    if isinstance(target, Host):
        target._check()
        addresses = [
            ipaddress.ip_interface(a)
            for i in target.interfaces
            for a in i.addresses
            if i.name != "lo"
        ]
    elif isinstance(target, Interface):
        addresses = [ipaddress.ip_interface(a) for a in target.addresses]
    else:
        raise LabkitError(
            f"{naming.shown(target)} cannot be pinged.",
            hint="Name a host, an interface or an address.",
        )
    if not addresses:
        raise LabkitError(
            f"{getattr(target, 'name', target)} has no address to ping.",
            hint='Give it one when you cable it: lab.cable(host, bridge, "172.17.0.2/16").',
        )
    if len(addresses) > 1:  # prefer one on a network that the source is on, too
        nets = [ipaddress.ip_interface(a).network for i in source.interfaces for a in i.addresses]
        addresses.sort(key=lambda a: not any(a.ip in net for net in nets))
    return str(addresses[0].ip)


def _named(target: object, source: Host) -> str | None:
    """The namespace that is meant, where a host is named and not an address."""
    if isinstance(target, str):
        target = source.lab._hosts.get(target)
    return target.netns if isinstance(target, Host) else None


def _nginx_words(output: str) -> str:
    """The one line of nginx's log that says what was wrong."""
    lines = [line for line in output.splitlines() if "[emerg]" in line] or output.splitlines()
    return lines[0].split("[emerg] ")[-1].strip() if lines else "it ended without a word"


_NGINX = """\
user root;
daemon off;
worker_processes 1;
pid {root}/nginx.pid;
error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off;
    default_type text/html;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    server {{
        listen {port};
        root {root}/html;
    }}
}}
"""
