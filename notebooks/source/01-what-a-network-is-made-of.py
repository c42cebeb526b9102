# %% [markdown] tags=["en"]
# # What a process's network is made of
#
# You start a web server, and it will not start:
#
# ```text
# bind() to 0.0.0.0:80 failed (98: Address already in use)
# ```
#
# Then you start the same server, with the same settings, on the same machine, in a container. And it starts.
#
# **Whose port 80 was taken, and whose did the container get?** A process does not own a network; it is *in* one.
# In this lesson you look at all that is in there, share one, and make an empty one with your own hands.
#
# - **You will** list the parts of a network stack, provoke a real port conflict, and make a fresh namespace by
#   commands.
# - **You need** lesson 0 (start here). 25 minutes.

# %%
from labkit import Lab, LabkitError, check, hint, predict, solution

lab = Lab("parts")
docker0 = lab.bridge("docker0", "172.17.0.1/16")
nginx1 = lab.host("nginx-1")
lab.cable(nginx1, docker0, "172.17.0.2/16")

web = lab.host("web", network="machine")
lab

# %% [markdown] tags=["en"]
# nginx-1 is a container as you know it. `web` is one, too, but it was told to use the network of the machine, as
# `docker run --network host` does. (Older texts write `--net=host`; that is the same.)
#
# ## The four parts
#
# Ask a process what its network is made of, and you get four answers: **interfaces**, the **loopback** among them; a
# **routing table**; and the rules of **iptables**, the packet filter. Here are the machine's:

# %%
# %%on machine
ip -brief address
echo; ip route
echo; iptables -S

# %% [markdown] tags=["en"]
# `lo` is the loopback: what is sent there comes back to the same stack. `-P INPUT ACCEPT` means that iptables lets
# everything in that no rule stops; there is no rule yet.
#
# ## And the rest
#
# The four are where most people stop. A stack has more than that:

# %%
# %%on machine
ip neigh
ss -Hltun
sysctl net.ipv4.ip_forward net.ipv4.ip_default_ttl

# %% [markdown] tags=["en"]
# | part | what it holds | look with |
# |---|---|---|
# | interfaces, `lo` among them | where packets come in and go out | `ip address` |
# | routes | which way is for whom | `ip route` |
# | iptables | what may pass | `iptables -S` |
# | neighbours (ARP cache) | whose MAC address is known | `ip neigh` |
# | ports and sockets | who listens, who talks | `ss -tuln` |
# | connections seen (conntrack) | what the packet filter remembers | `/proc/net/nf_conntrack` |
# | settings | how all of it behaves | `sysctl -a -r '^net'` |
#
# The first two commands printed nothing: nobody has spoken, and nobody listens.
#
# All of it together is one **network namespace**. Every process is in one, and the kernel gives each a number:
# `/proc/self/ns/net` tells a process its own.

# %%
whose = predict("whose-stack")
whose

# %%
for host in (lab.machine, web, nginx1):
    print(host.name, host.run("readlink /proc/self/ns/net"))
whose.grade()

# %% [markdown] tags=["en"]
# Two processes with the same number share *everything* in the table above. That is the whole difference between the two
# kinds of container.
#
# ## Sharing the machine's network
#
# `web` starts a real web server. nginx-1 asks the *machine's* address for it:

# %%
web.serve(port=80)
print(nginx1.run("curl -s http://172.17.0.1"))
print(lab.machine.run("ss -ltn"))

# %% [markdown] tags=["en"]
# No cable leads to `web`, and no address is its own. It listens on the machine's port 80 itself: nothing has to be
# forwarded. That is why some take this way, for speed.
#
# ## The price
#
# Now the machine wants to start a web server of its own. (`try` and `except` keep the notebook going: this will not
# work.)

# %%
try:
    lab.machine.serve(port=80)
except LabkitError as error:
    print(error)

# %% [markdown] tags=["en"]
# These are nginx's own words, and 98 is the kernel's number for EADDRINUSE. One network, one port 80.
#
# But what exactly is taken?

# %%
free = predict("still-free")
free

# %%
# %%on machine
socat -u TCP-LISTEN:80,bind=127.0.0.1 /dev/null &
socat -u TCP-LISTEN:8080 /dev/null &
socat -u UDP-LISTEN:80 /dev/null &
sleep 0.3
ss -ltun

# %%
nginx1.serve(port=80)
free.grade()

# %% [markdown] tags=["en"]
# A port is not just a number. What can be taken only once, in each namespace, is a **protocol, an address and a port
# together**. UDP port 80 is another one than TCP port 80. `0.0.0.0` means every address of the stack, 127.0.0.1 among
# them, so that one is taken. And nginx-1 has 65,535 ports of its own.
#
# ## What is also shared
#
# A service that listens on 127.0.0.1 alone can be reached from this machine only. So many a database is left without a
# password there. Here is one, on port 5432:

# %%
db = lab.machine.start("socat TCP-LISTEN:5432,bind=127.0.0.1,fork SYSTEM:'echo all our secrets'")

for host in (web, nginx1):
    print(host.name, host.run("socat -u TCP:127.0.0.1:5432,retry=5,interval=0.1 - 2>&1 | tail -n 1"))

# %% [markdown] tags=["en"]
# Whoever shares the network shares the loopback: for `web`, 127.0.0.1 is the machine's. nginx-1 has a 127.0.0.1 of its
# own, and nobody listens there.
#
# ## An empty one, by hand
#
# What does a container get, if it does not share? Make a namespace yourself, with the command that every Linux has. First
# predict:

# %%
fresh = predict("fresh-has")
fresh

# %%
# %%on machine
ip netns add fresh
ip netns list

# %%
# %%on machine
ip netns exec fresh readlink /proc/self/ns/net
ip netns exec fresh ip address
ip netns exec fresh ip route
ip netns exec fresh ip neigh
ip netns exec fresh iptables -S
ip netns exec fresh ss -Hltun

# %%
fresh.grade()

# %% [markdown] tags=["en"]
# A new number, and nearly nothing: one interface, `lo`, and it is DOWN. It has no address either: 127.0.0.1 comes with
# its being brought up. No way out, no neighbour, no rule, every port free. So in there you cannot even reach yourself:

# %%
# %%on machine
ip netns exec fresh ping -c 1 127.0.0.1
ip netns exec fresh ip link set lo up
ip netns exec fresh ping -c 1 127.0.0.1

# %% [markdown] tags=["en"]
# The list also shows `nginx-1`: a host of this lab is nothing but such a namespace. And the name is only a convenience. A
# process can get a namespace without one, which then lives as long as somebody is in it:

# %%
# %%on machine
unshare --net sh -c "readlink /proc/self/ns/net; ip -brief link"
ip netns list

# %% [markdown] tags=["en"]
# ## Even the settings are fresh
#
# Root may send anything. An ordinary user's `ping` has to ask the kernel for a special kind of socket. Here is such a
# `ping`: a plain copy of the program, started without the right to raw packets.

# %%
# %%on machine
cp "$(command -v ping)" /run/ping
ip netns exec fresh setpriv --bounding-set -net_raw --inh-caps -net_raw /run/ping -c 1 127.0.0.1
ip netns exec fresh sysctl net.ipv4.ping_group_range
sysctl net.ipv4.ping_group_range

# %% [markdown] tags=["en"]
# The setting says which groups of users may have such a socket, from which number to which. In a fresh namespace the range
# ends before it begins: nobody. It does not matter what the machine allows; the setting belongs to the namespace.
#
# ## Your turn
#
# **may-ping**: Let that plain `ping` work in `fresh`.

# %%
# solution: may-ping
lab.machine.run("ip netns exec fresh sysctl -w net.ipv4.ping_group_range='0 0'")
# wrong: may-ping
lab.machine.run("sysctl -w net.ipv4.ping_group_range='0 0'")
# wrong: may-ping
lab.machine.run("ip netns exec fresh ip link set lo down")
# end: may-ping

# %%
check("may-ping")

# %% [markdown] tags=["en"]
# **own-rule**: Give `fresh` a rule of iptables that drops TCP to port 80. The machine must not get it.

# %%
# solution: own-rule
lab.machine.run("ip netns exec fresh iptables -A INPUT -p tcp --dport 80 -j DROP")
# wrong: own-rule
lab.machine.run("iptables -A INPUT -p tcp --dport 80 -j DROP")
# wrong: own-rule
lab.machine.run("ip netns exec fresh iptables -A INPUT -p udp --dport 80 -j DROP")
# end: own-rule

# %%
check("own-rule")

# %% [markdown] tags=["en"]
# **same-port**, the hard one: Let two programs listen on the same TCP port of the machine, at the same time. (It has two
# addresses.)

# %%
# solution: same-port
lab.machine.start("socat -u TCP-LISTEN:9000,bind=127.0.0.1 /dev/null")
lab.machine.start("socat -u TCP-LISTEN:9000,bind=172.17.0.1 /dev/null")
# wrong: same-port
lab.machine.start("socat -u TCP-LISTEN:9000 /dev/null")
lab.machine.start("socat -u TCP-LISTEN:9000,bind=172.17.0.1 /dev/null")
# wrong: same-port
lab.machine.start("socat -u TCP-LISTEN:9000,bind=127.0.0.1 /dev/null")
lab.machine.start("socat -u UDP-LISTEN:9000,bind=172.17.0.1 /dev/null")
# end: same-port

# %%
check("same-port")

# %% [markdown] tags=["en"]
# ## In practice
#
# - **Docker** makes a namespace for each container, brings `lo` up, sets `ping_group_range` so that everybody may ping, and
#   then needs a cable: the next lesson. Its namespaces have no name, so `ip netns list` does not show them.
# - **A Kubernetes pod** is several containers in *one* network namespace. They reach each other at 127.0.0.1, and two of them
#   cannot both have port 80.
# - **`--network host`** gives away the isolation: the container sees every interface, and every service on the loopback.
#
# ## Further reading
#
# - `man 7 network_namespaces`: the list of all that is in one. `man 8 ip-netns`, `man 1 unshare`.
# - `man 7 icmp`, at *ping_group_range*. `man 7 ip`, at *bind* and EADDRINUSE.
