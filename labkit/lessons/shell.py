"""`labkit shell nginx-1`: a terminal inside a host of a lab that is running.

The shell joins the lab's namespaces with `nsenter(1)`: it is one of the lab's own processes, and
ends with it. Nothing is written anywhere.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from labkit.errors import LabkitError
from labkit.launch.machine import Machine
from labkit.launch.unshare import bounded
from labkit.lessons.running import RunningLab, running_labs
from labkit.model.operations import MACHINE

RC = Path(__file__).with_name("shellrc")
INSIDE = 'cd "$LABKIT_CWD" 2>/dev/null; exec "$@"'
# A /sys that shows the host's own network, as in `host.run`, for ethtool and brctl.
OWN_SYS = "mount -t sysfs sysfs /sys 2>/dev/null; "


def enter(wanted: str | None) -> int:
    """Opens the terminal; without a host, or for one that is not there, says which there are."""
    labs = running_labs()
    try:
        lab, host = choose(labs, wanted)
    except LabkitError as error:
        print(error, file=sys.stderr)
        return 1
    if sys.stdin.isatty():
        print(f"labkit: inside {host} of the lab {lab.name}. Ctrl-D leaves.", file=sys.stderr)
    return _run(lab, host)


def choose(labs: list[RunningLab], wanted: str | None) -> tuple[RunningLab, str]:
    """The lab and host that are meant. Raises LabkitError, which lists what there is."""
    if not labs:
        raise LabkitError(
            "No lab of yours is running on this machine.",
            hint="Run the cell with Lab(…) in a notebook first, as the same user.",
        )
    example = next((lab.hosts[0] for lab in labs if lab.hosts), MACHINE)
    if not wanted:
        raise LabkitError(
            f"Which host?\n{listing(labs)}", hint=f"For example: labkit shell {example}"
        )
    lab_name, slash, name = wanted.rpartition("/")
    candidates = [lab for lab in labs if not slash or lab_name in (lab.name, str(lab.kernel))]
    found = [lab for lab in candidates if name in lab.hosts]
    if len(found) > 1:
        alike = [lab.name for lab in found]
        ways = [lab.name if alike.count(lab.name) == 1 else str(lab.kernel) for lab in found]
        raise LabkitError(
            f"More than one of your labs has a host {name!r}.\n{listing(found)}",
            hint=f"Say which: labkit shell {' or '.join(f'{way}/{name}' for way in ways)}.",
        )
    if found:
        return found[0], name
    elsewhere = [lab.name for lab in candidates if lab.agent is None]
    if elsewhere:
        raise LabkitError(
            f"The lab {elsewhere[0]!r} runs in a kernel of its own (User Mode Linux), which a "
            "terminal of this machine cannot enter.",
            hint=f"Use the notebook: %%on {name}, or {name}.run(…) for one command.",
        )
    raise LabkitError(
        f"No lab of yours has a host {wanted!r}.\n{listing(labs)}",
        hint=f"For example: labkit shell {example}",
    )


def listing(labs: list[RunningLab]) -> str:
    """The labs that are running, with their hosts."""
    lines = []
    for lab in labs:
        where = f", made in {lab.folder}" if lab.folder else ""
        hosts = ", ".join(lab.hosts) or "in a kernel of its own: not to be entered from here"
        lines.append(f"  {lab.name}: {hosts}  (process {lab.kernel}{where})")
    return "\n".join(lines)


def command(lab: RunningLab, host: str) -> list[str]:
    """The command line that enters a host."""
    which = Machine().which
    agent = f"/proc/{lab.agent}"
    argv = [which("nsenter") or "nsenter", f"--target={lab.agent}", "--mount", "--pid"]
    argv += ["--uts", "--ipc"]
    limits = bounded()
    if os.stat(f"{agent}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino:
        argv += ["--user", "--preserve-credentials"]
        limits = ()
    net = f"{agent}/ns/net" if host == MACHINE else f"{agent}/root/run/netns/{host}"
    argv += [f"--net={net}", "--", *limits]
    if host != MACHINE:  # in the machine, what is mounted stays: `ip netns add` does that
        argv += [which("unshare") or "unshare", "--mount", "--propagation=slave", "--"]
    bash = shutil.which("bash")
    inner = [bash, "--rcfile", str(RC), "-i"] if bash else ["/bin/sh", "-i"]
    if not sys.stdin.isatty():  # commands from a pipe or a file: no prompt
        inner = [bash or "/bin/sh"]
    script = INSIDE if host == MACHINE else OWN_SYS + INSIDE
    return [*argv, "/bin/sh", "-c", script, "sh", *inner]


def _run(lab: RunningLab, host: str) -> int:
    environment = {
        **os.environ,
        "LABKIT_HOST": host,
        "LABKIT_CWD": os.getcwd(),
        "PS1": f"{host}$ ",
        "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin",
    }
    environment.pop("LABKIT_LAB", None)
    settings = termios.tcgetattr(0) if sys.stdin.isatty() else None
    try:
        process = subprocess.Popen(command(lab, host), env=environment)
    except OSError as error:
        print(f"The lab {lab.name!r} has ended, or nsenter is missing: {error}", file=sys.stderr)
        return 1
    status = None
    while status is None:
        with suppress(KeyboardInterrupt):  # meant for the command inside, which gets it too
            status = process.wait()
    if not _alive(lab):
        _restore(settings)
        print(f"\nlabkit: the lab {lab.name} has ended, and this terminal in it.", file=sys.stderr)
    return status if status >= 0 else 128 - status


def _alive(lab: RunningLab) -> bool:
    """Whether the agent is still there: asked for a moment, since its end may just be under way."""
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        if not os.path.exists(f"/proc/{lab.agent}/ns/net"):
            return False
        time.sleep(0.02)
    return True


def _restore(settings: list[Any] | None) -> None:
    """The terminal as it was: a shell that was killed had no time to put it back."""
    if settings is not None:
        # The killed shell's group still holds the terminal; to take it back from the background
        # is allowed to whoever ignores SIGTTOU (tcsetpgrp(3)).
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.tcsetpgrp(0, os.getpgrp())
        termios.tcsetattr(0, termios.TCSADRAIN, settings)
