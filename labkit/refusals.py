"""The kernel's refusals in a learner's words: what was asked, what it said, what to do next."""

from __future__ import annotations

import errno

from labkit.errors import KernelError, LabkitError
from labkit.model import operations as op
from labkit.model import wire


def kernel_error(fault: wire.Fault, operations: tuple[op.Operation, ...]) -> LabkitError:
    """What was asked, what the kernel said, where, and what to do next."""
    asked, hint = "The lab could not do that", ""
    if fault.operation is not None and fault.operation < len(operations):
        operation = operations[fault.operation]
        asked = _asked(operation)
        hint = _HINTS.get((type(operation).__name__, fault.code), "")
    message = f"{asked}: the kernel says {fault.message!r}"
    if fault.code:
        message += f" ({errno.errorcode.get(fault.code, fault.code)})"
    return KernelError(message + ".", hint=hint or "Nothing was changed.", code=fault.code)


def _asked(operation: op.Operation) -> str:
    match operation:
        case op.AddRoute() | op.RemoveRoute():
            verb = "added" if isinstance(operation, op.AddRoute) else "removed"
            via = f" via {operation.via}" if operation.via else ""
            way = f" out of {operation.interface}" if operation.interface else ""
            return (
                f"{operation.netns}: the route to {operation.destination}{via}{way} was not {verb}"
            )
        case op.AddCable() | op.RemoveCable() | op.Plug() | op.Unplug():
            a, b = (f"{end.netns}:{end.interface}" for end in (operation.a, operation.b))
            return f"{type(operation).__name__} {a} ⇄ {b} failed"
        case op.FlushFdb():
            return f"The bridge {operation.bridge!r} was not flushed"
        case _:
            return f"{type(operation).__name__} {operation.name!r} failed"


_HINTS: dict[tuple[str, int | None], str] = {
    ("AddRoute", errno.ENETUNREACH): "The gateway must be on a network that the host is "
    "connected to: compare it with host.interfaces.",
    ("AddRoute", errno.EEXIST): "There is such a route already: see host.routes.",
    ("AddRoute", errno.ENODEV): "There is no such interface: see host.interfaces.",
    ("RemoveRoute", errno.ESRCH): "There is no such route: see host.routes.",
    ("AddHost", errno.ENOSPC): "The limit on network namespaces is reached: remove hosts or close "
    "labs, or raise it (sudo sysctl -w user.max_net_namespaces=15000).",
    ("AddHost", errno.EMFILE): "Every host needs two open files: remove hosts, or raise the limit "
    "before Jupyter is started (ulimit -n 4096).",
    ("AddCable", errno.EEXIST): "An interface of that name is there already: see host.interfaces.",
}
