"""`Lab`: a network of your own, to build, watch and take apart."""

from __future__ import annotations

import atexit
import errno
import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import msgspec

from labkit import naming
from labkit.errors import CommandError, KernelError, LabkitError
from labkit.hosts import Host
from labkit.launch import connection, launchers
from labkit.launch.starting import starting
from labkit.model import events as ev
from labkit.model import operations as op
from labkit.model import wire
from labkit.model.commands import Commands
from labkit.model.operations import MACHINE
from labkit.model.state import State
from labkit.recording import Recording
from labkit.refusals import kernel_error
from labkit.wiring import Bridge, Cable

if TYPE_CHECKING:
    import types

    import graphviz

_ADDITIVE = (op.AddHost, op.AddBridge, op.AddCable, op.AddRoute)
_open: dict[str, Lab] = {}
"""The labs of this notebook kernel by name: a new one replaces the old."""


class Lab:
    """A network of real Linux namespaces, private to this notebook.

    A lab of the same name that is still open in this kernel is closed first. `launcher`
    chooses how the lab is started (see ``labkit doctor``); else the environment variable
    LABKIT_LAUNCHER does, else the first that works here. Also a context manager.

    Raises LauncherError where no lab can be started.
    """

    def __init__(self, name: str = "lab", *, launcher: str | None = None) -> None:
        self.name = naming.check_name(name, "lab")
        if name in _open:
            _open.pop(name).close(reason="a new lab of that name replaced it")
        chosen = launchers.choose(launcher)
        self.launcher = chosen.name
        self.recording = Recording(name, launcher=chosen.name)
        self.machine = Host(self, MACHINE, MACHINE)
        self._hosts: dict[str, Host] = {MACHINE: self.machine}
        self._bridges: dict[str, Bridge] = {}
        self._cables: list[Cable] = []
        self._batch: list[op.Operation] | None = None
        self._taken: set[naming.IP] | None = None
        self._connection = connection.Connection(chosen, self.recording.append)
        _open[name] = self
        try:
            with starting(chosen):
                self._request(wire.Hello)
        except LabkitError:
            self.close()
            raise

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
        if network not in (None, MACHINE):
            raise LabkitError(
                f"A host cannot have the network {network!r}.",
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
        given = self._check_unused(address) if address is not None else None
        interface = naming.interface_name(name)
        mac = "02:42:" + naming.made_mac("bridge", name)[6:]  # as the text's docker0 has it
        wanted = op.AddBridge(
            name=name,
            interface=interface,
            mac=mac,
            address=str(given) if given else None,
            ageing=ageing,
            stp=bool(stp),
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
        for thing in (a, b):
            if not isinstance(thing, Host | Bridge):
                raise LabkitError(
                    f"A cable cannot be plugged into {thing!r}.",
                    hint="Plug it into what lab.host(…) and lab.bridge(…) gave.",
                )
            if thing.lab is not self:
                raise LabkitError(
                    f"{thing!r} is of another lab, {thing.lab.name!r}.",
                    hint="It may be from before Lab(…) was run again: make it in this lab.",
                )
            thing._check()
        if a is b:
            raise LabkitError(
                f"Both ends of the cable are in {a.name!r}.",
                hint="A cable joins two different things.",
            )
        for thing, address in ((a, a_address), (b, b_address)):
            if address is not None and isinstance(thing, Bridge):
                raise LabkitError(
                    f"{address!r} is for the bridge end, in {thing.name!r}: a bridge's port has "
                    "no address.",
                    hint=f'Give it to the bridge itself: lab.bridge("{thing.name}", "{address}").',
                )
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
            if isinstance(other, Host):
                name = other._interfaces
            else:
                ends = {at.interface, other.interface}
                name = sum(ends == {end.bridge for end in c.ends} for c in self._cables)
            parts = (at.name, other.name, str(name))
            return op.End(
                netns=MACHINE,
                interface=naming.port_name(*parts),
                mac=mac or naming.made_mac("port", *parts),
                bridge=at.interface,
            )
        given = self._check_unused(address) if address is not None else None
        interface = f"eth{at._interfaces}"
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
        elif operations:
            with self._connection.interrupts_held():  # what is built is registered, or neither
                self._request(wire.Build, operations=operations)
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
        removal = op.RemoveBridge(name=bridge.name, interface=bridge.interface)
        self._remove(bridge, self._bridges, cables, removal)

    def _remove(
        self, thing: Host | Bridge, home: dict[str, Any], cables: list[Cable], last: op.Operation
    ) -> None:
        """Removes a host or bridge with what is plugged into it."""

        def drop() -> None:
            self._drop_cables(cables)
            thing._removed = True
            del home[thing.name]

        removals = [op.RemoveCable(a=c.ends[0], b=c.ends[1]) for c in self._still_there(cables)]
        self._build(*removals, last, then=drop)

    def _remove_cable(self, cable: Cable) -> None:
        removal = op.RemoveCable(a=cable.ends[0], b=cable.ends[1])
        self._build(removal, then=lambda: self._drop_cables([cable]))

    def _still_there(self, cables: list[Cable]) -> list[Cable]:
        """The cables that no command has deleted behind our back."""
        if not cables:
            return []
        state = self._state(None)
        return [c for c in cables if state.space(c.ends[1].netns).link_named(c.ends[1].interface)]

    def _drop_cables(self, cables: list[Cable]) -> None:
        for cable in cables:
            cable._removed = True
        self._cables = [c for c in self._cables if not c._removed]

    # Looking

    def __getitem__(self, name: str) -> Host | Bridge:
        """A host or bridge by its name. Raises LabkitError."""
        found = self._hosts.get(name) or self._bridges.get(name)
        if found is None:
            known = ", ".join([*self._hosts, *self._bridges])
            raise LabkitError(f"The lab has no {name!r}.", hint=f"It has: {known}.")
        return found

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
        applied = [e.operation for e in self.recording.events if isinstance(e, ev.Applied)]
        return Commands.of(applied)

    @property
    def agent_pid(self) -> int:
        """The process id of the lab's outermost process."""
        return self._connection.process.pid

    def diagram(self) -> graphviz.Graph:
        """The topology as it is now, as a still picture."""
        from labkit.render.dot import diagram

        return diagram(self._state(None))

    def watch(self, *things: Host | Bridge) -> Any:
        """Live ARP and CAM tables of those hosts and bridges; of all of them without arguments."""
        from labkit.widgets import Tables

        selection = []
        for thing in things:
            if not isinstance(thing, Host | Bridge):
                raise LabkitError(
                    f"{thing!r} has no tables to watch.", hint="Name hosts and bridges of the lab."
                )
            if isinstance(thing, Host):
                selection.append(("host", thing.name))
            else:
                selection.append(("bridge", thing.interface))
        return Tables(self.recording, selection or None)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        from labkit.widgets import Topology

        return Topology(self.recording)._repr_mimebundle_(**options)

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
        return msgspec.convert(self._request(kind, **fields), wire.CommandResult)

    def _spawn(self, host: Host, argv: Any, **fields: Any) -> wire.CommandResult:
        host._check()
        argv = tuple(argv)
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
        if address.ip in taken:
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
