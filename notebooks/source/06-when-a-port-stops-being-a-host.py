# %% [markdown] tags=["en"]
# # When a port stops being a host
#
# Of a network interface that is plugged into a bridge it is often said: *it loses the right to call the network
# stack. It is only a port now; the bridge decides about every packet.*
#
# **Is that true?** It is half true, and the other half has cost many people an evening. In this lesson you take
# a working interface, plug it into a bridge, and see exactly which half.
#
# - **You will** plug a live interface into docker0, predict three times what becomes of it, and mend it in two
#   ways.
# - **You need** lesson 5 (the journey of a ping). 20 minutes.

# %%
from labkit import Lab, check, hint, predict, solution

lab = Lab("port")
docker0 = lab.bridge("docker0", "172.17.0.1/16")
nginx1 = lab.host("nginx-1")
lab.cable(lab.machine, nginx1, "10.6.0.1/24", "10.6.0.2/24")
lab

# %% [markdown] tags=["en"]
# A plain cable for a start: one end is `eth0` in nginx-1, the other is `eth0` in the machine, with the address
# 10.6.0.1. docker0 is there too, but nothing is plugged into it.

# %%
print(nginx1.ping("10.6.0.1"))
print(lab.machine.run("ip -br address"))

# %% [markdown] tags=["en"]
# It works, both ways. Now plug the machine's end into docker0. Nothing else changes: the address stays where it is,
# and so does the route.

# %%
print(lab.machine.run("ip link set eth0 master docker0"))
print(lab.machine.run("ip -br address"))
print(lab.machine.run("ip route get 10.6.0.2"))

# %% [markdown] tags=["en"]
# If the saying is right, the machine's stack can neither receive nor send at eth0 any more.

# %%
warm = predict("port-warm")
warm

# %%
ping = nginx1.ping("10.6.0.1")
print(ping)
warm.grade()

# %% [markdown] tags=["en"]
# Look at where the request went in, and where the reply came out:

# %%
ping.journey

# %% [markdown] tags=["en"]
# The way **in**: the frame came in at eth0, and the bridge took it. It was for eth0's own MAC address, and a bridge
# has a `permanent` row for the MAC address of each of its ports: *that is us*. So it handed the packet up, but
# **as if it had come in at docker0**. The stack answers for any of its addresses, whatever the interface.
#
# The way **out**: the route to 10.6.0.2 says eth0, so the stack sent the reply out of eth0. No bridge decided about
# it: look, there is no step at docker0 on the way back. **A port can still send.** What it cannot do is receive.
#
# That is the half that is true. Does it matter? Both sides still knew each other's MAC address. Let them forget:

# %%
cold = predict("port-cold")
cold

# %%
where = predict("where-in")
where

# %%
for host in (lab.machine, nginx1):
    host.run("ip neigh flush all")
ping = nginx1.ping("10.6.0.1")
cold.grade()

# %%
where.grade()

# %%
ping.journey

# %% [markdown] tags=["en"]
# Step through it; it is a small crime story.
#
# 1. nginx-1 asks for 10.6.0.1. The question reaches the machine's stack at docker0, and the stack answers: the
#    address is mine (on whichever interface), and I am at *docker0's* MAC address.
# 2. nginx-1 sends its echo request there. It arrives.
# 3. The machine wants to reply. Its route says eth0, so it asks out of eth0: who has 10.6.0.2?
# 4. nginx-1 answers, and the answer reaches the machine: **at docker0**. There it is noted.
# 5. But it was eth0 that asked. On eth0, nobody has answered. The reply is never sent.
#
# The evidence stands in the machine's ARP cache: the same address twice, known on the one interface, and unknown on
# the other.

# %%
print(lab.machine.run("ip neigh"))

# %% [markdown] tags=["en"]
# So the precise statement is: **on receive, the bridge takes every frame of a port; what is for the machine
# itself is handed up as if it came in at the bridge. On transmit, nothing stops the stack.** An address on a port
# gives you a host that talks out of one door and listens at another.
#
# ## Your turn
#
# **still-talks**: Show it once more on its own: let the machine ask, out of the port eth0, for an address that
# nobody has.

# %%
# solution: still-talks
lab.machine.ping("10.6.0.77")
# wrong: still-talks
lab.machine.ping("172.17.0.77")
# end: still-talks

# %%
check("still-talks")

# %% [markdown] tags=["en"]
# **as-a-port**: Leave eth0 in the bridge, and make nginx-1 reach 10.6.0.1 all the same.

# %%
# solution: as-a-port
lab.machine.run("ip address del 10.6.0.1/24 dev eth0")
lab.machine.run("ip address add 10.6.0.1/24 dev docker0")
# wrong: as-a-port
lab.machine.run("ip address del 10.6.0.1/24 dev eth0")
# wrong: as-a-port
lab.machine.run("ip address add 10.6.0.1/24 dev docker0")
# end: as-a-port

# %%
check("as-a-port")

# %% [markdown] tags=["en"]
# That is what Docker does: docker0 has the address, and its ports have none.
#
# **as-a-host**: Now the other way: take eth0 out of the bridge, so that it is a host's interface again.

# %%
# solution: as-a-host
lab.machine.run("ip link set eth0 nomaster")
lab.machine.run("ip address del 10.6.0.1/24 dev docker0")
lab.machine.run("ip address add 10.6.0.1/24 dev eth0")
# wrong: as-a-host
lab.machine.run("ip address add 10.6.0.1/24 dev eth0")
# end: as-a-host

# %%
check("as-a-host")

# %% [markdown] tags=["en"]
# ## In practice
#
# - Whoever puts their server's network card into a bridge, for virtual machines perhaps, and leaves the address on
#   the card, loses the server as soon as the ARP caches go cold: minutes later, when nobody thinks of it any more.
#   The address has to move to the bridge, in the same breath.
# - A bridge without any address is a perfectly good switch. It needs one only if the machine itself wants to take
#   part in that network, as the containers' gateway does.
#
# ## Further reading
#
# - `br_handle_frame` in the kernel's `net/bridge/br_input.c`: the few lines that take a port's frames away.
# - `man 8 ip-link` (master, nomaster), `man 8 bridge`.
