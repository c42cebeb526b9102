# %% [markdown] tags=["en"]
# # How do two containers reach each other?
#
# You start two containers on one machine. Each has its own IP address, its own routing table,
# its own port 80. They share no cable, no card, nothing you could touch. And yet:
#
# ```text
# nginx-1 $ ping 172.17.0.3
# 64 bytes from 172.17.0.3: icmp_seq=1 ttl=64 time=0.05 ms
# ```
#
# **What carried that packet, and how did it know where to go?**
#
# In the next ten minutes you build what Docker builds, by hand, out of the kernel's own parts,
# and watch the kernel's tables while it works. Nothing here is simulated. The network lives in
# namespaces of its own: it cannot touch this machine's, and it is gone when the notebook is.
#
# Run a cell with <kbd>Shift</kbd>+<kbd>Enter</kbd>.

# %%
from labkit import Lab, check, hint, predict, solution

lab = Lab("docker0")
lab

# %% [markdown] tags=["en"]
# An empty machine: a whole network stack of its own, with nothing in it but a loopback.
# The picture is live. Keep an eye on it while you run the next cells.
#
# ## A switch, and a first container
#
# Several hosts are joined by a switch. Linux has one built in, the **bridge**, and Docker makes
# one called `docker0`. A container, to the network, is a **network namespace**: a stack of its own.
# And the cable between them is a **veth pair**: two network interfaces, and what goes in at one
# comes out at the other, even when that is in another namespace.

# %%
docker0 = lab.bridge("docker0", "172.17.0.1/16")

nginx1 = lab.host("nginx-1")
lab.cable(nginx1, docker0, "172.17.0.2/16")
nginx1.add_route("default", via="172.17.0.1")
web1 = nginx1.serve(port=80)

# %% [markdown] tags=["en"]
# That is `docker run -d --name nginx-1 nginx`, done by hand: a real nginx, in a real namespace.
# Look at it from the inside: first with the command of the old days, then with the one of today.
# They ask the same kernel.

# %%
print(nginx1.run("ifconfig"))

# %%
print(nginx1.run("ip address"))

# %% [markdown] tags=["en"]
# Two interfaces: `lo`, and `eth0`. Look at how `ip` writes its name: `eth0@if…`. That is the kernel
# telling you that `eth0` is one end of a pair, and the number of the other end.
#
# And the routes:

# %%
print(nginx1.run("route -n"))
print(nginx1.run("ip route"))

# %% [markdown] tags=["en"]
# The line for `172.17.0.0` has the gateway `0.0.0.0`: **no gateway**. Whoever is in that network
# is a neighbour, and can be reached through `eth0` directly. Everyone else is behind `172.17.0.1`.
#
# Now the other end of the cable, out on the machine:

# %%
print(lab.machine.run("brctl show"))
print(lab.machine.run("bridge link"))

# %% [markdown] tags=["en"]
# `eth0`'s other end is called `veth…`, and it is plugged into `docker0`.
#
# ## A second container
#
# > **Predict first.** What will `brctl show` say after the next cell? And what in the picture at
# > the top will change?

# %%
nginx2 = lab.host("nginx-2")
lab.cable(nginx2, docker0, "172.17.0.3/16")
nginx2.add_route("default", via="172.17.0.1")
web2 = nginx2.serve(port=80)

print(lab.machine.run("brctl show"))

# %% [markdown] tags=["en"]
# One more port. And both nginx listen on port 80, without a conflict: each has its own
# namespace, and a namespace has its own ports.
#
# ## The tables, before anyone has spoken
#
# Two tables decide where a packet goes.
#
# - Each host keeps **neighbours**, also called its *ARP cache*: which MAC address belongs to which
#   IP address.
# - The bridge keeps an **fdb**, also called its *CAM table*: which MAC address is behind which port.
#
# Here they are, with the picture once more, so that you can see both at once:

# %%
display(lab)
lab.watch(nginx1, nginx2, docker0)

# %% [markdown] tags=["en"]
# **Predict first.** The bridge is about to carry its first frames. Choose, and lock it in. Then run
# the cell after it, and look *up*.

# %%
guess = predict("first-ping")
guess

# %%
ping = nginx1.ping(nginx2)
ping

# %%
guess.grade()

# %% [markdown] tags=["en"]
# It worked. And look at what it left behind in the tables:
#
# - nginx-1 did not know nginx-2's MAC address, so it asked everyone on the bridge: *who has
#   172.17.0.3?* That is **ARP**. The answer is now a row among its neighbours.
# - nginx-2 has a row for nginx-1 too, and never had to ask: it learned it from the question.
# - docker0 has learned two MAC addresses, each from a frame that came in at a port. When the next
#   frame is for one of them, it knows which port to send it out of.
#
# Here is the evidence, from the kernel itself:

# %%
print(nginx1.run("ip neigh"))
print(nginx1.run("arp -n"))
print(lab.machine.run("bridge fdb show br docker0 dynamic"))

# %% [markdown] tags=["en"]
# The web servers are there as well:

# %%
print(nginx1.run("curl -s http://172.17.0.3"))

# %% [markdown] tags=["en"]
# ## Now break it
#
# > **Predict first.** Pull nginx-2's cable out. What becomes of docker0's row for nginx-2? And of
# > nginx-1's neighbour row? Do both notice?

# %%
cable2 = lab.cables[-1]
cable2.unplug()
nginx1.ping(nginx2)

# %% [markdown] tags=["en"]
# The bridge forgot at once: a port that goes down takes its learned rows with it. But nginx-1 is on
# the far side of a switch, and nobody told *it*. Its row for nginx-2 is still there, and it keeps
# sending to a MAC address that no longer answers. Its kernel trusts a row for some 15 to 45 seconds
# after it was last confirmed; used after that, the row is checked (DELAY, then PROBE), and when
# nobody answers it ends as FAILED. `nginx1.ping(nginx2, count=100)` shows you the whole of it,
# if you can spare a minute.
#
# Plug the cable back in, and all is well again:

# %%
cable2.plug()
nginx1.ping(nginx2, count=3)

# %% [markdown] tags=["en"]
# ## Your turn
#
# Three exercises. `check("…")` says how far you are, from what the kernel shows, whatever your way
# there. `hint("…")` helps, three times, each time more; `solution("…")` shows one way.
#
# **refill**: Flush the switch's memory, and ping again. Which table refills, which was never empty?

# %%
# solution: refill
docker0.flush()
nginx1.ping(nginx2)
# wrong: refill
docker0.flush()
# wrong: refill
nginx1.ping(nginx2)
# end: refill

# %%
check("refill")

# %% [markdown] tags=["en"]
# **nobody**: Ping an address of docker0's network that nobody has. What does nginx-1's table say while
# it waits, and what afterwards?

# %%
# solution: nobody
nginx1.ping("172.17.0.99")
# wrong: nobody
nginx1.ping(nginx2)
# wrong: nobody
nginx1.ping("10.0.0.99")
# end: nobody

# %%
check("nobody")

# %% [markdown] tags=["en"]
# **third-container**: Plug in a third container that nginx-1 can reach.

# %%
# solution: third-container
nginx3 = lab.host("nginx-3")
lab.cable(nginx3, docker0, "172.17.0.4/16")
# wrong: third-container
nginx3 = lab.host("nginx-3")
lab.cable(nginx3, docker0, "10.0.0.4/16")
# wrong: third-container
nginx3 = lab.host("nginx-3")
# end: third-container

# %%
check("third-container")

# %% [markdown] tags=["en"]
# ## What just happened, as commands
#
# Nothing that you did was magic. Every step was a command that you could have typed:

# %%
lab.commands
