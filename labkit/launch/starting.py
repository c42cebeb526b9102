"""The wait for a lab to start, and what is said when it does not."""

from __future__ import annotations

import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from labkit.errors import ClosedError, LauncherError
from labkit.launch.machine import Launcher

PACE = 0.5
"""Seconds between two dots."""
WIDTH = 88
"""Columns of what is said of a lab: a notebook breaks longer lines in the middle of words."""


@contextmanager
def starting(launcher: Launcher) -> Iterator[None]:
    """Around the first request: says that it takes long, where it does and a human sees it.

    Raises LauncherError when the agent ends instead of answering.
    """
    done = threading.Event()
    seen = sys.stdout.isatty() or "ipykernel" in sys.modules
    shown = seen and launcher.patience is not None
    began = time.monotonic()

    def tick() -> None:
        while not done.wait(PACE):
            print(".", end="", flush=True)

    ticker = threading.Thread(target=tick, name="labkit starting", daemon=True)
    if shown:
        print(launcher.patience, end="", flush=True)
        ticker.start()
    outcome = "did not start"
    try:
        yield
        outcome = f"ready in {time.monotonic() - began:.1f} s"
    except ClosedError as error:
        raise LauncherError(
            f"No lab could be started with the launcher {launcher.name!r}. {error.message}",
            hint="Run the cell again. If it is the same then, labkit doctor tells what else works "
            'here: Lab(…, launcher="…").',
        ) from None
    finally:
        if shown:
            done.set()
            ticker.join()
            print(f" {outcome}", flush=True)
    if seen and launcher.notice:
        print(textwrap.fill(launcher.notice, WIDTH), flush=True)
