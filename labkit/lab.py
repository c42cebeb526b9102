"""`Lab`: a network of your own, to build, watch and take apart."""

from __future__ import annotations

import atexit
import errno
import ipaddress
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import msgspec

from labkit import naming
from labkit.errors import CommandError, KernelError, LabkitError
from labkit.hosts import Host
from labkit.launch import connection, launchers
from labkit.launch.starting import starting
from labkit.model import operations as op
from labkit.model import wire
from labkit.model.commands import Commands
from labkit.model.operations import MACHINE
from labkit.model.state import State
from labkit.notebook import InNotebook
from labkit.recording import Recording
from labkit.refusals import kernel_error
from labkit.wiring import Bridge, Cable, check_ends

if TYPE_CHECKING:
    import types

_ADDITIVE = (op.AddHost, op.AddBridge, op.AddCable, op.AddRoute)
SETTLING = 5.0
"""Seconds after a build for which a ping may wait."""
_open: dict[str, Lab] = {}
"""The labs of this notebook kernel by name: a new one replaces the old."""


class Lab(InNotebook):
    """A network of real Linux namespaces, private to this notebook.

    A lab of the same name that is still open in this kernel is closed first. `launcher`
    chooses how the lab is started (see ``labkit doctor``); else the environment variable
    LABKIT_LAUNCHER does, else the first that works here. Also a context manager.

    Raises LauncherError where no lab can be started.
    """

    def __init__(self, name: str = "lab", *, launcher: str | None = None) -> None:
        self.name = naming.check_name(name, "lab")
        is_name = launcher is None or isinstance(launcher, str)
        chosen = launchers.choose(launcher if is_name else naming.shown(launcher))
        if name in _open:
            _open.pop(name).close(reason="a new lab of that name replaced it")
        self.launcher = chosen.name
        self.recording = Recording(name, launcher=chosen.name)
        self.machine = Host(self, MACHINE, MACHINE)
        self._hosts: dict[str, Host] = {MACHINE: self.machine}
        self._bridges: dict[str, Bridge] = {}
        self._cables: list[Cable] = []
        self._batch: list[op.Operation] | None = None
        self._taken: set[naming.IP] | None = None
        self._built = 0.0
        self._connection = launchers.connect(chosen, self.recording.append, name)
        _open[name] = self
        try:
            with starting(chosen):
                self._request(wire.Hello)
        except LabkitError as error:
            self.close()
            raise launchers.explained(chosen, error) from None
        self._add_magics()

    # Building

    def host(
        self, name: str, *, network: str | None = None, forwarding: bool = False, ipv6: bool = False
    ) -> Host:
        """Makes a host: a network namespace with its loopback up.

        With ``network="machine"`` it shares the lab's own machine's namespace instead, as
        docker's ``--network host`` does. `forwarding` makes it a router. IPv6 is off, so that
        its chatter does not fill the tables, unless `ipv6` is true.

        Raises LabkitError for a name that is taken or cannot be one.
        """
        naming.check_name(name, "host")
        self._check_free(name)
        naming.check_flag(forwarding, "forwarding")
        naming.check_flag(ipv6, "ipv6")
        if not (network is None or (isinstance(network, str) and network == MACHINE)):
            raise LabkitError(
                f"A host cannot have the network {naming.shown(network)}.",
                hint='Leave it out for a namespace of its own, or say network="machine".',
            )
        if network == MACHINE and (forwarding or ipv6):
            raise LabkitError(
                f"{name!r} shares the machine's network stack, so it has no forwarding or IPv6 "
                "setting of its own.",
                hint='Leave these out; lab.machine.run("sysctl -w net.ipv4.ip_forward=1") sets '
                "the machine's.",
            )
        host = Host(self, name, network or name)
        wanted = op.AddHost(name=name, netns=host.netns, forwarding=forwarding, ipv6=ipv6)
        self._build(wanted, then=lambda: self._hosts.__setitem__(name, host))
        return host

    def bridge(
        self, name: str, address: str | None = None, *, ageing: float = 300, stp: bool = False
    ) -> Bridge:
        """Makes a bridge on the lab's machine, up; with an address if one is given.

        `ageing` is how many seconds a learned row lives without a frame; 0 makes a hub.
        Raises LabkitError for a bad or used name or address.
        """
        naming.check_name(name, "bridge")
        self._check_free(name)
        naming.check_number(ageing, "ageing", 0, 1_000_000)
        naming.check_flag(stp, "stp")
        given = self._check_unused(address) if address is not None else None
        interface = naming.interface_name(name)
        mac = "02:42:" + naming.made_mac("bridge", name)[6:]  # as the text's docker0 has it
        wanted = op.AddBridge(
            name=name,
            interface=interface,
            mac=mac,
            address=str(given) if given else None,
            ageing=ageing,
            stp=stp,
        )
        bridge = Bridge(self, name, interface)
        self._build(wanted, then=lambda: self._bridges.__setitem__(name, bridge))
        return bridge

    def cable(
        self,
        a: Host | Bridge,
        b: Host | Bridge,
        a_address: str | None = None,
        b_address: str | None = None,
        *,
        mac: str | None = None,
    ) -> Cable:
        """Joins two hosts, a host and a bridge, or two bridges by a veth pair, both ends up.

        Addresses (with prefix length) are for the host ends, in order; `mac` is the first
        end's. Raises LabkitError for a bad or used address, or ends that cannot be joined.
        """
        check_ends(self, (a, a_address), (b, b_address))
        first = self._end(a, b, a_address, naming.check_mac(mac) if mac is not None else None)
        second = self._end(b, a, b_address, None)
        if first.address and second.address and _ip(first.address) == _ip(second.address):
            self._used(second.address)
        if first.netns == second.netns and first.interface == second.interface:
            second = msgspec.structs.replace(
                second, interface=naming.port_name(second.interface, "far end")
            )
        cable = Cable(self, first, second)

        def register() -> None:
            self._cables.append(cable)
            for thing in (a, b):
                if isinstance(thing, Host):
                    thing._interfaces += 1

        self._build(op.AddCable(a=first, b=second), then=register)
        return cable

    def _end(
        self, at: Host | Bridge, other: Host | Bridge, address: str | None, mac: str | None
    ) -> op.End:
        if isinstance(at, Bridge):
            parts = (at.name, other.name, str(other._interfaces if isinstance(other, Host) else 0))
            if isinstance(other, Bridge):  # several cables may join the same two, and some be gone
                taken = {end.interface for cable in self._cables for end in cable.ends}
                while naming.port_name(*parts) in taken:
                    parts = (*parts[:2], str(int(parts[2]) + 1))
            return op.End(
                netns=MACHINE,
                interface=naming.port_name(*parts),
                mac=mac or naming.made_mac("port", *parts),
                bridge=at.interface,
            )
        given = self._check_unused(address) if address is not None else None
        held = self.recording.state().space(at.netns)
        number = at._interfaces
        while held.link_named(f"eth{number}"):  # a learner's own may have that name
            number += 1
        interface = f"eth{number}"
        return op.End(
            netns=at.netns,
            interface=interface,
            mac=mac or naming.mac_for(given, at.name, interface),
            address=str(given) if given else None,
        )

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Sends what the block builds as one request: all of it, or nothing.

        What it makes can be used when the block has ended.
        """
        if self._batch is not None:
            raise LabkitError("A batch is open already.", hint="One lab.batch() at a time.")
        before = (dict(self._hosts), dict(self._bridges), list(self._cables))
        counts = {host: host._interfaces for host in self._hosts.values()}
        self._batch, self._taken = [], self._taken_addresses()
        built = False

        def keep() -> None:
            nonlocal built
            built = True

        try:
            yield
            operations, self._batch = self._batch, None
            if operations:
                self._build(*operations, then=keep)
        except BaseException:
            if not built:
                hosts, bridges, cables = before
                for name in self._hosts.keys() - hosts.keys():
                    self._hosts[name]._removed = True
                for name in self._bridges.keys() - bridges.keys():
                    self._bridges[name]._removed = True
                self._drop_cables(self._cables[len(cables) :])
                self._hosts, self._bridges, self._cables = before
                for host, count in counts.items():
                    host._interfaces = count
            raise
        finally:
            self._batch = self._taken = None

    def _build(self, *operations: op.Operation, then: Callable[[], None] | None = None) -> None:
        """Carries out operations, or keeps them for the batch; then registers what they made."""
        if self._batch is not None:
            for operation in operations:
                if not isinstance(operation, _ADDITIVE):
                    raise LabkitError(
                        "Inside lab.batch() things can only be added.",
                        hint="Do this before or after the block.",
                    )
            self._batch += operations
            if then:
                then()
        else:
            with self._connection.interrupts_held():  # what is built is registered, or neither
                if operations:
                    self._request(wire.Build, operations=operations)
                    self._built = time.monotonic()
                if then:
                    then()

    # Removing

    def _remove_host(self, host: Host) -> None:
        if host is self.machine:
            raise LabkitError(
                "The lab's machine cannot be removed.", hint="lab.close() ends the whole lab."
            )
        own = host.netns != MACHINE
        cables = [c for c in self._cables if own and any(e.netns == host.netns for e in c.ends)]
        self._remove(host, self._hosts, cables, op.RemoveHost(name=host.name, netns=host.netns))

    def _remove_bridge(self, bridge: Bridge) -> None:
        cables = [c for c in self._cables if any(e.bridge == bridge.interface for e in c.ends)]
        there = self._state(MACHINE).space(MACHINE).link_named(bridge.interface)
        removal = op.RemoveBridge(name=bridge.name, interface=bridge.interface)
        self._remove(bridge, self._bridges, cables, removal if there else None)

    def _remove(
        self,
        thing: Host | Bridge,
        home: dict[str, Any],
        cables: list[Cable],
        last: op.Operation | None,
    ) -> None:
        """Removes a host or bridge with what is plugged into it."""

        def drop() -> None:
            self._drop_cables(cables)
            thing._removed = True
            del home[thing.name]

        removals = self._removals(cables)
        self._build(*removals, *([last] if last else ()), then=drop)

    def _remove_cable(self, cable: Cable) -> None:
        self._build(*self._removals([cable]), then=lambda: self._drop_cables([cable]))

    def _removals(self, cables: list[Cable]) -> list[op.Operation]:
        """What removes the cables, but for those that a command has deleted behind our back."""
        if not cables:
            return []
        state = self._state(None)
        return [
            op.RemoveCable(a=a, b=b)
            for a, b in (cable.ends for cable in cables)
            if state.space(b.netns).link_named(b.interface)
        ]

    def _drop_cables(self, cables: list[Cable]) -> None:
        for cable in cables:
            cable._removed = True
        self._cables = [c for c in self._cables if not c._removed]

    # Looking

    def __getitem__(self, name: str) -> Host | Bridge:
        """A host or bridge by its name. Raises LabkitError."""
        if isinstance(name, str):
            found = self._hosts.get(name) or self._bridges.get(name)
            if found is not None:
                return found
        known = ", ".join([*self._hosts, *self._bridges])
        raise LabkitError(f"The lab has no {naming.shown(name)}.", hint=f"It has: {known}.")

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts, in the order in which they were made, without the machine itself."""
        return tuple(host for host in self._hosts.values() if host is not self.machine)

    @property
    def bridges(self) -> tuple[Bridge, ...]:
        """The bridges, in the order in which they were made."""
        return tuple(self._bridges.values())

    @property
    def cables(self) -> tuple[Cable, ...]:
        """The cables, in the order in which they were plugged in."""
        return tuple(self._cables)

    @property
    def commands(self) -> Commands:
        """What was done so far, as the commands that do the same: a shell script as text."""
        return Commands.of(event.operation for event in self.recording.state().applied)

    @property
    def agent_pid(self) -> int:
        """The process id of the lab's outermost process."""
        return self._connection.process.pid

    def __repr__(self) -> str:
        if self._connection.closed:
            return f"<Lab {self.name!r}: ended, {self._connection.closed}>"
        return (
            f"<Lab {self.name!r}: {len(self.hosts)} hosts, {len(self._bridges)} bridges, "
            f"{len(self._cables)} cables, launcher {self.launcher}>"
        )

    def _state(self, netns: str | None) -> State:
        """The state when everything that has happened so far has been told."""
        self._request(wire.Sync, netns=netns)
        return self.recording.state()

    def _settle(self) -> None:
        """Waits, for `SETTLING` at most, until new cables pass frames.

        An interface and its bridge hear of a carrier from the kernel's work queue
        (net/core/link_watch.c), on a busy machine some time after the cable was made.
        """
        while time.monotonic() - self._built < SETTLING:
            state = self._state(MACHINE)
            pairs = [(state.link(*one.a), state.link(*one.b)) for one in state.cables()]
            used = [
                end for pair in pairs if all(x and x.is_up for x in pair) for end in pair if end
            ]
            if all(state.passes_frames(end) for end in used):
                self._built = 0.0
                return
            time.sleep(0.005)

    # Ending

    def close(self, *, reason: str = "it was closed") -> None:
        """Ends the lab and everything in it. Closing twice does nothing."""
        self._connection.close(reason)
        if _open.get(self.name) is self:
            del _open[self.name]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.close()

    # Asking the agent

    def _request(self, kind: type[Any], **fields: Any) -> Any:
        try:
            return self._connection.request(kind, **fields)
        except connection.Fault as error:
            operations = fields.get("operations", ())
            raise kernel_error(error.fault, operations) from None

    def _command(self, kind: type[Any], **fields: Any) -> wire.CommandResult:
        try:
            return msgspec.convert(self._request(kind, **fields), wire.CommandResult)
        except msgspec.ValidationError as error:
            raise LabkitError(f"The lab's answer was not understood: {error}.") from None

    def _spawn(self, host: Host, argv: Any, **fields: Any) -> wire.CommandResult:
        host._check()
        argv = tuple(argv)
        if not fields.get("quiet"):
            self._settle()
        try:
            return self._command(wire.Spawn, netns=host.netns, host=host.name, argv=argv, **fields)
        except KernelError as error:
            if error.code in (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.E2BIG):
                raise CommandError(
                    f"{argv[0]!r} could not be started in {host.name}: {error.message}",
                    hint="Check its spelling; `labkit doctor` tells which programs are missing "
                    "and what to install.",
                ) from None
            raise

    # Checks

    def _check_free(self, name: str) -> None:
        if self._connection.closed:
            raise self._connection._gone()
        if name in self._hosts or name in self._bridges:
            kind = "host" if name in self._hosts else "bridge"
            raise LabkitError(
                f"The lab has a {kind} {name!r} already.",
                hint=f'lab["{name}"] is it; lab["{name}"].remove() takes it away; running the cell '
                "with Lab(…) again starts afresh.",
            )

    def _check_unused(self, text: str) -> naming.Address:
        address = naming.check_address(text)
        taken = self._taken_addresses() if self._taken is None else self._taken
        if address.ip in taken:  # or was, until a removal that has not been told yet
            self._request(wire.Sync, netns=None)
            if self._taken is not None or address.ip in self._taken_addresses():
                self._used(text)
        if self._taken is not None:
            self._taken.add(address.ip)
        return address

    def _taken_addresses(self) -> set[naming.IP]:
        """Every address that the kernel has, or that was asked for and not told yet."""
        spaces = self.recording.state().namespaces.values()
        held = [a for space in spaces for row in space.addresses.values() for a in row]
        asked = [end.address for cable in self._cables for end in cable.ends if end.address]
        return {_ip(address) for address in (*held, *asked)}

    def _used(self, text: str) -> None:
        raise LabkitError(
            f"The address {text} is in use in this lab already.",
            hint='Choose another of the same network; host.run("ip addr add …") gives it twice, '
            "if a clash is what you are after.",
        )


def _ip(address: str) -> naming.IP:
    return ipaddress.ip_interface(address).ip


@atexit.register
def _close_all() -> None:
    for lab in list(_open.values()):
        lab.close(reason="the notebook kernel ended")
