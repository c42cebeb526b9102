"""Mininet's side, run by the system's python3 inside namespaces of its own.

Builds and starts N hosts on a Linux bridge, no controller; prints the seconds that took, and
the clock when stopping began and ended.
"""

import sys
import time

from mininet.net import Mininet  # type: ignore[import-not-found]
from mininet.nodelib import LinuxBridge  # type: ignore[import-not-found]
from mininet.topo import SingleSwitchTopo  # type: ignore[import-not-found]

count = int(sys.argv[1])
began = time.perf_counter()
net = Mininet(
    topo=SingleSwitchTopo(count), switch=LinuxBridge, controller=None, ipBase="10.0.0.0/16"
)
net.start()
built = time.perf_counter()
answer = net.hosts[0].cmd(f"ping -c 1 -W 5 {net.hosts[-1].IP()}")
assert "1 received" in answer, answer
stopping = time.perf_counter()
net.stop()
print(built - began, stopping, time.perf_counter())
