"""The text's scene, held against what `ip -j` and `bridge -j` say of the same namespaces."""

from __future__ import annotations

import re

from labkit import Lab, Recording
from tests.kernel.conftest import Scene, ask, wait_for


def oracle_interfaces(host):
    return {
        link["ifname"]: (
            link["address"],
            tuple(f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"]),
            "UP" in link["flags"],
            "LOWER_UP" in link["flags"],
        )
        for link in ask(host, "ip -j address")
    }


def our_interfaces(host):
    return {i.name: (i.mac, i.addresses, i.is_up, i.has_carrier) for i in host.interfaces}


def oracle_routes(host):
    return {
        (r["dst"], r.get("gateway"), r["dev"], r.get("scope", "global"))
        for r in ask(host, "ip -j route")
    }


def oracle_fdb(lab, bridge):
    rows = ask(lab.machine, f"bridge -j fdb show br {bridge}")
    return {(row["mac"], row["ifname"], row.get("vlan"), kind_of(row)) for row in rows}


def kind_of(row):
    if int(row["mac"][:2], 16) & 1:
        return "multicast"
    return "permanent" if row.get("state") == "permanent" else "learned"


def test_tables_are_the_kernels(scene: Scene):
    assert scene.nginx1.ping(scene.nginx2)
    for host in (scene.nginx1, scene.nginx2, scene.lab.machine):
        assert our_interfaces(host) == oracle_interfaces(host)
        ours = {(r.destination, r.gateway, r.interface, r.scope) for r in host.routes}
        assert ours == oracle_routes(host)
        theirs = {
            (n["dst"], n.get("lladdr"), n["state"][0], n["dev"]) for n in ask(host, "ip -j neigh")
        }
        mine = {(n.address, n.mac, n.state, n.interface) for n in host.neighbours}
        # REACHABLE may have become STALE between two looks, nothing else may
        assert {n[:2] for n in mine} == {n[:2] for n in theirs}
    fdb = {(row.mac, row.port, row.vlan, row.kind) for row in scene.docker0.fdb}
    assert fdb == oracle_fdb(scene.lab, "docker0")


def test_names_and_macs_are_as_in_the_text(scene: Scene):
    assert [i.name for i in scene.nginx1.interfaces] == ["lo", "eth0"]
    assert scene.cable1.a.mac == "02:42:ac:11:00:02"
    ports = scene.docker0.ports
    assert len(ports) == 2
    assert all(re.fullmatch("veth[0-9a-f]{7}", port.name) for port in ports)
    assert ports[0].peer == "nginx-1:eth0"
    shown = scene.lab.machine.run("brctl show docker0").stdout
    assert all(port.name in shown for port in ports)


def test_names_are_the_same_from_run_to_run(launcher):
    seen = []
    for _ in range(2):
        with Lab("again", launcher=launcher) as lab:
            scene = Scene(lab)
            seen.append([(p.name, p.mac) for p in scene.docker0.ports] + [(scene.cable1.a.mac, "")])
    assert seen[0] == seen[1]


def test_the_bridges_mac_stays_as_ports_come_and_go(scene: Scene):
    before = next(i.mac for i in scene.lab.machine.interfaces if i.name == "docker0")
    scene.cable1.remove()
    third = scene.lab.host("nginx-3")
    scene.lab.cable(third, scene.docker0, "172.17.0.4/16", mac="02:00:00:00:00:01")
    after = next(i.mac for i in scene.lab.machine.interfaces if i.name == "docker0")
    assert after == before


def test_a_ping_teaches_both_neighbours_and_the_bridge(scene: Scene):
    assert not [row for row in scene.docker0.fdb if row.kind == "learned"]
    ping = scene.nginx1.ping(scene.nginx2, count=2)
    assert (ping.sent, ping.received, len(ping.rtts_ms)) == (2, 2, 2)
    assert {n.address: n.mac for n in scene.nginx1.neighbours} == {"172.17.0.3": scene.cable2.a.mac}
    assert [n.mac for n in scene.nginx2.neighbours] == [scene.cable1.a.mac]
    learned = {row.mac: row.port for row in scene.docker0.fdb if row.kind == "learned"}
    assert learned == {
        scene.cable1.a.mac: scene.cable1.b.name,
        scene.cable2.a.mac: scene.cable2.b.name,
    }


def test_ipv6_is_off_unless_asked_for(scene: Scene):
    six = scene.lab.host("six", ipv6=True)
    scene.lab.cable(six, scene.docker0)
    assert ask(scene.nginx1, "ip -6 -j address") == []
    wait_for(lambda: "fe80" in six.run("ip -6 address show eth0").stdout)


def test_settings_of_a_lab(scene: Scene):
    for host in (scene.nginx1, scene.lab.machine):
        text = host.run("cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null").stdout
        assert text.strip() in ("0", "")
        assert host.run("cat /proc/sys/net/ipv4/ip_forward").stdout.strip() == "0"
    router = scene.lab.host("r1", forwarding=True)
    assert router.run("cat /proc/sys/net/ipv4/ip_forward").stdout.strip() == "1"


def test_unplug_flush_and_plug(scene: Scene):
    assert scene.nginx1.ping(scene.nginx2)
    scene.cable2.unplug()
    assert not scene.cable2.a.has_carrier
    assert scene.cable2.a.mac not in {r.mac for r in scene.docker0.fdb if r.kind == "learned"}
    assert not scene.nginx1.ping(scene.nginx2)
    scene.cable2.plug()
    wait_for(lambda: scene.nginx1.ping(scene.nginx2))
    scene.docker0.flush()
    assert {row.kind for row in scene.docker0.fdb} == {"permanent", "multicast"}


def test_a_host_to_host_cable_and_its_routes_survive_unplugging(lab: Lab):
    a, b = lab.host("a"), lab.host("b")
    cable = lab.cable(a, b, "10.0.0.1/24", "10.0.0.2/24")
    b.add_route("default", via="10.0.0.1")
    assert a.ping(b)
    assert b.ping(cable.a)
    assert cable.a.peer == "b:eth0"
    before = oracle_routes(b)
    cable.unplug()
    cable.unplug()  # twice is as good as once
    assert b.routes == ()
    cable.plug()
    assert oracle_routes(b) == before
    assert {(r.destination, r.gateway, r.interface, r.scope) for r in b.routes} == before
    wait_for(lambda: a.ping(b))


def test_two_bridges_and_a_router(lab: Lab):
    one, two, three = lab.bridge("sw1"), lab.bridge("sw2"), lab.bridge("sw3")
    lab.cable(one, two)
    h1, h2 = lab.host("h1"), lab.host("h2")
    r1 = lab.host("r1", forwarding=True)
    lab.cable(h1, one, "10.0.0.1/24")
    lab.cable(r1, two, "10.0.0.254/24")
    lab.cable(r1, three, "10.1.0.254/24")
    lab.cable(h2, three, "10.1.0.1/24")
    h1.add_route("default", via="10.0.0.254")
    h2.add_route("10.0.0.0/24", via="10.1.0.254")
    assert [i.name for i in r1.interfaces] == ["lo", "eth0", "eth1"]
    assert h1.ping(h2)
    assert len(one.ports) == 2


def test_ageing_and_stp(lab: Lab):
    lab.bridge("hub", ageing=0, stp=True)
    info = ask(lab.machine, "ip -d -j link show hub")[0]["linkinfo"]["info_data"]
    assert (info["ageing_time"], info["stp_state"]) == (0, 1)


def test_network_machine_shares_the_machines_stack(scene: Scene):
    web = scene.lab.host("web", network="machine")
    job = web.serve(port=80)
    assert "web" in scene.nginx1.run("curl -s http://172.17.0.1").stdout
    inside, outside = (h.run("readlink /proc/self/ns/net").stdout for h in (web, scene.lab.machine))
    assert inside == outside
    job.stop()
    assert not job.is_running


def test_every_host_serves_on_its_own_port_80(scene: Scene):
    scene.nginx1.serve()
    scene.nginx2.serve()
    assert "<h1>Hello from nginx-2</h1>" in scene.nginx1.run("curl -s http://172.17.0.3").stdout


def test_what_a_learner_does_by_hand_shows(lab: Lab):
    lab.machine.run("ip link add br9 type bridge && ip link set br9 up")
    h = lab.host("h")
    lab.machine.run("ip link add v1 type veth peer name eth9 netns h && ip link set v1 master br9")
    h.run("ip addr add 10.9.0.1/24 dev eth9 && ip link set eth9 up")
    assert our_interfaces(h) == oracle_interfaces(h)
    eth9 = next(i for i in h.interfaces if i.name == "eth9")
    assert eth9.peer == "machine:v1"
    v1 = next(i for i in lab.machine.interfaces if i.name == "v1")
    assert (v1.peer, v1.bridge) == ("h:eth9", "br9")
    h.run("ip link del eth9")
    assert [i.name for i in h.interfaces] == ["lo"]


def test_a_saved_recording_tells_the_same(scene: Scene, tmp_path):
    scene.nginx1.ping(scene.nginx2)
    index = scene.lab.recording.state().space("machine").link_named("docker0").index
    live = scene.docker0.fdb
    loaded = Recording.load(scene.lab.recording.save(tmp_path / "scene.labkit"))
    told = loaded.state().fdb(index)
    assert [(r.mac, r.port, r.kind) for r in told] == [(r.mac, r.port, r.kind) for r in live]
    middle = loaded.events[len(loaded) // 2]
    assert loaded.state(middle.at).at == middle.at


def test_neighbour_states_that_are_not_announced(scene: Scene):
    """INCOMPLETE is in no event of the kernel's; the log has it all the same."""
    job = scene.nginx1.start("ping -c 2 -W 2 172.17.0.99")
    wait_for(
        lambda: any(
            getattr(e, "state", "") == "INCOMPLETE" and e.address == "172.17.0.99"
            for e in scene.lab.recording.events
        )
    )
    job.stop()
