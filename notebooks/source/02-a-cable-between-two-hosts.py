# %% [markdown] tags=["en"]
# # A cable between two hosts
#
# Two namespaces, each with nothing but its own loopback. No card, no cable, no address:
#
# ```text
# nginx-1 $ ping 10.2.0.2
# ping: connect: Network is unreachable
# ```
#
# **How does a packet leave a namespace?** With two real computers you would take a cable and plug one end into each. Linux
# has just that, made of software, and you can hold both ends in your hand.
#
# - **You will** make a cable by commands, carry its ends into two hosts, see one frame at both ends, and cut it.
# - **You need** lesson 1 (what a network is made of). 25 minutes.

# %%
from labkit import Lab, check, hint, predict, solution

lab = Lab("cable")
nginx1, nginx2 = lab.host("nginx-1"), lab.host("nginx-2")
lab

# %%
# %%on nginx-1
ip -brief link
ping -c 1 10.2.0.2

# %% [markdown] tags=["en"]
# ## Always two
#
# Such a cable is called **veth**, a virtual Ethernet device. We make one on the machine, outside of both hosts, and give it
# one name, `red`:

# %%
count = predict("how-many")
count

# %%
# %%on machine
ip link add red type veth
ip -brief link

# %%
count.grade()

# %% [markdown] tags=["en"]
# A cable with one end is no cable. You named one, so the kernel named the other: `veth0`. Each is listed with the other
# behind its `@`. And if you take one end away?

# %%
left = predict("what-is-left")
left

# %%
# %%on machine
ip link del red
ip -brief link

# %%
left.grade()

# %% [markdown] tags=["en"]
# Nothing is left. They are made together, and they go together.
#
# ## One end here, one end there
#
# Again, with a name for each end. Then one end moves into nginx-1 and the other into nginx-2; on the way each
# gets the name `eth0`. Watch the picture at the top while you run it:

# %%
# %%on machine
ip link add red type veth peer name blue
ip link set red netns nginx-1 name eth0
ip link set blue netns nginx-2 name eth0
ip -brief link

# %% [markdown] tags=["en"]
# The machine has neither any more: an interface is in one namespace at a time. But how can you tell, from inside nginx-1,
# what its `eth0` is, and where it leads?

# %%
# %%on nginx-1
ip -detail link show eth0
ethtool -S eth0 | grep peer

# %%
# %%on nginx-2
ip -brief link

# %% [markdown] tags=["en"]
# Three proofs:
#
# - `eth0@if…`: the other end is the interface of that *number*. `link-netns` says in which namespace.
# - `veth`, in the details: this is one end of a pair, and no card.
# - `peer_ifindex`, from the driver itself: the same number again. In nginx-2 it is the number of `eth0`. Compare.
#
# ## Is there light on it?
#
# Both ends are down. A real card has a lamp that tells whether there is somebody at the other end; Linux calls it the
# **carrier**. We bring up one end:

# %%
lamp = predict("carrier")
lamp

# %%
# %%on nginx-1
ip link set eth0 up
ip -brief link

# %%
lamp.grade()

# %% [markdown] tags=["en"]
# `NO-CARRIER`, although *this* end is up: the other is not. Now that one too, and an address for each:

# %%
# %%on machine
ip -n nginx-2 link set eth0 up
ip -n nginx-1 address add 10.2.0.1/24 dev eth0
ip -n nginx-2 address add 10.2.0.2/24 dev eth0

# %%
print(nginx1.ping("10.2.0.2"))
lab

# %% [markdown] tags=["en"]
# A packet has left a namespace.
#
# ## As a container sees it
#
# Here is nginx-1 from inside, as older texts show it, and as one looks today:

# %%
# %%on nginx-1
ifconfig
route -n

# %%
# %%on nginx-1
ip address
ip route

# %% [markdown] tags=["en"]
# An `eth0` and a `lo`, as in any container. `ifconfig` does not tell that `eth0` is one end of a cable. `ip` does.
#
# ## The same frame at both ends
#
# What goes in at one end comes out at the other. The same? Predict:

# %%
same = predict("same-frame")
same

# %%
with lab.journey() as seen:
    nginx1.ping("10.2.0.2")
same.grade()

# %%
seen

# %% [markdown] tags=["en"]
# Byte by byte the same frame, a few microseconds apart. To send on a veth is to receive at its other end: the kernel takes
# the frame that one interface was to send, and says that the other has received it. From the log, in numbers:

# %%
sent = next(step for step in seen if step.kind == "echo-request")
got = next(step for step in seen if step.at > sent.at and step.kind == "receive")
frames = [lab.recording.event(step.frame) for step in (sent, got)]

for step, frame in zip((sent, got), frames):
    print(f"{step.host:8} {step.interface}  {len(frame.data)} bytes  {frame.data[:20].hex(' ')} …")
print(f"{(got.at - sent.at) / 1000:.1f} microseconds apart; the same bytes: {frames[0].data == frames[1].data}")

# %% [markdown] tags=["en"]
# ## Pull it out
#
# To pull out a cable, take one end down. Only nginx-2's end; nobody touches nginx-1:

# %%
# %%on machine
ip -n nginx-2 link set eth0 down
ip -n nginx-1 -brief link
ip -n nginx-1 route

# %%
nginx1.ping("10.2.0.2").journey

# %% [markdown] tags=["en"]
# nginx-1 sees it at once: no carrier, and its route is marked `linkdown`. With a cable, both sides know. (Lesson 0 had a switch
# in between: there nginx-1 did not notice.)

# %%
# %%on machine
ip -n nginx-2 link set eth0 up

# %% [markdown] tags=["en"]
# ## The short way
#
# You will not do this by hand every time. One call makes the pair, puts the ends in place, names them, brings them up and
# gives them their addresses:

# %%
red, blue, green = (lab.host(name) for name in ("red", "blue", "green"))
for number, host in enumerate((blue, red, green), start=1):
    lab.cable(lab.machine, host, f"10.{20 + number}.0.1/24", f"10.{20 + number}.0.2/24")
lab

# %% [markdown] tags=["en"]
# What it did is no secret: `lab.commands` ends with it, as commands.
#
# ## Your turn
#
# **join**: Join nginx-3 and nginx-4, which this cell makes, by a cable, so that they reach each other. By hand or the short
# way.

# %%
nginx3, nginx4 = lab.host("nginx-3"), lab.host("nginx-4")

# %%
# solution: join
lab.machine.run("""
    ip link add left type veth peer name right
    ip link set left netns nginx-3 name eth0
    ip link set right netns nginx-4 name eth0
    ip -n nginx-3 address add 10.3.0.1/24 dev eth0
    ip -n nginx-4 address add 10.3.0.2/24 dev eth0
    ip -n nginx-3 link set eth0 up
    ip -n nginx-4 link set eth0 up
""")
# wrong: join
lab.machine.run("""
    ip link add left type veth peer name right
    ip link set left netns nginx-3 name eth0 up
    ip link set right netns nginx-4 name eth0
""")
# wrong: join
lab.cable(nginx3, nginx4, "10.3.0.1/24", "10.4.0.2/24")
# end: join

# %%
check("join")

# %% [markdown] tags=["en"]
# **which-end**: Three cables end in the machine. Find out which end leads to `green`, by its number, and take down that end
# in the machine, and no other.

# %%
# solution: which-end
print(green.run("ip -brief link show eth0"))  # eth0@ifN: N is the number of the other end
number = green.run("cat /sys/class/net/eth0/iflink").stdout.strip()
print(number, lab.machine.run("ip -o link"))  # that number is eth2
lab.machine.run("ip link set eth2 down")
# wrong: which-end
lab.machine.run("ip link set eth1 down")
# wrong: which-end
green.run("ip link set eth0 down")
# end: which-end

# %%
check("which-end")

# %% [markdown] tags=["en"]
# **carry**, the hard one: Take nginx-2's end of the first cable and carry it into a new host, nginx-5, so that nginx-1 reaches
# nginx-5. What does an interface lose when it moves?

# %%
# solution: carry
lab.host("nginx-5")
lab.machine.run("""
    ip -n nginx-2 link set eth0 netns nginx-5
    ip -n nginx-5 link set eth0 up
    ip -n nginx-5 address add 10.2.0.5/24 dev eth0
""")
# wrong: carry
lab.host("nginx-5")
lab.machine.run("ip -n nginx-2 link set eth0 netns nginx-5")
# wrong: carry
lab.host("nginx-5")
lab.machine.run("ip -n nginx-2 link set eth0 netns nginx-5; ip -n nginx-5 link set eth0 up")
# end: carry

# %%
check("carry")

# %% [markdown] tags=["en"]
# It loses its addresses, and it is down: both belong to the stack it was in. Its MAC address it keeps.
#
# ## In practice
#
# - **Docker** does what you did: a pair, one end carried into the container and called `eth0`. The other stays outside, with a
#   name like `veth9c02e56`, and is plugged into a bridge. Lesson 4 builds that.
# - **When a container ends**, its namespace goes, and with it the end that is inside. So the end outside goes as well:
#   nobody has to clean up.
# - **Real cables** have a length and a speed. This one has neither: it is as fast as the processor.
#
# ## Further reading
#
# - `man 4 veth`: one page, with `ethtool -S` on it. `man 8 ip-link`, at *netns* and *type veth*.
# - `veth_xmit` in the kernel's `drivers/net/veth.c`: how sending becomes receiving.
