"""The packet filter rules of the current namespace, as `iptables-save -c` prints them.

iptables keeps rules in two places: "legacy" ones in ip_tables, which names its tables in
/proc/net/ip_tables_names, and those of today in nf_tables, which is asked over netlink.
Asking takes microseconds; a program is run only where there are rules.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from pathlib import Path

from labkit.agent.processes import SYSTEM_PATH

NETLINK_NETFILTER = 12
NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE = 10, 1  # linux/netfilter/nf_tables.h
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NLMSG_DONE, NLMSG_ERROR = 3, 2
DEADLINE = 2.0
"""Seconds that a program may take to print the rules."""


def rules() -> str:
    """The rules of the current network namespace, both kinds; empty where there are none."""
    programs = []
    if _has_legacy():
        programs.append("iptables-legacy-save")
    if _has_nftables():
        programs.append("iptables-nft-save")
    lines: list[str] = []
    for program in programs:
        try:
            done = subprocess.run(
                [program, "-c"],
                capture_output=True,
                text=True,
                timeout=DEADLINE,
                check=False,
                env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"},
            )
        except (OSError, subprocess.TimeoutExpired):
            continue  # not installed, or it hangs: then there is no evidence of this kind
        lines += [line for line in done.stdout.splitlines() if not line.startswith("#")]
    return "\n".join(lines)


def _has_legacy() -> bool:
    try:
        return bool(Path("/proc/net/ip_tables_names").read_text())
    except OSError:
        return False


def _has_nftables() -> bool:
    """Whether nf_tables has any table for IPv4 here."""
    request = struct.pack(
        "=IHHIIBBH",
        20,
        NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE,
        NLM_F_REQUEST | NLM_F_DUMP,
        1,
        0,
        socket.AF_INET,
        0,
        0,
    )
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as asking:
            asking.settimeout(DEADLINE)
            asking.send(request)
            answer = asking.recv(1 << 16)
    except OSError:  # a kernel without it
        return False
    kind = struct.unpack_from("=IH", answer)[1]
    return kind not in (NLMSG_DONE, NLMSG_ERROR)
