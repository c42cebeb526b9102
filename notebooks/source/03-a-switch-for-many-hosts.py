# %% [markdown] tags=["en"]
# # A switch for many hosts
#
# A cable joins two hosts. For four you would need six cables, and for a hundred, 4,950. So one puts a **switch** in
# the middle, and each host needs a single cable.
#
# A switch sends each frame out of the one port behind which its receiver is. But look at one: no screen, no keyboard,
# nobody ever tells it who is where.
#
# **How does it know?** And what does it do while it does not know?
#
# - **You will** watch a switch learn, mislead it by moving a cable, let it forget, and turn it into a hub.
# - **You need** lesson 2 (a cable between two hosts). 25 minutes.

# %%
from labkit import Lab, check, hint, predict, solution

lab = Lab("switch")
sw1 = lab.bridge("sw1")
h1, h2, h3, h4 = (lab.host(f"h{n}") for n in (1, 2, 3, 4))
for n, host in enumerate((h1, h2, h3, h4), start=1):
    lab.cable(host, sw1, f"10.3.0.{n}/24")
lab

# %% [markdown] tags=["en"]
# In Linux a switch is called a **bridge**, and its memory the forwarding database, `fdb`. In books it is the
# **CAM table**. Here it is, live:

# %%
lab.watch(sw1)

# %% [markdown] tags=["en"]
# Nothing has been learned. (Open the fold: there are rows already, one `permanent` one for each port's own MAC address,
# and `multicast` ones for the groups that the bridge's own stack listens to. They were not learned from any frame.)
#
# ## It learns from who speaks

# %%
whom = predict("learned-whom")
whom

# %%
ping = h1.ping(h2)
print(ping)
whom.grade()

# %% [markdown] tags=["en"]
# A switch learns only from the **source** address of frames that come in: *whoever speaks here is behind this port.* h3
# and h4 got the ARP question, too, but they said nothing, so sw1 still knows nothing of them. Watch the two `learn`
# steps:

# %%
ping.journey

# %% [markdown] tags=["en"]
# And while a receiver is unknown? Then the frame goes out of **every** other port: it is *flooded*. So the very first
# frame always arrives, and the answer to it teaches the switch the port. Flooding costs a little traffic; asking nobody
# and arriving always is worth it.
#
# ## A cable is moved
#
# Now there are two switches, and h2 moves: first it is plugged into sw2.

# %%
sw2 = lab.bridge("sw2")
lab.cable(sw1, sw2)
lab.cables[1].remove()
cable2 = lab.cable(h2, sw2, "10.3.0.2/24")
h2.ping(h1)
print(h1.ping(h2))
lab

# %% [markdown] tags=["en"]
# sw1 has learned that h2 is behind the port that leads to sw2. Now h2 moves back to sw1, to a new port, and keeps
# quiet:

# %%
cable2.remove()
cable2 = lab.cable(h2, sw1, "10.3.0.2/24")

moved = predict("after-move")
moved

# %%
lost = h1.ping("10.3.0.2")
moved.grade()

# %%
lost.journey

# %% [markdown] tags=["en"]
# sw1 did exactly what its table says: it sent the frame to where h2 *was*. Nobody told it of the move, and a row lives
# for 300 seconds after the last frame from that MAC address.
#
# One frame from h2 mends it. Look for the `learn` step that **moves** a row:

# %%
h2.ping(h1).journey

# %%
print(h1.ping("10.3.0.2"))

# %% [markdown] tags=["en"]
# That is why a virtual machine that has moved to another server shouts once into the network (a *gratuitous ARP*): not
# for the hosts, but for the switches.
#
# ## It forgets
#
# The same switch with a shorter memory, three seconds. Watch the table above, or run this and wait:

# %%
import time

lab.machine.run("ip link set sw1 type bridge ageing_time 300")  # in hundredths of a second
began = time.monotonic()
while any(row.kind == "learned" for row in sw1.fdb):
    time.sleep(0.1)
print(f"the last row went after {time.monotonic() - began:.1f} s")
lab.machine.run("ip link set sw1 type bridge ageing_time 30000")

# %% [markdown] tags=["en"]
# Forgetting is not a fault. It is how a switch gets rid of hosts that have left, and of its own errors. What is
# forgotten too early is merely flooded.
#
# ## A host that says nothing
#
# In these labs, IPv6 is switched off in every host, unless you ask for it. Here is why:

# %%
quiet = predict("silent-host")
quiet

# %%
h5 = lab.host("h5", ipv6=True)
lab.cable(h5, sw1, "10.3.0.5/24")
time.sleep(3)
quiet.grade()

# %% [markdown] tags=["en"]
# A host with IPv6 is never silent. It tells which groups it listens to (MLD), checks that nobody has its address
# (duplicate address detection), and asks for a router. *"The CAM table is empty until the first ping"* is true here
# only because IPv6 is off.
#
# ## Without a memory: a hub
#
# What would a switch be that forgets at once? The kernel can do that: with an ageing time of 0 it keeps no learned row.

# %%
hub = lab.bridge("hub", ageing=0)
a, b, c = (lab.host(name) for name in "abc")
for n, host in enumerate((a, b, c), start=1):
    lab.cable(host, hub, f"10.4.0.{n}/24")
a.ping(b)

# %%
hears = predict("hub-hears")
hears

# %%
again = a.ping(b)
hears.grade()

# %%
again.journey

# %% [markdown] tags=["en"]
# Every frame goes to everybody, the reply as well. That is what a **hub** does, the switch's ancestor: the network
# works all the same, only nobody has anything to himself. The CAM table is the whole difference.
#
# ## Your turn
#
# **all-known**: Get all four hosts, h1 to h4, into sw1's CAM table at the same time.

# %%
# solution: all-known
for host in (h2, h3, h4):
    host.ping("10.3.0.1")
# wrong: all-known
h2.ping("10.3.0.1")
# end: all-known

# %%
check("all-known")

# %% [markdown] tags=["en"]
# **pinned**: Pin h3's MAC address to its port, by hand, so that no flush and no age removes it.

# %%
# solution: pinned
port = next(port.name for port in sw1.ports if port.peer == "h3:eth0")
lab.machine.run(f"bridge fdb replace {h3.interfaces[-1].mac} dev {port} master static")
sw1.flush()
# wrong: pinned
port = next(port.name for port in sw1.ports if port.peer == "h4:eth0")
lab.machine.run(f"bridge fdb replace {h3.interfaces[-1].mac} dev {port} master static")
# wrong: pinned
port = next(port.name for port in sw1.ports if port.peer == "h3:eth0")
lab.machine.run(f"bridge fdb replace {h3.interfaces[-1].mac} dev {port} master dynamic")
# end: pinned

# %%
check("pinned")

# %% [markdown] tags=["en"]
# **to-hub**: Make sw1 so forgetful that h4 gets to see a *reply* from h3 to h1.

# %%
# solution: to-hub
lab.machine.run("ip link set sw1 type bridge ageing_time 0")
h1.ping(h3, count=2)
# wrong: to-hub
h1.ping(h3)
# wrong: to-hub
sw1.flush()
h1.ping(h3)
# end: to-hub

# %%
check("to-hub")

# %% [markdown] tags=["en"]
# ## In practice
#
# - **Real switches** learn, flood and age in the same way; 300 seconds is the usual default there, too. Their table has
#   a fixed size: when it is full, they flood.
# - **Linux** calls a row that was put in by hand `static`. Software that makes the virtual
#   machines of a server may set all rows that way, and switch learning off: it *does* know who is where.
# - **Two cables between two switches** make a loop, and a frame for everybody would then go round for ever. The
#   spanning tree protocol (STP) blocks one of them. Try it with `lab.bridge("sw9", stp=True)`; lesson 7 has more.
#
# ## Further reading
#
# - IEEE 802.1D, clause 7.8: "The Learning Process", in one page.
# - `man 8 bridge`, and `net/bridge/br_fdb.c` in the kernel: the table that you watched.
