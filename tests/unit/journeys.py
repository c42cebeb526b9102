"""Journeys made by hand: a cold ping with a bystander, and one that nobody answers."""

from __future__ import annotations

from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP, Ether

from labkit import Recording
from labkit.journey import Finding, Journey, Move, Row, Step
from labkit.model import events as ev
from labkit.model import operations as op

M = "machine"
BEGINS = 1_700_000_000_000_000_000
EVERYONE = "ff:ff:ff:ff:ff:ff"
HOSTILE = "</script><script>document.title='broken'</script><!--"


def ip(i):
    return f"172.17.0.{i + 1}"


def mac(i):
    return f"02:42:ac:11:00:{i + 1:02x}"


def host(i):
    return f"nginx-{i}", 2


def port(i):
    return M, 2 + i


def who_has(source, target):
    return Ether(src=mac(source), dst=EVERYONE) / ARP(
        op=1, hwsrc=mac(source), psrc=ip(source), pdst=ip(target)
    )


def is_at(source, target):
    return Ether(src=mac(source), dst=mac(target)) / ARP(
        op=2, hwsrc=mac(source), psrc=ip(source), hwdst=mac(target), pdst=ip(target)
    )


def echo(source, target, kind):
    return (
        Ether(src=mac(source), dst=mac(target))
        / IP(src=ip(source), dst=ip(target), id=7)
        / ICMP(type=kind, id=4711, seq=1)
        / (b"0123456789abcdef" * 3)
    )


class Story:
    """A recording that grows, and the steps that explain it."""

    def __init__(self, hosts: int = 3, live: bool = False) -> None:
        self.recording = Recording("docker0", live=live)
        self.at = BEGINS - 10_000_000
        self.log(ev.LinkSet, netns=M, index=2, name="docker0", kind="bridge", mac="02:42:5e:00:00:01", is_up=True, has_carrier=True)  # fmt: skip
        self.log(ev.Applied, operation=op.AddBridge(name="docker0", interface="docker0", mac=""))
        self.log(ev.AddressSet, netns=M, index=2, address="172.17.0.1/16")
        for i in range(1, hosts + 1):
            name, index = host(i)
            self.log(ev.Applied, operation=op.AddHost(name=name, netns=name))
            self.log(ev.LinkSet, netns=name, index=index, name="eth0", kind="veth", mac=mac(i), is_up=True, has_carrier=True, peer_netns=M, peer_index=port(i)[1])  # fmt: skip
            self.log(ev.LinkSet, netns=M, index=port(i)[1], name=f"veth{i}{i}a0b{i}c", kind="veth", mac=f"02:00:00:00:01:0{i}", is_up=True, has_carrier=True, master=2, port_state="forwarding", peer_netns=name, peer_index=index)  # fmt: skip
            self.log(ev.AddressSet, netns=name, index=index, address=f"{ip(i)}/16")
            self.log(
                ev.RouteSet, netns=name, destination="172.17.0.0/16", index=index, scope="link"
            )
            self.log(ev.FdbSet, netns=M, bridge=2, port=port(i)[1], mac=f"02:00:00:00:01:0{i}", kind="permanent")  # fmt: skip
        self.at = BEGINS
        self.steps: list[Step] = []

    def log(self, what, /, **fields) -> int:
        self.at += 1_700
        self.recording.append(what(at=self.at, **fields))
        return len(self.recording.events) - 1

    def frame(self, place, packet, packet_type="host") -> int:
        return self.log(ev.Frame, netns=place[0], index=place[1], packet_type=packet_type, data=bytes(packet))  # fmt: skip

    def step(self, kind, where, text, evidence=(), branches=(), interface=None, **more) -> Step:
        frames = [n for n in evidence if isinstance(self.recording.event(n), ev.Frame)]
        return Step(
            kind=kind, host=where, interface=interface, text=text, evidence=tuple(evidence),
            at=self.at, frame=frames[0] if frames else None, branches=tuple(branches), **more,
        )  # fmt: skip

    def tell(self, *args, **more) -> None:
        self.steps.append(self.step(*args, **more))

    def name(self, i) -> str:
        return f"veth{i}{i}a0b{i}c"

    def neighbour(self, i, of, state, known=True) -> int:
        return self.log(ev.NeighbourSet, netns=host(i)[0], index=2, address=ip(of), state=state, mac=mac(of) if known else None)  # fmt: skip

    def learned(self, i) -> int:
        return self.log(ev.FdbSet, netns=M, bridge=2, port=port(i)[1], mac=mac(i), kind="learned", updated=self.at)  # fmt: skip

    def ends(self, title, **more) -> Journey:
        return Journey(self.recording, self.steps, begins=BEGINS, ends=self.at, title=title, **more)


def asking(story: Story, target: int, bystanders) -> None:
    """nginx-1 asks for a MAC, and the bridge floods the question."""
    a, sent = ip(target), who_has(1, target)
    story.tell("route", "nginx-1", f"{a} is in 172.17.0.0/16, which is directly reachable through eth0.", interface="eth0", rows=(Row("route", "nginx-1", "172.17.0.0/16"),), inferred=True)  # fmt: skip
    row = Row("neighbour", "nginx-1", a, written=True)
    story.tell("neighbour-miss", "nginx-1", f"The ARP cache of nginx-1 has no MAC address for {a}: it has to ask.", [story.neighbour(1, target, "INCOMPLETE", known=False)], interface="eth0", rows=(row,))  # fmt: skip
    story.tell("arp-request", "nginx-1", f"nginx-1 asks everyone: who has {a}? Tell {ip(1)}.", [story.frame(host(1), sent, "outgoing")], interface="eth0", protocol="ARP")  # fmt: skip
    story.tell("enter-port", "docker0", f"The request comes into docker0 at port {story.name(1)}.", [story.frame(port(1), sent, "broadcast")], interface=story.name(1), protocol="ARP", moves=(Move(host(1), port(1)),))  # fmt: skip
    came = len(story.recording.events) - 1
    story.tell("learn", "docker0", f"docker0 learns: {mac(1)} is behind port {story.name(1)}.", [story.learned(1), came], interface=story.name(1), protocol="ARP", rows=(Row("fdb", "docker0", mac(1), written=True),))  # fmt: skip
    evidence, branches = [], []
    for i in bystanders:
        evidence.append(story.frame(port(i), sent, "outgoing"))
        got = story.frame(host(i), sent, "broadcast")
        mine = i == target
        branches.append(story.step("receive" if mine else "ignore", f"nginx-{i}", f"nginx-{i} takes the request in: it has {a}." if mine else f"nginx-{i} ignores it: it does not have {a}.", [got], interface="eth0", protocol="ARP"))  # fmt: skip
    story.tell("flood", "docker0", f"The request is a broadcast, so docker0 floods it to all other ports: {', '.join(story.name(i) for i in bystanders)}.", evidence, branches, protocol="ARP", moves=tuple(Move(port(i), host(i)) for i in bystanders))  # fmt: skip


def through(story: Story, packet, source, target, kind, protocol, moved, learn) -> None:
    """A frame from one host to another, through the bridge."""
    evidence = [story.frame(host(source), packet, "outgoing")]
    what = {"arp-reply": "answer", "echo-request": "echo request", "echo-reply": "echo reply"}[kind]
    story.tell(kind, f"nginx-{source}", f"nginx-{source} sends its {what} to {mac(target)}, which is nginx-{target}.", evidence, interface="eth0", protocol=protocol, rows=(Row("neighbour", f"nginx-{source}", ip(target)),))  # fmt: skip
    came = story.frame(port(source), packet, "otherhost")
    story.tell("enter-port", "docker0", f"The {what} comes into docker0 at port {story.name(source)}.", [came], interface=story.name(source), protocol=protocol, moves=(Move(host(source), port(source)),))  # fmt: skip
    if learn:
        story.tell("learn", "docker0", f"docker0 learns: {mac(source)} is behind port {story.name(source)}.", [story.learned(source), came], interface=story.name(source), protocol=protocol, rows=(Row("fdb", "docker0", mac(source), written=True),))  # fmt: skip
    out = story.frame(port(target), packet, "outgoing")
    story.tell("forward", "docker0", f"docker0 knows {mac(target)}: the {what} goes out of port {story.name(target)} alone.", [out], interface=story.name(target), protocol=protocol, rows=(Row("fdb", "docker0", mac(target)),), moves=(Move(port(target), host(target), moved),))  # fmt: skip
    if moved:
        story.tell("receive", f"nginx-{target}", f"nginx-{target} takes the {what} in.", [story.frame(host(target), packet)], interface="eth0", protocol=protocol)  # fmt: skip


def cold_ping(live: bool = False, hosts: int = 3, **more) -> Journey:
    """nginx-1 pings nginx-2; nobody knows anybody yet."""
    story = Story(hosts, live=live)
    asking(story, 2, range(2, hosts + 1))
    story.tell("neighbour-learn", "nginx-2", f"nginx-2 notes who asked: {ip(1)} is at {mac(1)}.", [story.neighbour(2, 1, "STALE")], interface="eth0", rows=(Row("neighbour", "nginx-2", ip(1), written=True),))  # fmt: skip
    through(story, is_at(2, 1), 2, 1, "arp-reply", "ARP", True, True)
    story.tell("neighbour-learn", "nginx-1", f"nginx-1 notes the answer: {ip(2)} is at {mac(2)}.", [story.neighbour(1, 2, "REACHABLE")], interface="eth0", rows=(Row("neighbour", "nginx-1", ip(2), written=True),))  # fmt: skip
    through(story, echo(1, 2, 8), 1, 2, "echo-request", "ICMP", True, False)
    through(story, echo(2, 1, 0), 2, 1, "echo-reply", "ICMP", True, False)
    job = story.log(ev.ProcessStarted, netns="nginx-3", job=1, host="nginx-3", command=HOSTILE)
    noise = (story.step("other", "nginx-3", f"nginx-3 ran {HOSTILE}.", [job]),)
    return story.ends(f"nginx-1 pings nginx-2 ({ip(2)})", noise=noise, **more)


def failed_ping() -> Journey:
    """nginx-1 pings nginx-2, whose answer is lost on the cable."""
    story = Story()
    asking(story, 2, (2, 3))
    story.tell("neighbour-learn", "nginx-2", f"nginx-2 notes who asked: {ip(1)} is at {mac(1)}.", [story.neighbour(2, 1, "STALE")], interface="eth0", rows=(Row("neighbour", "nginx-2", ip(1), written=True),))  # fmt: skip
    through(story, is_at(2, 1), 2, 1, "arp-reply", "ARP", False, True)
    story.at += 3_000_000_000
    failed = story.neighbour(1, 2, "FAILED", known=False)
    row = Row("neighbour", "nginx-1", ip(2), written=True)
    story.tell("timeout", "nginx-1", f"Nobody has answered for {ip(2)}: nginx-1 gives up.", [failed], rows=(row,))  # fmt: skip
    finding = Finding(
        verdict="neighbour-failed", stage="neighbour",
        text=f"The answer to nginx-1's question for {ip(2)} went out of {story.name(1)} and never arrived.",
        evidence=(failed,), fine=("nginx-1 has a route", "the request reached nginx-2", "nginx-2 answered"),
        remaining=("the cable loses frames", "a filter at nginx-1 drops them"),
        advice="look at nginx-1's end of the cable: nginx1.run('ip -s link').",
    )  # fmt: skip
    return story.ends(f"nginx-1 pings nginx-2 ({ip(2)})", finding=finding, lost=3, left_out=12)
