"""The journey of what happens in a `with` block."""

from __future__ import annotations

import contextlib
import time
import types
from collections.abc import Callable
from typing import Self

from labkit.errors import LabkitError
from labkit.journey import Journey
from labkit.model.state import State
from labkit.recording import Recording

TITLE = "What happened in the block"


class During(Journey):
    """A journey that is empty until its block has ended, and then tells what happened in it.

    `settle` returns when all that has happened so far is in the recording.
    """

    def __init__(self, recording: Recording, settle: Callable[[], State]) -> None:
        now = time.time_ns()
        super().__init__(recording, (), begins=now, ends=now, title=f"{TITLE}: it goes on")
        self._settle = settle
        self._first = 0

    def __enter__(self) -> Self:
        self._settle()
        self._first = len(self.recording)
        self.begins = time.time_ns()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        from labkit.journey.build import build

        with contextlib.suppress(LabkitError):  # the lab has ended: the log has what was told
            self._settle()
        ends = max(self.recording.state().at, self.begins)
        made = build(self.recording, self.begins, ends, first=self._first, title=TITLE)
        vars(self).update(vars(made))  # from here on, it is that journey
