# %% [markdown] tags=["en"]
# # docker0, by hand
#
# ```text
# $ docker run -d --name nginx-1 nginx
# $ docker run -d --name nginx-2 nginx
# ```
#
# Two lines, and two containers have their own IP addresses, their own port 80, and reach each other at once.
#
# **What did Docker build there?** Nothing that you do not know by now: namespaces, veth cables, a bridge. In this
# lesson you build the same with the same names and the same addresses, look at it with the commands of the old days
# and with those of today, and then break it in the way in which it is really broken on many machines.
#
# - **You will** build docker0 and two containers, compare old and new commands, and solve a puzzle in which ARP works
#   and ping does not.
# - **You need** lessons 2 and 3. 30 minutes.

# %%
from labkit import Lab, check, hint, predict, solution

lab = Lab("docker0")
lab

# %% [markdown] tags=["en"]
# ## The switch
#
# When it starts, Docker makes a bridge called `docker0`, and gives it the address 172.17.0.1. The bridge is the switch
# for the containers; the address makes it, besides, the machine's own way into their network, and their gateway.

# %%
docker0 = lab.bridge("docker0", "172.17.0.1/16")
print(lab.machine.run("brctl show"))
print(lab.machine.run("ip address show docker0"))

# %% [markdown] tags=["en"]
# ## The first container
#
# To the network, a container is a namespace: with a cable to docker0, an address, and docker0 as its gateway. And a real
# nginx in it.

# %%
nginx1 = lab.host("nginx-1")
lab.cable(nginx1, docker0, "172.17.0.2/16")
nginx1.add_route("default", via="172.17.0.1")
nginx1.serve(port=80)

# %% [markdown] tags=["en"]
# Inside, with the command of the old days and with today's. They ask the same kernel:

# %%
print(nginx1.run("ifconfig"))

# %%
print(nginx1.run("ip address"))

# %% [markdown] tags=["en"]
# `eth0@if…`: today's command also tells that eth0 is one end of a pair, and the number of the other end.
#
# And where is that other end? Out on the machine, plugged into docker0:

# %%
print(lab.machine.run("brctl show"))
print(lab.machine.run("bridge link"))

# %% [markdown] tags=["en"]
# `brctl show` says three more things. The *bridge id* is a priority (8000) and the bridge's MAC address. *STP enabled: no*:
# docker0 does not look for loops. And `bridge link` says *state forwarding*: the port carries frames.
#
# ## The routes of a container

# %%
print(nginx1.run("route -n"))
print(nginx1.run("ip route"))

# %% [markdown] tags=["en"]
# Two rows. The old command writes the gateway `0.0.0.0`, today's writes `scope link`, and both mean: **no gateway**, whoever
# has an address of 172.17.0.0/16 is reached directly. Everybody else is behind 172.17.0.1.

# %%
out = predict("way-out")
out

# %%
for target in ("172.17.0.3", "172.17.255.1", "8.8.8.8"):
    print(nginx1.run(f"ip route get {target}"))
out.grade()

# %% [markdown] tags=["en"]
# `ip route get` is the proof: it asks the kernel itself, and does not only read the table.
#
# ## The second container
#
# Watch the picture at the top, and the next output: one more port.

# %%
nginx2 = lab.host("nginx-2")
lab.cable(nginx2, docker0, "172.17.0.3/16")
nginx2.add_route("default", via="172.17.0.1")
nginx2.serve(port=80)

print(lab.machine.run("brctl show"))

# %% [markdown] tags=["en"]
# Both listen on port 80, and there is no conflict: each has its own ports. And they reach each other at once:

# %%
print(nginx1.ping(nginx2))
print(nginx1.run("curl -s http://172.17.0.3"))

# %%
lab.watch()

# %% [markdown] tags=["en"]
# How the packet found its way is lesson 5. What you did so far, as the commands that you could have typed, the old ones
# beside today's:

# %%
lab.commands

# %% [markdown] tags=["en"]
# ## The real one
#
# If Docker runs on this computer, its docker0 can be compared with yours; this only looks, it changes nothing.

# %%
import shutil, subprocess

if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode == 0:
    print(subprocess.run(["ip", "address", "show", "docker0"], capture_output=True, text=True).stdout)
else:
    print("No Docker runs here. Yours is the only docker0.")

# %% [markdown] tags=["en"]
# ## A puzzle: ARP works, ping does not
#
# A bridge works with frames; the firewall, iptables, works with packets that are *routed*. So what the firewall says should
# not matter between nginx-1 and nginx-2. On many machines it does. Two settings, as they are found there:

# %%
print(lab.machine.run("sysctl -w net.bridge.bridge-nf-call-iptables=1"))
print(lab.machine.run("iptables -P FORWARD DROP"))
nginx1.run("ip neigh flush dev eth0")

# %%
passes = predict("filtered")
passes

# %%
ping = nginx1.ping(nginx2)
print(ping)
passes.grade()

# %%
ping.journey

# %% [markdown] tags=["en"]
# `bridge-nf-call-iptables` shows bridged IPv4 packets to iptables, as if they were routed. ARP is not IPv4, so it passes: all
# tables fill, everything looks right, and no packet arrives. The firewall's own counter is the witness:

# %%
print(lab.machine.run("iptables -nvL FORWARD"))

# %% [markdown] tags=["en"]
# Why would anybody want that? So that the firewall can protect containers from each other; Kubernetes asks for it. Docker
# sets the policy DROP as well, and adds rules that let its own networks through. Trouble comes when only one half is there.
#
# The setting belongs to each namespace, and may be 1 when one is made. A lab sets it to 0 and says so here.
#
# ## Your turn
#
# **mend-filter**: Let nginx-1 reach nginx-2 again, while the policy of FORWARD stays DROP.

# %%
# solution: mend-filter
lab.machine.run("iptables -A FORWARD -i docker0 -o docker0 -j ACCEPT")
# wrong: mend-filter
lab.machine.run("iptables -P FORWARD ACCEPT")
# wrong: mend-filter
lab.machine.run("iptables -A INPUT -i docker0 -j ACCEPT")
# end: mend-filter

# %%
check("mend-filter")

# %% [markdown] tags=["en"]
# **third-container**: Plug a third container into docker0 that nginx-1 can reach.

# %%
# solution: third-container
nginx3 = lab.host("nginx-3")
lab.cable(nginx3, docker0, "172.17.0.4/16")
nginx3.add_route("default", via="172.17.0.1")
# wrong: third-container
nginx3 = lab.host("nginx-3")
lab.cable(nginx3, docker0, "10.0.0.4/16")
# wrong: third-container
nginx3 = lab.host("nginx-3")
# end: third-container

# %%
check("third-container")

# %% [markdown] tags=["en"]
# **second-web**: Let nginx-2 serve its page on port 8080 besides, and fetch it from nginx-1 with `curl`.

# %%
# solution: second-web
nginx2.serve(port=8080)
print(nginx1.run("curl -s http://172.17.0.3:8080"))
# wrong: second-web
nginx1.serve(port=8080)
print(nginx1.run("curl -s http://172.17.0.2:8080"))
# wrong: second-web
nginx2.serve(port=8080)
# end: second-web

# %%
check("second-web")

# %% [markdown] tags=["en"]
# ## In practice
#
# - **MAC addresses**: here a container's MAC address is 02:42 and its IP address, as Docker did it for many years. Today it
#   picks random ones, and announces them.
# - **docker0's own MAC address**: a bridge without one of its own takes the lowest of its ports', and changes it as containers
#   come and go. Docker gives docker0 a fixed one; so does this lab.
# - **User-defined networks** (`docker network create`) are more of the same: one more bridge, one more address range.
# - **Port forwarding** (`-p 8080:80`) is a rule of iptables' NAT table, not a matter of the bridge.
#
# ## Further reading
#
# - Docker's documentation: *Bridge network driver*; *Packet filtering and firewalls*.
# - `man 8 brctl` (it calls itself obsolete), `man 8 bridge`, `man 8 ip-route`.
# - The kernel's `Documentation/networking/bridge.rst` and `Documentation/admin-guide/sysctl/net.rst`.
