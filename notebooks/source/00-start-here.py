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
# In the next ten minutes you build what Docker builds, out of the kernel's own parts, and watch the kernel's
# tables while it works. Nothing here is simulated. The network lives in namespaces of its own: it cannot touch
# this machine's, and it is gone when the notebook is.
#
# Run a cell with <kbd>Shift</kbd>+<kbd>Enter</kbd>.

# %%
from labkit import Lab, check, hint, predict, solution

lab = Lab("docker0")
docker0 = lab.bridge("docker0", "172.17.0.1/16")

nginx1 = lab.host("nginx-1")
nginx2 = lab.host("nginx-2")
lab.cable(nginx1, docker0, "172.17.0.2/16")
lab.cable(nginx2, docker0, "172.17.0.3/16")
lab

# %% [markdown] tags=["en"]
# That is a network. `docker0` is a **bridge**, a switch that is made of software: Docker makes one of that name. nginx-1
# and nginx-2 are **network namespaces**, which is what a container is to the network. Each is joined to the switch by a
# **veth cable**. The picture is live; keep an eye on it.
#
# Two kinds of tables decide where a packet goes:
#
# - Each host keeps **neighbours**, also called its *ARP cache*: which MAC address belongs to which IP address.
# - The bridge keeps an **fdb**, also called its *CAM table*: which MAC address is behind which port.

# %%
lab.watch(nginx1, nginx2, docker0)

# %% [markdown] tags=["en"]
# They are empty: nobody has spoken yet. **Predict** what the first ping will leave behind: choose, and lock.

# %%
guess = predict("first-ping")
guess

# %% [markdown] tags=["en"]
# Now ping, and look *up*, at the tables:

# %%
ping = nginx1.ping(nginx2)
ping

# %%
guess.grade()

# %% [markdown] tags=["en"]
# All of that in a tenth of a millisecond:
#
# - nginx-1 did not know nginx-2's MAC address, so it asked everybody on the bridge: *who has 172.17.0.3?* That is **ARP**.
#   The answer is now a row among its neighbours.
# - nginx-2 has a row for nginx-1, too, and never had to ask: it learned it from the question.
# - docker0 has learned two MAC addresses, each from a frame that came in at a port. The next frame for one of them goes
#   out of that port alone.
#
# And here is each single step, as it was captured. Press <kbd>Space</kbd> to play it, or step with <kbd>→</kbd>:

# %%
ping.journey

# %% [markdown] tags=["en"]
# ## They are real
#
# A real nginx in a real namespace, and a real `curl` in the other:

# %%
nginx2.serve(port=80)
print(nginx1.run("curl -s http://172.17.0.3"))

# %% [markdown] tags=["en"]
# And the kernel's own tools see what the views see:

# %%
print(nginx1.run("ip neigh"))
print(lab.machine.run("bridge fdb show br docker0 dynamic"))

# %% [markdown] tags=["en"]
# ## Now break it
#
# > **Predict first.** Pull nginx-2's cable out. What becomes of docker0's row for nginx-2? And of nginx-1's neighbour row? Do
# > both notice?

# %%
cable2 = lab.cables[-1]
cable2.unplug()
nginx1.ping(nginx2)

# %% [markdown] tags=["en"]
# The bridge forgot at once: a port that goes down takes its learned rows with it. But nginx-1 is on the far side of a switch, and
# nobody told *it*. Its row for nginx-2 is still there, and it keeps sending to a MAC address that no longer answers.
#
# A ping that fails tells why, from what was captured:

# %%
nginx1.ping(nginx2).journey

# %%
cable2.plug()
nginx1.ping(nginx2, count=3)

# %% [markdown] tags=["en"]
# ## Your turn
#
# Each lesson has exercises. `check("…")` says how far you are, from what the kernel shows, whatever your way there. `hint("…")`
# helps, three times, each time more; `solution("…")` shows one way.
#
# **refill**: Let docker0 forget all that it has learned, and learn it again. (Type `docker0.` and press <kbd>Tab</kbd>.)

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
# **nobody**: Ping an address of docker0's network that nobody has. What does nginx-1's table say while it waits, and what
# afterwards?

# %%
# solution: nobody
nginx1.ping("172.17.0.99")
# wrong: nobody
nginx1.ping("172.17.0.3")
# end: nobody

# %%
check("nobody")

# %% [markdown] tags=["en"]
# **machine-too**: The machine itself is plugged into this network, at docker0's own address. Let nginx-2 reach it. (And look at
# `.journey`: who answers, and at which interface?)

# %%
# solution: machine-too
nginx2.ping("172.17.0.1")
# wrong: machine-too
nginx2.ping("172.17.0.2")
# wrong: machine-too
nginx1.ping("172.17.0.1")
# end: machine-too

# %%
check("machine-too")

# %% [markdown] tags=["en"]
# ## Good to know
#
# - **Start over** whenever you like: run the cell with `Lab(…)` again, and the old network is gone. Or *Kernel → Restart*.
# - **A cell that makes a host** can run once; run again, it says that the host is there already. Nothing breaks.
# - **Nothing is magic.** All that you did was commands that you could have typed. Here they are:

# %%
lab.commands

# %% [markdown] tags=["en"]
# - **A command in a host**: `nginx1.run("ip route")`, or, as a cell of its own:

# %%
# %%on nginx-1
ip route
ip neigh

# %% [markdown] tags=["en"]
# - **What this machine can do**, and what to install where something is missing:

# %%
from labkit import doctor

doctor()

# %% [markdown] tags=["en"]
# ## In practice
#
# What you built is what `docker run` builds, with the same parts, and real switches and real hosts keep the same two tables.
# Further reading: `man 7 network_namespaces`, `man 4 veth`, and the next lessons.
#
# ## Where to go from here
#
# | | lesson | the question |
# |---|---|---|
# | 1 | [What a process's network is made of](01-what-a-network-is-made-of.ipynb) | What does a container get that a process does not have? |
# | 2 | [A cable between two hosts](02-a-cable-between-two-hosts.ipynb) | How does a packet leave a namespace? |
# | 3 | [A switch for many hosts](03-a-switch-for-many-hosts.ipynb) | How does a switch know who is where? |
# | 4 | [docker0, by hand](04-docker0-by-hand.ipynb) | What does `docker run` build? |
# | 5 | [The journey of a ping](05-the-journey-of-a-ping.ipynb) | What happens in a tenth of a millisecond? |
# | 6 | [When a port stops being a host](06-when-a-port-stops-being-a-host.ipynb) | What does an interface lose when it is plugged into a bridge? |
# | 7 | [Break it and mend it](07-break-it-and-mend-it.ipynb) | What is wrong here? |
