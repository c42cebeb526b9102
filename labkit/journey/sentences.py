"""The sentence of each kind of step: all the words of a journey, in one place.

A translation is a table with the same keys. `{…}` are the names, addresses and interfaces
of the step; what a sentence does not use is left out.
"""

from __future__ import annotations

from labkit.model.operations import MACHINE

THE_MACHINE = "the machine"

SENTENCES = {
    "route.direct": "{host} looks for the way to {target}. The row {row} matches and names no gateway: {target} is on the same network, to be reached directly out of {interface}.",
    "route.gateway": "{host} looks for the way to {target}. The row {row} matches: it leads through the gateway {gateway}, out of {interface}. So the frame must go to the gateway's MAC address.",
    "route.local": "{host} looks for the way to {target}, and finds that the address is its own.",
    "route.none": "{host} looks for the way to {target}, and no row of its routing table matches.",
    "route.refused": "{host} looks for the way to {target}. The row that matches says {what}: such packets are not to be sent.",
    "neighbour-miss": "{host} does not know the MAC address of {target}: its {cache} has no usable row for it. The packet waits, and {host} must ask.",
    "neighbour-miss.unseen": "{host} does not know the MAC address of {address}, and waits for an answer. Its question was not seen to leave.",
    "neighbour-change.waits": "{host} still waits to hear the MAC address of {address}: its row is now {state}.",
    "neighbour-hit": "{host} knows the MAC address of {target} already: its {cache} says {mac}, {state}. There is no need to ask.",
    "arp-request": "{host} asks everyone on the wire: who has {target}? Tell {source}. The frame is addressed to {target_mac}, which means all.",
    "arp-request.again": "{host} asks again: who has {target}?",
    "arp-request.probe": "{host} checks its row for {target}: it asks {target_mac} alone whether it is still there.",
    "arp-reply": "{host} answers: {source} is at {sender_mac}. The frame goes to {target_mac} alone.",
    "arp-request.announce": "{host} announces to all that {source} is at {sender_mac}.",
    "neighbour-solicitation": "{host} asks who has {target}: a neighbour solicitation, which is ICMPv6. It goes to {target_mac}, the group of those whose address ends alike, not to all as in ARP.",
    "neighbour-solicitation.again": "{host} asks again who has {target}.",
    "neighbour-solicitation.probe": "{host} checks its row for {target}: it asks {target_mac} alone whether it is still there.",
    "neighbour-advertisement": "{host} answers: {source} is at {sender_mac}, a neighbour advertisement. The frame goes to {target_mac} alone.",
    "neighbour-solicitation.announce": "{host} announces that {source} is at {sender_mac}.",
    "echo-request": "{host} sends its echo request (ping {sequence}) for {target} out of {interface}, in a frame for {target_mac}{owner}.",
    "echo-reply": "{host} answers: an echo reply (pong {sequence}) for {target}, in a frame for {target_mac}{owner}.",
    "transmit.error": "{host} reports an error to {target}: {operation}.",
    "transmit": "{host} sends {what} for {target} out of {interface}, in a frame for {target_mac}{owner}.",
    "enter-port": "The frame comes out at the other end of the cable: {interface}, a port of {host}.",
    "learn": "{host} reads the frame's source address and notes: {mac}{owner} is behind {interface}.",
    "learn.moved": "{host} had {mac}{owner} behind {before}, and now sees it come in at {interface}: the row moves.",
    "flood.broadcast": "The frame is for everybody: {host} sends a copy out of every other port ({ports}).",
    "flood.multicast": "The frame is for a group ({target_mac}): {host} sends a copy out of every other port that may have a member ({ports}).",
    "flood.unknown": "{host} has no row for {mac}{owner}. It cannot know the right port, so it sends a copy out of every other one ({ports}).",
    "flood.nobody": "The frame is for everybody, but {host} has no other port that it could go out of.",
    "forward": "{host} looks {mac}{owner} up in its CAM table and finds {interface}{since}. The frame goes out there, and nowhere else.",
    "to-bridge-stack.copy": "The machine's own stack gets a copy too, as if it came in at {host}.",
    "to-bridge-stack.own": "The frame is for {host} itself, so the bridge hands it up to the machine's own stack.",
    "receive": "{host} takes the frame in at {interface}: it is for its MAC address.",
    "receive.broadcast": "{host} gets a copy at {interface}. It is the one that is asked for: {target} is its address.",
    "receive.all": "{host} gets a copy at {interface}, and takes it in.",
    "receive.self": "{host} gets it back at once: {interface}, the loopback, leads to itself.",
    "ignore.arp": "{host} gets a copy at {interface} and drops it: {target} is not its address. It adds nothing to its ARP cache.",
    "ignore.solicitation": "{host} gets a copy at {interface} and drops it: {target} is not its address.",
    "ignore.mac": "{host} gets the frame at {interface} and drops it: it is for {target_mac}{owner}.",
    "neighbour-learn.request": "From the question {host} learns who is asking: {address} is at {mac}, out of {interface}. It will need no question of its own to answer.",
    "neighbour-learn.reply": "{host} has its answer and notes it in its {cache}: {address} is at {mac}, out of {interface}.",
    "neighbour-change": "{host}'s row for {address} is now {state}.",
    "neighbour-change.failed": "Nobody has answered {host}: its row for {address} is now FAILED.",
    "route-forward": "{host} is not the one meant, and forwards: it takes one from the time to live (now {ttl}) and sends the packet on, out of {interface}, in a new frame for {target_mac}{owner}.",
    "nat": "{host} rewrites the packet's addresses: {before} becomes {after}.",
    "drop.cable": "The frame went into the cable at {interface}, and did not come out at the other end.",
    "drop.bridge": "{host} takes the frame in and sends it nowhere.",
    "drop.same-port": "{host} has {mac}{owner} behind the port at which the frame came in ({interface}), so it sends it nowhere.",
    "drop.stack": "{host} takes the packet for {target} in, and does not send it on.",
    "loop": "The same frame goes on from port to port: {count} more sightings of it.",
    "timeout.error": "The ping of {host} has ended without an answer from {target}: an error message came instead.",
    "timeout": "{host} has waited long enough: no answer from {target}.",
    "noise.STP": "{host} says hello to other switches (spanning tree).",
    "noise.ICMPv6": "IPv6 housekeeping of {host}: {operation}.",
    "noise.IGMP": "{host} tells which multicast groups it listens to.",
    "noise.arp-probe": "{host} checks whether {target} is still there: a unicast probe, to it alone.",
    "noise.arp-reply": "{host} answers {target}: still there.",
    "noise.ARP": "An ARP message of {host} about {target}.",
    "noise": "Other traffic: {host} sends {what} to {target}.",
}


def say(key: str, **values: object) -> str:
    """The sentence for a key, filled in. The part before a dot serves where there is no more."""
    form = SENTENCES.get(key) or SENTENCES[key.partition(".")[0]]
    if values.get("host") == MACHINE:
        values["host"] = THE_MACHINE
    is_ip6 = ":" in f"{values.get('target')}{values.get('address')}"
    values["cache"] = "neighbour cache" if is_ip6 else "ARP cache"
    return opened(form.format(**values))


def opened(text: str) -> str:
    """A sentence as it begins: a host's name keeps its small letter."""
    return text[0].upper() + text[1:] if text.startswith(THE_MACHINE) else text
