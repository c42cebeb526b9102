"""What a learner has done so far: a small file beside the notebooks, and a quiet bar.

The file is the learner's own: written whole or not at all, readable by nobody else, in no
commit. Entries that this version does not know are kept, so updating the kit loses nothing; a
file that cannot be read is put aside, never overwritten.
"""

from __future__ import annotations

import html
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from labkit.errors import LabkitError

FILE = ".labkit-progress.json"
FOLDER = "LABKIT_PROGRESS"
"""Environment variable: the folder of the file, instead of the notebook's own."""
FORMAT, VERSION = "labkit progress", 1


def path() -> Path:
    """Where the file is: in the folder in which the notebook runs."""
    return Path(os.environ.get(FOLDER) or Path.cwd()) / FILE


def read() -> dict[str, dict[str, Any]]:
    """What is known of each exercise. Raises LabkitError for a file of another kind."""
    return _read(path())[0]


def known() -> dict[str, dict[str, Any]]:
    """The same, and nothing where the file cannot be read."""
    try:
        return read()
    except LabkitError:
        return {}


def note(name: str, **facts: Any) -> str:
    """Keeps facts about an exercise; "" or, where they cannot be kept, why."""
    return _update(lambda entries: entries.setdefault(name, {}).update(facts))


def passed(name: str) -> str:
    """Notes that an exercise was passed, now; a pass once noted keeps its time."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    return _update(lambda entries: entries.setdefault(name, {}).setdefault("passed", now))


class Progress:
    """The learner's progress: displays as a bar for each lesson. `reset` starts anew."""

    def reset(self, name: str | None = None) -> None:
        """Forgets one exercise, or all of them. Raises LabkitError where the file is not ours."""

        def change(entries: dict[str, dict[str, Any]]) -> None:
            if name is None:
                entries.clear()
            else:
                entries.pop(name, None)

        problem = _update(change)
        if problem:
            raise LabkitError(problem, hint="Delete the file yourself, if you want to start anew.")

    def __repr__(self) -> str:
        lines = [line(lesson) for lesson in _lessons()]
        return "\n".join(lines) or "There are no exercises."

    def _repr_html_(self) -> str:
        return "".join(bar(lesson) for lesson in _lessons()) or "<em>There are no exercises.</em>"


progress = Progress()
"""What `from labkit import progress` gives."""


def counts(lesson: str) -> tuple[int, int]:
    """How many of a lesson's exercises have been passed, and how many there are."""
    names, done = _lessons().get(lesson, []), known()
    return sum("passed" in done.get(name, {}) for name in names), len(names)


def line(lesson: str) -> str:
    """A lesson's bar as text."""
    done, whole = counts(lesson)
    return f"{_title(lesson)}: {'▰' * done}{'▱' * (whole - done)} {done} of {whole}"


def bar(lesson: str) -> str:
    """A lesson's bar as HTML."""
    done, whole = counts(lesson)
    words = html.escape(f"{done} of {whole}")
    title = html.escape(_title(lesson))
    return (
        f'<div style="font-size: 85%; opacity: 0.8">{title} '
        f'<progress value="{done}" max="{max(whole, 1)}" aria-label="{title}: {words}" '
        f'style="vertical-align: middle; width: 8em"></progress> {words}</div>'
    )


def _title(lesson: str) -> str:
    return f"Lesson {lesson.lstrip('0') or '0'}"


def _lessons() -> dict[str, list[str]]:
    from labkit.lessons.exercise import all_exercises

    lessons: dict[str, list[str]] = {}
    for one in all_exercises().values():
        lessons.setdefault(one.lesson, []).append(one.name)
    return dict(sorted(lessons.items()))


def _read(file: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The entries, and the whole of the file."""
    try:
        whole = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(whole, dict) or whole.get("format") != FORMAT:
            raise ValueError("it is not a progress file")
        entries = whole.get("exercises", {})
        if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
            raise ValueError("its list of exercises is damaged")
    except FileNotFoundError:
        return {}, {}
    except (OSError, ValueError) as error:
        raise LabkitError(
            f"Your progress in {file} could not be read: {error}.",
            hint="Its next change puts it aside as …damaged, and begins a new one.",
        ) from error
    if whole.get("version") != VERSION:
        raise LabkitError(
            f"{file} is of version {whole.get('version')}; this labkit reads {VERSION}.",
            hint="It is left as it is. Use the labkit that wrote it.",
        )
    return entries, whole


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other notebooks of this folder from changing the file meanwhile."""
    try:
        import fcntl
    except ImportError:  # not a Unix: the last one wins
        yield
        return
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks: the last one wins
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _update(change: Callable[[dict[str, dict[str, Any]]], object]) -> str:
    file = path()
    try:
        with _alone(file.parent):
            try:
                entries, whole = _read(file)
            except LabkitError as error:
                if error.__cause__ is None:  # of another version: not ours to write
                    return str(error)
                aside = file.with_name(f"{file.name}.{int(time.time())}.damaged")
                file.replace(aside)
                entries, whole = {}, {}
            change(entries)
            whole |= {"format": FORMAT, "version": VERSION, "exercises": entries}
            _write(file, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        return f"Your progress could not be kept in {file}: {error.strerror}."
    return ""


def _write(file: Path, text: str) -> None:
    """Writes a file whole or not at all, for its owner alone (`mkstemp` gives 0600)."""
    fd, name = tempfile.mkstemp(prefix=f"{FILE}.", suffix=".part", dir=file.parent)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as partial:
            partial.write(text)
            partial.flush()
            os.fsync(partial.fileno())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
