"""What sudo runs: a command that dies with sudo, and that can watch the notebook kernel.

``python elevated.py PID COMMAND…``; sudo closes the descriptors that it inherits, so a pidfd of
process PID is opened here, and goes to the command as its last argument (PID 0: none).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Becomes the command."""
    pid, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if pid != "0":
        watched = os.pidfd_open(int(pid))
        os.set_inheritable(watched, True)
        command.append(str(watched))
    os.execvp(command[0], command)  # noqa: S606 (becoming the command is the purpose)


if __name__ == "__main__":
    main()
