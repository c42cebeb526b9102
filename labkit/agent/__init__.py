"""The agent: one process per lab, inside the lab's own namespaces.

It carries out requests and reports everything that the kernel does as events
(`labkit.model.wire`). It is single-threaded, so that entering a network namespace with
`setns(2)` concerns nothing else. It dies with the notebook kernel, and with it, being
process 1 of its PID namespace, everything that it started.
"""
