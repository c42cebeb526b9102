"""`%on nginx-1 ip route` and `%%on nginx-1`: commands in a host, as in a terminal there.

The output comes as it is printed, errors among it; an exit code that is not 0 is shown. `{name}`
stands for a variable of the notebook, where there is one of that name whose value has a plain
form; every other brace is the shell's own, so `${x}` and `awk '{print $1}'` stay as they are.
"""

from __future__ import annotations

import ipaddress
import re
import sys
import time
from collections.abc import Mapping
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.core.magic import (
    Magics,
    line_cell_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)

from labkit.errors import CommandError, LabkitError
from labkit.hosts import Host, _address_of
from labkit.lessons.look import open_labs
from labkit.model import wire
from labkit.model.values import Interface
from labkit.wiring import Bridge

SHORTEST, LONGEST = 0.005, 0.05
"""Seconds between two looks at what a command has printed: a quick one is not waited for long."""
NAME = re.compile(r"(?<![$\\])\{([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\}")
PLAIN = (str, int, float, ipaddress.IPv4Address, ipaddress.IPv6Address)


@magics_class
class On(Magics):
    """The magics of a lab."""

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def on(
        self, line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None
    ) -> None:
        """Runs commands inside a host of the lab: a shell, as in a terminal there.

        %on nginx-1 ip route

        %%on nginx-1
        ip route
        ping -c 1 172.17.0.3
        """
        shell: Any = self.shell
        names = {**shell.user_ns, **(local_ns or {})}
        where, _, rest = line.strip().partition(" ")
        host = find_host(where, names)
        script = rest.strip() if cell is None else cell
        if cell is not None and rest.strip():
            raise LabkitError(
                f"%%on takes a host alone, and got {rest.strip()!r} besides.",
                hint="Put the commands on the lines below it, or write %on for one line.",
            )
        if not script.strip():
            raise LabkitError(
                "There is no command to run.", hint=f"For example: %on {host.name} ip route"
            )
        code = stream(host, fill(script, names, host))
        if code:
            how = f"exit code {code}" if code > 0 else f"ended by signal {-code}"
            sys.stderr.write(f"[{host.name}: {how}]\n")


def find_host(where: str, names: Mapping[str, Any]) -> Host:
    """The host that is meant: by its name in the open labs, or by a variable that holds it.

    The lab made last counts first; ``lab/host`` names one. Raises LabkitError.
    """
    lab_name, slash, name = where.rpartition("/")
    for lab in open_labs():
        for host in (lab.machine, *lab.hosts):
            if host.name == name and (not slash or lab.name == lab_name):
                return host
    held = names.get(where)
    if isinstance(held, Host):
        return held
    known = host_names()
    if not known:
        raise LabkitError("There is no lab yet.", hint="Run the cell with Lab(…) first.")
    asked = f"There is no host {where!r}." if where else "Which host?"
    raise LabkitError(asked, hint=f"The hosts are: {', '.join(known)}.")


def host_names() -> list[str]:
    """The hosts of the labs that are open, those of the lab made last first."""
    names = (host.name for lab in open_labs() for host in (*lab.hosts, lab.machine))
    return list(dict.fromkeys(names))


def fill(script: str, names: Mapping[str, Any], host: Host) -> str:
    """Puts the notebook's variables in for ``{name}`` and ``{name.attribute}``."""

    def value(match: re.Match[str]) -> str:
        first, *rest = match[1].split(".")
        if first not in names:
            return match[0]
        held = names[first]
        for part in rest:
            held = getattr(held, part, None)
        text = plain(held, host)
        return match[0] if text is None else text

    return NAME.sub(value, script)


def plain(held: object, host: Host) -> str | None:
    """A value as a command line has it; None for one that has no plain form.

    A host stands for its address, a bridge or an interface for its name.
    """
    if isinstance(held, Host):
        return _address_of(held, host)
    if isinstance(held, Bridge):
        return held.interface
    if isinstance(held, Interface):
        return held.name
    return str(held) if isinstance(held, PLAIN) and not isinstance(held, bool) else None


def stream(host: Host, script: str) -> int:
    """Runs a script in the host and prints what it prints as it comes; its exit code.

    An interrupt stops it and its children.
    """
    lab = host.lab
    number = lab._spawn(host, ("sh", "-c", script, host.name), wait=False, merge=True).job
    pause = SHORTEST
    try:
        while True:
            got = lab._command(wire.JobOutput, job=number, take=True)
            if got.dropped:
                sys.stdout.write(f"[labkit: {got.dropped} bytes are left out]\n")
            if got.stdout:
                sys.stdout.write(got.stdout)
                sys.stdout.flush()
            if got.exit_code is not None:
                return got.exit_code
            time.sleep(pause)
            pause = min(LONGEST, pause * 1.5)
    except KeyboardInterrupt:
        lab._command(wire.StopJob, job=number)
        raise CommandError(
            f"The command in {host.name} was interrupted, and ended with its children."
        ) from None


def register(shell: Any) -> None:
    """Adds the magics, and the completion of host names, to a shell."""
    shell.register_magics(On)
    for pattern in (r"%on", r"%%on"):
        shell.set_hook("complete_command", complete, str_key=pattern)


def complete(_: Any, event: Any) -> list[str]:
    """Host names, for the first word after the magic."""
    before = event.text_until_cursor
    first = len(before.split()) + before.endswith(" ") <= 2
    return host_names() if first else []


def register_here() -> None:
    """Adds the magics where this is IPython and they are not there yet."""
    shell: Any = get_ipython()
    if shell is not None and "on" not in shell.magics_manager.magics["line"]:
        register(shell)
