"""The errors a lab raises, each with what was asked, what was answered and what to do next.

::

    LabkitError                 anything that labkit refuses or that failed
    ├── LauncherError           no lab can be started here, or not with that launcher
    ├── KernelError             the kernel refused; .code is its errno
    ├── CommandError            a command could not be started or did not end in time
    ├── ClosedError             the lab is closed, its agent ended, or the thing was removed
    └── RecordedError           the lab is a recording, and what was asked is not in it
"""

from __future__ import annotations


class LabkitError(Exception):
    """Something asked of a lab could not be done; the lab is as it was.

    In a notebook it shows as its message alone, without a traceback.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}\n→ {hint}" if hint else message)
        self.message = message
        self.hint = hint

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: what to show instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class LauncherError(LabkitError):
    """No lab can be started on this machine, or not with the launcher asked for."""


class KernelError(LabkitError):
    """The kernel refused. `code` is its errno."""

    def __init__(self, message: str, *, hint: str = "", code: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class CommandError(LabkitError):
    """A command could not be started, or did not end in time."""


class ClosedError(LabkitError):
    """The lab is closed or its agent has ended, or the host, bridge or cable was removed."""


class RecordedError(LabkitError):
    """The lab is a recording that is played, and what was asked is not in it."""
