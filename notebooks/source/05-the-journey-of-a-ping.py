# %% [markdown] tags=["en"]
# # The journey of a ping
#
# You type one line in nginx-1, and a tenth of a millisecond later the answer is there:
#
# ```text
# nginx-1 $ ping 172.17.0.3
# 64 bytes from 172.17.0.3: icmp_seq=1 ttl=64 time=0.10 ms
# ```
#
# **In that tenth of a millisecond two hosts and a switch write four rows into three tables, and a host
# that has nothing to do with it gets a frame.** In this lesson you see every one of these steps, with
# the tables as they stood at that instant, and you can open each frame down to its bytes.
#
# - **You will** predict who hears, who notes and who sends; step through a first, a second and a
#   third ping; and break the switch's memory on purpose.
# - **You need** lesson 3 (what a switch learns) and lesson 4 (docker0 by hand). 30 minutes.

# %%
from labkit import Lab, check, hint, predict, solution

lab = Lab("docker0")
docker0 = lab.bridge("docker0", "172.17.0.1/16")

nginx1, nginx2, nginx3 = (lab.host(f"nginx-{n}") for n in (1, 2, 3))
for n, host in enumerate((nginx1, nginx2, nginx3), start=2):
    lab.cable(host, docker0, f"172.17.0.{n}/16")
    host.add_route("default", via="172.17.0.1")
lab

# %% [markdown] tags=["en"]
# nginx-1 will ping nginx-2. nginx-3 takes no part: it is the *bystander*. And `machine` is the
# computer on which all of this runs; docker0 is its switch, and also its way into this network.
#
# The tables, before anyone has spoken:

# %%
lab.watch()

# %% [markdown] tags=["en"]
# ## The first ping
#
# nginx-1 knows the address 172.17.0.3. But docker0 moves *frames*, and a frame carries MAC addresses.
# So nginx-1 will have to ask for one. **Predict**, then lock your prediction:

# %%
hears = predict("who-hears")
hears

# %%
notes = predict("who-notes")
notes

# %% [markdown] tags=["en"]
# Now the experiment:

# %%
first = nginx1.ping(nginx2)
print(first)

# %%
hears.grade()

# %%
notes.grade()

# %% [markdown] tags=["en"]
# ## Step by step
#
# Here is what happened, from the captured frames and the kernel's own tables. Press
# <kbd>Space</kbd> to play, <kbd>→</kbd> and <kbd>←</kbd> to step. At each step, look at three things:
# where the frame is, which row was just read or written, and which field of the frame decided.

# %%
first.journey

# %% [markdown] tags=["en"]
# Did you see it all?
#
# 1. **The route.** Before anything is sent, nginx-1 looks up the way. The row `172.17.0.0/16` names no
#    gateway (`scope link`; the old `route` command writes the gateway 0.0.0.0), so the packet can go to its
#    target directly, by layer 2.
# 2. **The question.** Layer 2 needs a MAC address, and nginx-1 has none. The packet has to wait while
#    nginx-1 asks: *who has 172.17.0.3?*, in a frame for `ff:ff:ff:ff:ff:ff`, everybody.
# 3. **The switch.** docker0 notes behind which port nginx-1 is, and sends a copy out of *every* other
#    port. Its own machine gets one too.
# 4. **Those who are not meant.** nginx-3 gets its copy, sees that another address is asked for, and drops
#    it. It adds nothing to its ARP cache.
# 5. **The answer.** nginx-2 notes who was asking, so it needs no question of its own, and answers
#    nginx-1 alone. docker0 notes nginx-2 as well, and finds nginx-1's port in its CAM table.
# 6. **The packet.** Only now does the echo request leave. docker0 finds nginx-2's MAC address in its CAM
#    table, and sends the frame out of that one port. The reply comes back the same way.
#
# The same as text, if you want to keep it: `print(first.journey)`. And any frame can be opened by the number
# that its step names as evidence:

# %%
request = next(step for step in first.journey if step.kind == "echo-request")
print(request.text)
print("rests on event", request.evidence, "of the log")

# %% [markdown] tags=["en"]
# The same journey as engineers draw it, one line for each interface, time running down:

# %%
first.journey.sequence()

# %% [markdown] tags=["en"]
# ## The second ping
#
# Everybody knows everybody now.

# %%
again = predict("second-ping")
again

# %%
second = nginx1.ping(nginx2)
again.grade()

# %%
second.journey

# %% [markdown] tags=["en"]
# One frame out, one frame in. Two tables made the difference: nginx-1's ARP cache spared it the question, and
# docker0's CAM table spared nginx-3 the copy.
#
# ## Break it: a switch that has forgotten
#
# The two tables are independent. The hosts remember MAC addresses, the switch remembers ports, and each
# forgets on its own. What if the switch forgets, and the hosts do not?

# %%
spared = predict("bystander")
spared

# %%
docker0.flush()
third = nginx1.ping(nginx2)
spared.grade()

# %%
third.journey

# %% [markdown] tags=["en"]
# The request was for nginx-2 alone, and says so in its first six bytes. But docker0 had no row for that MAC
# address, so it did the only thing that surely reaches the right host: it sent the frame to all.
# This is **unknown unicast**, flooded. On its way docker0 noted nginx-1's port, so the reply was not flooded any
# more: nginx-3 saw one request, and no reply.
#
# nginx-3's network card dropped the frame, since it was for another MAC address. A program that listens in
# promiscuous mode would have read it. On a switch, "nobody else sees my packets" is a habit, not a promise.
#
# ## What happens when nothing happens
#
# The hosts forget what they know (`ip neigh flush`), nginx-1 pings once more, and then everybody is quiet for
# seven seconds. Predict:

# %%
calm = predict("five-seconds")
calm

# %%
import time

for host in (nginx1, nginx2):
    host.run("ip neigh flush dev eth0")
nginx1.ping(nginx2)
quiet = lab.recording.now()
time.sleep(7)
calm.grade()

# %%
for step in lab.recording.journey(start=quiet).noise:
    print(step.text)

# %% [markdown] tags=["en"]
# nginx-2's row for nginx-1 came from a *question*, so nobody ever confirmed that it is right: its state is
# STALE. When nginx-2 used it for the reply, the state became DELAY: *used; if nothing confirms it within five
# seconds, check*. Then PROBE, and nginx-2 asks, this time not everybody but that one MAC address alone: *are you
# still there?* One answer, and the row is REACHABLE.
#
# These are all the states there are, and where the rows of nginx-1 and nginx-2 stand now:

# %%
lab.neighbour_states(nginx1, nginx2)

# %% [markdown] tags=["en"]
# | state | in words | until |
# |---|---|---|
# | INCOMPLETE | asked everybody, no answer yet | an answer (REACHABLE), or three questions, one second apart, in vain (FAILED) |
# | REACHABLE | confirmed a moment ago | 15 to 45 seconds (a random time around 30) |
# | STALE | known, not confirmed lately | it is used (DELAY) |
# | DELAY | used, and not confirmed | five seconds |
# | PROBE | asking that host alone | an answer, or three questions in vain (FAILED) |
# | FAILED | nobody answered | it is needed again |
#
# None of this has to do with docker0's table. A row of the CAM table lives for 300 seconds after the last frame
# from that MAC address, and then goes without a word.
#
# ## Your turn
#
# **unasked**: Get a row for nginx-1 into nginx-3's ARP cache, without nginx-3 asking for it.

# %%
# solution: unasked
nginx1.ping(nginx3)
# wrong: unasked
nginx3.ping(nginx1)
# end: unasked

# %%
check("unasked")

# %% [markdown] tags=["en"]
# **faraway**: Let nginx-1 send a packet to an address outside its network. Whose MAC address will the frame
# carry: the target's, or another's? Look at it in the journey.

# %%
# solution: faraway
far = nginx1.ping("192.0.2.1")
far.journey
# wrong: faraway
nginx1.ping("172.17.0.99")
# end: faraway

# %%
check("faraway")

# %% [markdown] tags=["en"]
# The IP packet says 192.0.2.1; the frame says docker0. A MAC address only ever means the *next hop*. (The
# machine drops the packet: it is no router unless `net.ipv4.ip_forward` is 1. Docker sets that.)
#
# **overheard**: Let nginx-3 overhear an echo request of *nginx-2* that is for nginx-1.

# %%
# solution: overheard
docker0.flush()
nginx2.ping(nginx1)
# wrong: overheard
nginx2.ping(nginx1)
# wrong: overheard
docker0.flush()
# end: overheard

# %%
check("overheard")

# %% [markdown] tags=["en"]
# **silent**, the hard one: Make nginx-1 and nginx-2 reach each other without ARP, with rows that you set by hand.

# %%
# solution: silent
mac1 = nginx1.interfaces[-1].mac
mac2 = nginx2.interfaces[-1].mac
nginx1.run(f"ip neigh replace 172.17.0.3 lladdr {mac2} dev eth0 nud permanent")
nginx2.run(f"ip neigh replace 172.17.0.2 lladdr {mac1} dev eth0 nud permanent")
nginx1.ping(nginx2)
# wrong: silent
mac2 = nginx2.interfaces[-1].mac
nginx1.run(f"ip neigh replace 172.17.0.3 lladdr {mac2} dev eth0 nud permanent")
nginx1.ping(nginx2)
# end: silent

# %%
check("silent")

# %% [markdown] tags=["en"]
# ## In practice
#
# - **Real Docker** does all of this, with the same bridge, the same ARP and the same tables. For a long time a
#   container's MAC address was 02:42 and its IP address, as here; today Docker picks a random one, and the
#   container announces it when it starts.
# - **Real switches** do the same in hardware. Their CAM table has a size: whoever fills it with invented MAC
#   addresses turns every frame into unknown unicast. That is why good ones limit the addresses of a port.
# - **ARP believes anybody.** nginx-2 noted nginx-1's MAC address from a question that nobody checked. Lesson 7
#   has hosts that lie.
#
# ## Further reading
#
# - [RFC 826](https://www.rfc-editor.org/rfc/rfc826): ARP, in ten pages, from 1982; what you saw is its algorithm.
# - `man 8 ip-neighbour`, `man 8 bridge`, `man 7 arp`: the tables, and every time above as a setting.
# - `man 7 packet`: how the frames were captured.
