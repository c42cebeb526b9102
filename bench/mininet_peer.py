"""Mininet's side, run by the system's python3 inside namespaces of its own.

Prints seconds to build and start, and to stop, N hosts on a Linux bridge, no controller.
"""

import sys
import time

from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import SingleSwitchTopo

count = int(sys.argv[1])
began = time.perf_counter()
net = Mininet(
    topo=SingleSwitchTopo(count), switch=LinuxBridge, controller=None, ipBase="10.0.0.0/16"
)
net.start()
built = time.perf_counter()
answer = net.hosts[0].cmd(f"ping -c 1 -W 2 {net.hosts[-1].IP()}")
assert "1 received" in answer, answer
stopping = time.perf_counter()
net.stop()
print(built - began, time.perf_counter() - stopping)
