# %% [markdown] tags=["en"]
# # Break it and mend it
#
# ```text
# ines $ curl http://172.23.182.237:8954/
# curl: (28) Connection timed out
# ```
#
# It worked yesterday, and nobody has changed anything.
#
# **What is wrong here?** You know the tables, the packets and the commands by now. What is left to learn is an order in
# which to look, so that each answer halves what it can be.
#
# - **You will** find and mend four faults that nobody tells you; see a loop drown a network; and get an empty lab for
#   whatever you want to break.
# - **You need** lessons 0 to 6. 40 minutes, and as many as you like.

# %%
from labkit import Lab, check, hint, predict, solution

mystery = Lab.mystery(2, level=1)
ines, bilal = mystery.lab["ines"], mystery.lab["bilal"]
mystery

# %% [markdown] tags=["en"]
# ## The first patient, together
#
# **First: what works, and what does not?** Not one ping, but several, and then compare.

# %%
print(bilal.ping("photos"))
print(ines.ping("bilal"))
sick = ines.ping("photos")
print(sick)

# %% [markdown] tags=["en"]
# That was worth three pings. photos is well, or bilal would not reach it; so are edge and the way to photos. ines is well,
# and so are her cable and the switch, or she would not reach bilal. What is left is what ines does *for far-away addresses
# alone*.
#
# **Second: where does it end?** The journey of a ping that failed says what was captured, and why it ended there:

# %%
sick.journey

# %% [markdown] tags=["en"]
# Read its last lines. They say what the evidence shows, and no more than that.
#
# **Third: the table that decided.** One that is well beside the one that is not:

# %%
# %%on bilal
ip route

# %%
# %%on ines
ip route
ip neigh

# %% [markdown] tags=["en"]
# One line is different, and the neighbour table says what came of it.
#
# **Fourth: mend the cause, not the effect**, and test everything again, not only what was broken.
#
# **clinic-1**: The last step is yours. Mend ines's network. (`%on ines …` runs a command there.)

# %%
# solution: clinic-1
print(bilal.run("ip route show default"), ines.run("ip route show default"))
ines.run("ip route replace default via 172.23.180.214")
# wrong: clinic-1
ines.run("ip neigh flush all")
# wrong: clinic-1
ines.run("ip route del default")
# end: clinic-1

# %%
check("clinic-1")

# %% [markdown] tags=["en"]
# What was planted, and how an expert finds it, is told by `mystery.report()`, when it is mended.
#
# ## The order
#
# | | ask | with |
# |---|---|---|
# | 1 | Who reaches whom, and who does not? What have those in common? | `ping`, both ways, near and far |
# | 2 | Is the cable in, and is the end up? | `ip -br link`, the picture |
# | 3 | Whose address is that? Of which network? | `ip address` |
# | 4 | Which way will it take? | `ip route get ADDRESS` |
# | 5 | Does ARP get an answer, and whose? | `ip neigh` |
# | 6 | Does the switch know the port, and does the port forward? | `bridge fdb`, `bridge link` |
# | 7 | Does somebody drop it? | `iptables -nvL`, `sysctl` |
# | 8 | Does anybody listen? | `ss -ltn` |
#
# From the cable up: what is below must work before what is above can. And where the picture of step 1 points somewhere,
# begin there.
#
# ## The second patient

# %%
mystery = Lab.mystery(14, level=1)
mystery

# %% [markdown] tags=["en"]
# **clinic-2**: Find it and mend it. `hint("clinic-2")` begins with what works and what does not.

# %%
# solution: clinic-2
dora = mystery.lab["dora"]
print(dora.ping("chen"), dora.run("ip -br link"))  # dora's eth0 is up, and has no carrier
port = dora.interfaces[-1].peer.split(":")[1]  # so look at the other end of her cable
print(mystery.lab.machine.run(f"ip -br link show {port}"))
mystery.lab.machine.run(f"ip link set {port} up")
# wrong: clinic-2
mystery.lab["dora"].run("ip link set eth0 down; ip link set eth0 up")
# wrong: clinic-2
mystery.lab["chen"].run("ip neigh flush all")
# end: clinic-2

# %%
check("clinic-2")

# %% [markdown] tags=["en"]
# ## The third patient
#
# One level harder: every link is up.

# %%
mystery = Lab.mystery(21, level=2)
mystery

# %% [markdown] tags=["en"]
# **clinic-3**: Find it and mend it. Does everybody agree about who is near and who is far?

# %%
# solution: clinic-3
jun = mystery.lab["jun"]
print(jun.run("ip route get 192.168.119.48"))  # no gateway, though news is in another network
print(jun.run("ip address show eth0"))  # for jun, all of 192.128.0.0/10 is near
jun.run("ip address add 192.168.118.227/24 dev eth0")
jun.run("ip address del 192.168.118.227/10 dev eth0")
jun.run("ip route replace default via 192.168.118.50")
# wrong: clinic-3
mystery.lab["jun"].run("ip neigh flush all")
# wrong: clinic-3
mystery.lab["news"].run("ip route del default")
# end: clinic-3

# %%
check("clinic-3")

# %% [markdown] tags=["en"]
# ## The fourth patient
#
# The hardest: nothing is missing here, and some pings are answered, some not. Two hosts may see two different things.

# %%
mystery = Lab.mystery(12, level=3)
mystery

# %% [markdown] tags=["en"]
# **clinic-4**: Find it and mend it. The check looks for the cause as well, so a lucky ping does not count.

# %%
# solution: clinic-4
blog, anna = mystery.lab["blog"], mystery.lab["anna"]
print(mystery.lab["ines"].run("ip -br address"), anna.run("ip -br address"))  # both have ….86
anna.run("ip address del 192.168.77.86/24 dev eth0")
# wrong: clinic-4
mystery.lab["ines"].run("ip neigh flush all")
# wrong: clinic-4
mystery.lab["edge"].run("ip neigh flush all")
# end: clinic-4

# %%
check("clinic-4")

# %% [markdown] tags=["en"]
# ## A demonstration: the storm
#
# Two switches, a cable between them, and a second one, in case the first breaks. A good idea?

# %%
lab = Lab("storm")
sw1, sw2 = lab.bridge("sw1"), lab.bridge("sw2")
h1, h2 = lab.host("h1"), lab.host("h2")
lab.cable(h1, sw1, "10.7.0.1/24")
lab.cable(h2, sw2, "10.7.0.2/24")
lab.cable(sw1, sw2)
second = lab.cable(sw1, sw2)
second.unplug()
lab

# %% [markdown] tags=["en"]
# The second cable is pulled out as yet. The next cell plugs it in, lets h1 ask *once* for an address that nobody has, and pulls
# it out again after a fifth of a second.

# %%
many = predict("storm")
many

# %%
# %%on machine
ip link set {second.b} up
ip netns exec h1 ping -c 1 -W 0.1 10.7.0.99 > /dev/null
sleep 0.1
ip link set {second.b} down

# %%
many.grade()

# %% [markdown] tags=["en"]
# sw1 floods the question out of both cables. sw2 floods what comes in at the one out of the other, so back to sw1, and so on, in
# both directions, as fast as the processor can; the picture above says how many frames came too fast to be captured. An IP
# packet has a TTL that ends such a thing. A frame has none.
#
# So switches talk to each other: by the **spanning tree protocol** (STP) they find out that there is a loop, and one port
# blocks. Both are told to use it, with short times, and the second cable goes in again, for good:

# %%
import time

for bridge in (sw1, sw2):
    lab.machine.run(f"ip link set {bridge.interface} type bridge stp_state 1 forward_delay 200")
second.plug()
deadline = time.monotonic() + 20
while {port.state for bridge in (sw1, sw2) for port in bridge.ports} != {"forwarding", "blocking"}:
    assert time.monotonic() < deadline, "no port blocks"
    time.sleep(0.2)

print(lab.machine.run("bridge link"))
print(h1.ping(h2, count=2))

# %% [markdown] tags=["en"]
# One port is *blocking*: the loop is open, and the cable waits for the day when it is needed. (docker0 has STP off: nobody plugs
# a second cable into it.)
#
# ## Your own patients
#
# `Lab.mystery(…)` takes any number: another number is another network with another fault, and `level=` 1, 2 or 3 chooses how hard it
# is. `mystery.check()` tests, `mystery.hint()` helps, `mystery.report()` explains.

# %%
# mystery = Lab.mystery(100, level=1)
# mystery

# %% [markdown] tags=["en"]
# ## An empty lab
#
# And this one is yours. Some ideas:
#
# - **A router**: `lab.host("r1", forwarding=True)`, two cables, two networks. Whose MAC addresses does a ping carry on each
#   side?
# - **A liar**: give two hosts the same MAC address, `lab.cable(…, mac="02:00:00:00:00:01")`, and watch the switch's table.
# - **A hundred hosts**: inside `with lab.batch():` they are there in a moment. How many frames is one ARP question?
# - **IPv6**: `lab.host("h6", ipv6=True)`. Who speaks, before you have said anything?

# %%
lab = Lab("playground")
lab

# %%
lab.watch()

# %% [markdown] tags=["en"]
# ## In practice
#
# - **Keep the order when it is urgent**, then most of all. Note what you saw before you change it.
# - **One change at a time**, and take back what did not help. Or there are two faults soon.
# - **Most real faults are the dull ones** of this clinic: a cable, an address, a gateway, a filter, a service that does not
#   listen where one thinks.
# - **ARP believes anybody who answers**, as the fourth patient shows. Two hosts with one address come from copied machines and
#   from typing. An attacker does the same on purpose: *ARP spoofing*. Good switches can check who may claim which address.
#
# ## Further reading
#
# - `man 8 ip`, `man 8 bridge`, `man 8 iptables`, `man 8 ss`: you have used each.
# - [RFC 5227](https://www.rfc-editor.org/rfc/rfc5227): how a host finds out that its address is taken.
# - IEEE 802.1D, edition of 1998, clause 8: the spanning tree, as the kernel does it (`net/bridge/br_stp.c`).
