"""The words of the findings: for each verdict a sentence and advice, all in one place.

A translation is a set of tables with the same keys. `{…}` are names, addresses and interfaces.
"""

# ruff: noqa: E501 (a sentence is one line, as in the sentences of the steps)
from __future__ import annotations

from labkit.journey.sentences import THE_MACHINE
from labkit.model.operations import MACHINE

VERDICTS: dict[str, tuple[str, str]] = {
    # "name.variant" is the verdict "name" in other words.
    # The way out of a host
    "no-route": (
        "{host} has no route to {target}: no row of its routing table matches, so it does not know where to send the packet.",
        "Add a route in {host}: ip route add default via GATEWAY.",
    ),
    "blackhole-route": (
        "{host} has a blackhole route that matches {target}: it throws such packets away without a word.",
        "Look at ip route in {host}, and delete the blackhole route.",
    ),
    "unreachable-route": (
        "{host} has an unreachable route that matches {target}: it refuses such packets.",
        "Look at ip route in {host}, and delete the unreachable route.",
    ),
    "prohibit-route": (
        "{host} has a prohibit route that matches {target}: it refuses such packets as forbidden.",
        "Look at ip route in {host}, and delete the prohibit route.",
    ),
    "interface-down": (
        "{interface} of {host} is down: it neither sends nor receives.",
        "Bring it up in {host}: ip link set {interface} up.",
    ),
    "cable-unplugged": (
        "The cable between {host} {interface} and {other_host} {other} carries nothing: its end {other} is down.",
        "Plug it in: the cable's plug(), or ip link set {other} up.",
    ),
    "no-cable": (
        "{interface} of {host} has no carrier: nothing is at the other end of its cable.",
        "Look at ip link in {host}, and plug in a cable.",
    ),
    # The hardware address of the next hop
    "gateway-outside-subnet": (
        "{host} sends packets for {target} to the gateway {next}, but {next} is in none of the networks of {host}, and nobody there answers for it.",
        "Give {host} a gateway that is in its own network.",
    ),
    "gateway-missing": (
        "{host} sends packets for {target} to the gateway {next}, but nobody on its network has that address.",
        "Check the gateway's address in ip route of {host}, and the addresses of the router.",
    ),
    "nobody-has-address": (
        "{host} asked everyone on its network for {next}, and nobody answered: no host has that address.",
        "Check the address that you typed, and ip address in the host that was meant.",
    ),
    "other-segment": (
        "{owner} has the address {next}, but no cable or bridge leads from {host} {interface} to it: they are on different networks.",
        "Plug {owner} into the same bridge, or put a router between the two.",
    ),
    "arp-off": (
        "{owner} got the question who has {next} at {interface}, and did not answer: ARP is turned off there.",
        "Turn it on in {owner}: ip link set {interface} arp on.",
    ),
    "arp-ignored": (
        "{owner} got the question who has {next} at {interface}, and did not answer: its setting arp_ignore = {value} forbids it.",
        "Set net.ipv4.conf.all.arp_ignore and that of {interface} to 0 in {owner}.",
    ),
    "arp-unanswered": (
        "{owner} got the question who has {next} at {interface}, and did not answer.",
        "Look at ip address, sysctl net.ipv4.conf and the arptables rules in {owner}.",
    ),
    "wrong-neighbour": (
        "{host} sends the frame for {next} to {mac}, as its ARP cache says ({state}); but {next} is at {right}.",
        "Delete that row in {host}: ip neigh del {next} dev {interface}.",
    ),
    "duplicate-address": (
        "Two hosts have the address {next}: {first} ({first_mac}) and {second} ({second_mac}). Who answers is a matter of luck.",
        "Give one of them another address.",
    ),
    "duplicate-address.claimed": (
        "Two hosts answered for the address {next}: {first} ({first_mac}) and {second} ({second_mac}). But {claims} does not have it.",
        "Look at what runs in {claims}: it answers for an address that is not its own.",
    ),
    "other-segment.loose": (
        "{owner} has the address {next}, but the other end of its cable, {port}, is plugged into no bridge.",
        "Plug it in: ip link set {port} master BRIDGE.",
    ),
    # Bridges and cables
    "port-blocked": (
        "The port {port} of {bridge} is {state}: the bridge lets no frames through it.",
        "If STP is on, wait until it has decided; otherwise bridge link set dev {port} state 3.",
    ),
    "port-isolated": (
        "The ports {port} and {other} of {bridge} are both isolated: no frame passes from one isolated port to another.",
        "Turn it off at one of them: bridge link set dev {port} isolated off.",
    ),
    "bridge-down": (
        "The bridge {bridge} is down: it passes no frames on.",
        "Bring it up: ip link set {bridge} up.",
    ),
    "wrong-fdb": (
        "{bridge} has a fixed row in its CAM table that says {mac} is behind {port}; but it is behind {right}. So the frame went out of the wrong port.",
        "Delete the row: bridge fdb del {mac} dev {port} master.",
    ),
    "duplicate-mac": (
        "Two interfaces have the MAC address {mac}: {first} and {second}. {bridge} believes the one that sent last, and delivers to the wrong one.",
        "Give one of them another MAC address.",
    ),
    "stale-fdb": (
        "{bridge} still has a row that says {mac} is behind {port}, and sent the frame there; but it is behind {right} now.",
        "Forget the learned rows: the bridge's flush(), or wait until they age out.",
    ),
    "bridge-netfilter": (
        "The frame came to {bridge}, and iptables dropped it there: bridge-nf-call-iptables is 1, so bridged packets go through the FORWARD chain, too ({rule}).",
        "Set net.bridge.bridge-nf-call-iptables to 0 on the machine, or let the packets pass.",
    ),
    "lost-in-bridge": (
        "{bridge} took the frame in at {port} and did not send it on to {other}.",
        "Look at bridge -d link, and at nft list ruleset on the machine.",
    ),
    "lost-in-cable": (
        "The frame went into the cable at {host} {interface}, and did not come out at {other_host} {other}.",
        "Send it again; look at ip -s link at both ends for drops.",
    ),
    "mtu": (
        "The packet is too big: it has {size} bytes, and {interface} of {host} takes at most {mtu}{note}.",
        "Send less (ping -s), or give all interfaces on the way the same MTU.",
    ),
    # Routers
    "forwarding-off": (
        "{host} got the packet for {target}, but it is no router: forwarding is off, so it dropped it.",
        "Turn it on in {host}: sysctl -w net.ipv4.ip_forward=1.",
    ),
    "reverse-path": (
        "{host} dropped the packet because of its reverse-path filter: it came in at {interface}, but {host} would send packets for {source} {way}.",
        "Mend the routes in {host}, or set net.ipv4.conf.*.rp_filter to 0 there.",
    ),
    "reverse-path.arp": (
        "{host} did not answer the question who has {next} because of its reverse-path filter: it came in at {interface}, but {host} would send packets for {source} {way}.",
        "Mend the routes in {host}, or set net.ipv4.conf.*.rp_filter to 0 there.",
    ),
    "firewall-forward": (
        "{host} got the packet, and its firewall did not let it through: {rule} ({table} table).",
        "Look at iptables -vnL FORWARD in {host}.",
    ),
    "firewall-input": (
        "{host} got the packet, and its own firewall kept it out: {rule} ({table} table).",
        "Look at iptables -vnL INPUT in {host}.",
    ),
    "firewall-output": (
        "{host} wanted to send the packet, and its own firewall did not let it out: {rule} ({table} table).",
        "Look at iptables -vnL OUTPUT in {host}.",
    ),
    "routing-loop": (
        "The packet went in a circle between {hosts} until its time to live was used up: each thinks that the other is nearer to {target}.",
        "Look at ip route get {target} in each of them.",
    ),
    "ttl-exceeded": (
        "{host} dropped the packet because its time to live was used up: it was sent with {ttl}, and each router takes one off.",
        "Send it with a greater one: ping -t 64.",
    ),
    "refused-by-router": (
        "{host} answered with an ICMP error: {operation}.",
        "Look at ip route get {target} and iptables -vnL in {host}.",
    ),
    # The target
    "echo-ignored": (
        "{host} got the echo request and does not answer any: its setting icmp_echo_ignore_all is 1.",
        "Set net.ipv4.icmp_echo_ignore_all to 0 in {host}.",
    ),
    "port-refused": (
        "{host} is there and answered that nothing listens on port {port} ({how}).",
        "Start a server there, or check the port's number: ss -ltnu in {host}.",
    ),
    "no-return-route": (
        "{host} got the request, but has no route back to {target}, so its answer never left.",
        "Add a route in {host}: ip route add default via GATEWAY.",
    ),
    "no-return-route.router": (
        "{host} got the reply on its way back, but has no route to {target}, so it could not send it on.",
        "Add a route to {target} in {host}: ip route add NETWORK via GATEWAY.",
    ),
    "wrong-prefix": (
        "{host} got the request from {target}, but with its address {address} it thinks that {target} is on another network, and it has no route there.",
        "Give both hosts the same prefix length.",
    ),
    "no-answer": (
        "The request reached {host}, and {host} sent no answer.",
        "Look at iptables -vnL and nft list ruleset in {host}.",
    ),
    "lost-in-stack": (
        "{host} got the packet at {interface}, and neither delivered nor forwarded it.",
        "Look at ip route get {target}, iptables -vnL and nft list ruleset in {host}.",
    ),
    "not-sent": (
        "{host} sent nothing for {target}.",
        "Read what the program printed, and look at iptables -vnL OUTPUT in {host}.",
    ),
    "answer-not-taken": (
        "The answer came back to {host} {interface}, but the program never got it.",
        "Look at iptables -vnL INPUT in {host}, or wait longer (timeout=…).",
    ),
    "answered-late": (
        "The answer came back to {host} {interface} after {milliseconds} ms, when nobody waited for it any more.",
        "Wait longer: timeout=….",
    ),
    # Answered, and yet not in order
    "mac-flapping": (
        "{bridge} saw frames from {mac} come in at {first} and at {second} in turn: its row moved {count} times.",
        "Look for two hosts with one MAC address, or for a loop of cables.",
    ),
}

FINE: dict[str, str] = {
    "route": "{host} has a route to {target} ({row})",
    "neighbour": "{host} knows the MAC address of {next}",
    "asked": "{host} sent the question who has {next}",
    "reached": "the {what} reached {host} {interface}",
    "answered": "{owner} answered the question who has {next}",
    "forwarded": "{host} forwarded the {what}",
}

THINGS = {"request": "request", "reply": "reply", "question": "question"}

REMAINING: dict[str, str] = {
    "bridge-rules": "a rule of nftables or ebtables for bridges",
    "bridge-vlan": "VLAN filtering at the bridge",
    "hook-rules": "a rule that iptables-save does not show (nftables)",
    "address-deleted": "the address was taken away meanwhile",
    "arptables": "a rule of arptables",
    "overrun": "the receiver had no room for it",
    "socket-gone": "the program had stopped waiting",
    "counters": "other packets that met the same rule: it was not counted before",
    "discovery": "IPv6 neighbour discovery, which is not looked into",
    "tunnel": "a link of a kind that is not followed (VXLAN, VLAN and the like)",
    "capture-lost": "frames that were not captured",
}

WAYS = {"none": "nowhere", "out": "out of {interface}"}
MTU_NOTES = {"silent": "; a bridge drops it without a word", "told": "; {host} said so", "own": ""}


def host_name(netns: str) -> str:
    """A namespace as the sentences name it."""
    return THE_MACHINE if netns == MACHINE else netns
