"""What this machine can do: what ``labkit doctor`` and `labkit.doctor` look at."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys

from labkit.launch.launchers import LAUNCHERS, REPLAY
from labkit.launch.machine import Launcher, Machine, Problem
from labkit.launch.replay import recorded
from labkit.launch.report import Check, Report

PATIENCE = 60
"""Seconds for the trial of all features; in a small Linux on a busy machine it takes long."""

PROGRAMS = (
    # program, Debian and Ubuntu package, what for, needed
    ("ip", "iproute2", "today's commands for interfaces, addresses and routes", True),
    ("bridge", "iproute2", "today's command for a bridge's ports and CAM table", True),
    ("ping", "iputils-ping", "host.ping()", True),
    ("dot", "graphviz", "the layout of diagrams", False),
    ("nginx", "nginx-light", "host.serve()", False),
    ("brctl", "bridge-utils", "the text's commands for bridges", False),
    ("ifconfig", "net-tools", "the text's command for interfaces", False),
    ("route", "net-tools", "the text's command for routes", False),
    ("arp", "net-tools", "the text's command for the ARP cache", False),
    ("nsenter", "util-linux", "labkit shell", False),
    ("sysctl", "procps", "settings of a host's stack", False),
    ("iptables", "iptables", "firewalls, and some of the mysteries", False),
    ("ethtool", "ethtool", "which veth is whose peer, and offloading", False),
)

UML = "uml"
"""The last of the launchers, which brings a kernel with its modules."""

FEATURES = (
    # name, module, kernel option, what for, needed, the trial (b0, v0 and v1 are there by then)
    ("bridge", "bridge", "BRIDGE", "lab.bridge()", True, "ip link add name b0 type bridge"),
    (
        *("veth", "veth", "VETH", "lab.cable()", True),
        "ip link add name v0 type veth peer name v1",
    ),
    (
        *("802.1Q", "8021q", "VLAN_8021Q", "VLAN interfaces", False),
        "ip link add link v0 name v0.5 type vlan id 5",
    ),
    (
        *("VXLAN", "vxlan", "VXLAN", "overlay networks", False),
        "ip link add name x0 type vxlan id 5 dstport 4789 dev v0",
    ),
    (
        *("netem", "sch_netem", "NET_SCH_NETEM", "slow and lossy cables", False),
        "tc qdisc add dev v0 root netem delay 1ms",
    ),
    (
        *("nf_tables", "nf_tables", "NF_TABLES", "firewalls and NAT with nft", False),
        "nft add table ip t",
    ),
    (
        *("iptables NAT", "iptable_nat", "IP_NF_NAT", "NAT as Docker does it", False),
        "iptables -w -t nat -L -n",
    ),
)

PROGRAM_PACKAGES = {"ip": "iproute2", "tc": "iproute2", "nft": "nftables", "iptables": "iptables"}

PACKAGES = (
    ("msgspec", "the events of a lab", True),
    ("pyroute2", "how the agent speaks to the kernel", True),
    ("jupyterlab", "the notebooks", False),
    ("ipykernel", "the notebooks", False),
    ("ipywidgets", "live views", False),
    ("anywidget", "live views", False),
    ("graphviz", "diagrams", False),
    ("matplotlib", "plots", False),
)


def doctor() -> Report:
    """What this machine can do, what is missing, and the remedy.

    In a notebook the answer shows itself; printed it is what ``labkit doctor`` prints.
    """
    return examine()


def examine(machine: Machine | None = None) -> Report:
    """Looks at everything that a lab uses.

    Takes a fraction of a second; a few where a lab would have a small Linux of its own.
    """
    machine = machine or Machine()
    launchers = []
    chosen: Launcher | None = None
    asked = os.environ.get("LABKIT_LAUNCHER", "")
    for launcher in LAUNCHERS:
        problem = launcher.probe(machine)
        launchers.append(Check(name=launcher.name, use=launcher.summary, problem=problem))
        if problem is None and chosen is None and asked in ("", launcher.name):
            chosen = launcher
    return Report(
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        launcher=chosen.name if chosen else None,
        launchers=tuple(launchers),
        replay=_replay(),
        programs=tuple(_program(machine, *row) for row in PROGRAMS),
        kernel=_kernel(machine, chosen, small=launchers[-1].ok),
        python=tuple(_package(*row) for row in PACKAGES),
        asked=asked,
    )


def _replay() -> Check:
    """Whether the lessons can be played at least."""
    lessons = recorded()
    problem = None
    if not lessons:
        reason = "There are no recordings of the lessons here."
        problem = Problem(reason, "Run this in the project's folder, which has them.")
    detail = f"{len(lessons)} lessons" if lessons else ""
    return Check(name=REPLAY.name, use=REPLAY.summary, detail=detail, problem=problem)


def _program(machine: Machine, name: str, package: str, use: str, needed: bool) -> Check:
    problem = None
    if machine.which(name) is None:
        problem = Problem(
            f"The program {name} is not installed.", f"sudo apt-get install {package}"
        )
    return Check(name=name, use=use, needed=needed, problem=problem)


def _package(name: str, use: str, needed: bool) -> Check:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        problem = Problem(
            f"The Python package {name} is not installed.",
            f"{sys.executable} -m pip install {name}",
        )
        return Check(name=name, use=use, needed=needed, problem=problem)
    return Check(name=name, use=use, needed=needed, detail=version)


def _kernel(machine: Machine, launcher: Launcher | None, *, small: bool) -> tuple[Check, ...]:
    """Tries each feature in a namespace that ends with the trial.

    `small` tells whether a small Linux would work here, which has most of them.
    """
    own = launcher is not None and launcher.name == UML
    answers = try_features(launcher) if launcher else {}
    checks = []
    for number, (name, module, option, use, needed, trial) in enumerate(FEATURES):
        program = trial.split()[0]
        problem = None
        if launcher is None:
            problem = Problem("Not tried: no launcher works here.", "See the launchers above.")
        elif machine.which(program) is None:
            package = PROGRAM_PACKAGES[program]
            problem = Problem(
                f"Not tried: the program {program} is not installed.",
                f"sudo apt-get install {package}",
            )
        elif (words := answers.get(number, "no answer")) != "":
            remedy = _remedy(module, option, own=own, small=small)
            problem = Problem(f"The kernel refused: {words}", remedy)
        checks.append(Check(name=name, use=use, needed=needed, problem=problem))
    return tuple(checks)


def _remedy(module: str, option: str, *, own: bool, small: bool) -> str:
    """What to do about a feature that the kernel has not."""
    if own:
        return "The small Linux is built without it: use another launcher for it."
    other = "Let the lab have a kernel of its own: LABKIT_LAUNCHER=uml\nOr: " if small else ""
    return (
        f"{other}sudo modprobe {module}\nIf there is no such module, it is in another package:\n"
        "  Ubuntu: sudo apt-get install linux-modules-extra-$(uname -r)\n"
        "  Debian with a cloud kernel: sudo apt-get install linux-image-amd64\n"
        f"Else use a kernel built with CONFIG_{option}."
    )


def try_features(launcher: Launcher) -> dict[int, str]:
    """What was said to each feature's trial, by its number: nothing where it went well."""
    lines = ["PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin"]
    for number, (*_, trial) in enumerate(FEATURES):
        lines.append(f'out=$({trial} 2>&1) && echo "{number} " || echo {number} $out refused')
    try:
        done = subprocess.run(
            launcher.argv(["sh", "-c", "\n".join(lines)]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return dict.fromkeys(range(len(FEATURES)), f"no answer within {PATIENCE} s")
    except (OSError, subprocess.SubprocessError) as error:
        return dict.fromkeys(range(len(FEATURES)), str(error))
    answers = {}
    for line in done.stdout.splitlines():
        first, _, words = line.partition(" ")
        if first.isdecimal():
            answers[int(first)] = words.strip().removesuffix(" refused")
    return answers
