"""One event in plain words, for whoever scrubs through a log."""

from __future__ import annotations

from labkit.model import events as ev
from labkit.model.commands import commands_for
from labkit.model.state import State

TOLD = (
    ev.Frame,
    *ev.TABLES,
    *ev.NETWORK,
    ev.ProcessStarted,
    ev.ProcessEnded,
    ev.Lost,
    ev.Closed,
)
"""The kinds of event that something can be said of: not what was merely looked up."""


def in_words(event: ev.Event, state: State) -> str:
    """What happened; names are those of `state`. Empty for what was merely looked up."""
    match event:
        case ev.Applied():
            return commands_for(event.operation)[0].text
        case ev.LinkSet():
            carrier = "" if event.has_carrier or not event.is_up else ", no carrier"
            return f"{event.netns}: {event.name} is {'up' if event.is_up else 'down'}{carrier}"
        case ev.LinkRemoved():
            return f"{event.netns}: interface {event.index} is gone"
        case ev.AddressSet() | ev.AddressRemoved():
            verb = "has" if isinstance(event, ev.AddressSet) else "has no longer"
            return f"{_place(event, state)} {verb} the address {event.address}"
        case ev.RouteSet() | ev.RouteRemoved():
            verb = "a route" if isinstance(event, ev.RouteSet) else "no route any more"
            via = f" through {event.gateway}" if event.gateway else ""
            return f"{event.netns}: {verb} to {event.destination}{via}"
        case ev.NeighbourSet():
            at = f", at {event.mac}" if event.mac else ""
            return f"{event.netns}: neighbour {event.address} is {event.state}{at}"
        case ev.NeighbourRemoved():
            return f"{event.netns}: neighbour {event.address} is forgotten"
        case ev.FdbSet() | ev.FdbRemoved():
            space = state.space(event.netns)
            bridge, port = space.name_of(event.bridge), space.name_of(event.port)
            if isinstance(event, ev.FdbRemoved):
                return f"{bridge}: {event.mac} behind {port} is forgotten"
            verb = "learned" if event.kind == "learned" else event.kind
            return f"{bridge}: {verb} {event.mac}, behind {port}"
        case ev.NamespaceRemoved():
            return f"{event.netns}: the namespace has ended"
        case ev.Frame():
            verb = "sent" if event.is_outgoing else "received"
            size = event.length or len(event.data)
            return f"{_place(event, state)} {verb} a frame of {size} bytes"
        case ev.ProcessStarted():
            return f"{event.host}: started {event.command}"
        case ev.ProcessEnded():
            return f"job {event.job} ended with exit code {event.exit_code}"
        case ev.Lost():
            return f"lost, as they came too fast: {event.count or 'some'} {event.what}"
        case ev.Closed():
            return f"the lab ended: {event.reason}"
        case _:
            return ""


def _place(event: ev.AddressSet | ev.AddressRemoved | ev.Frame, state: State) -> str:
    return f"{event.netns} {state.space(event.netns).name_of(event.index)}"
