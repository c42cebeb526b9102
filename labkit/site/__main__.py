"""``make site``: runs the lessons on a real kernel and writes them as a static web site.

``python -m labkit.site FOLDER [--lessons 00 05] [--repository OWNER/NAME]``. The folder is what a
web server needs, or a browser that opens its index.html as a file: pages, one script, one style.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nbclient.exceptions import CellExecutionError, CellTimeoutError

from labkit.archive import written
from labkit.errors import LabkitError
from labkit.launch.launchers import LAUNCHERS, choose
from labkit.lessons.build import NOTEBOOKS, sources
from labkit.site import pages
from labkit.site.run import Lesson, run
from labkit.widgets import still
from labkit.widgets.live import static

SIDE_BY_SIDE = 3
"""Lessons that run at once: most of a lesson's time is waiting."""


def build(folder: Path, names: list[str] | None = None, repository: str = "") -> list[Path]:
    """Runs the lessons whose names begin so (None: all), and writes the site. Gives its files.

    `repository`, "owner/name" on GitHub, lets the pages link to it and to Binder. What else is in
    the folder stays. Raises LabkitError where no lab can be had, where a lesson
    fails, and where the folder cannot be written.
    """
    if repository and not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise LabkitError(
            f"{repository!r} is not the name of a repository on GitHub.",
            hint="Give its owner and its name alone: make site REPOSITORY=owner/name",
        )
    found = sources()
    chosen = [path for path in found if names is None or path.stem.startswith(tuple(names))]
    if not chosen:
        raise LabkitError(
            f"No lesson's name begins so: {names}.",
            hint="There are: " + (", ".join(path.stem for path in found) or f"none in {NOTEBOOKS}"),
        )
    launcher = choose()
    if launcher not in LAUNCHERS:
        raise LabkitError(
            f"The pages show what a kernel did, and the launcher {launcher.name} has none.",
            hint="Make the site where a live lab is possible: labkit doctor says what is missing.",
        )
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        lessons = list(pool.map(_run, chosen))
    # https://reproducible-builds.org/docs/source-date-epoch/
    now = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    date = time.strftime("%Y-%m-%d", time.gmtime(now))
    about = pages.About(date=date, launcher=launcher.name, repository=repository)
    return write(folder, texts(lessons, about))


def texts(lessons: list[Lesson], about: pages.About) -> dict[str, str]:
    """The files of the site, by name."""
    entries = pages.contents(lessons)
    css, js = (
        (pages.STATIC / f"site.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")
    )
    return {
        "index.html": pages.index(entries, about),
        **{f"{one.name}.html": pages.page(one, entries, about) for one in lessons},
        "labkit.css": static("page.css") + still.style() + css,
        "labkit.js": still.script() + static("stand.js") + js,
        ".nojekyll": "",  # GitHub Pages takes the files as they are
    }


def write(folder: Path, files: dict[str, str]) -> list[Path]:
    """Writes the files, each whole or not at all. Raises LabkitError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabkitError(
            f"The site could not be written to {folder}: {error.strerror}.",
            hint="Choose a folder that is yours to write in and has room: make site SITE=folder",
        ) from error
    for name, text in files.items():
        with written(folder / name, "The site") as file:
            file.write(text.encode())
    return [folder / name for name in files]


def _run(source: Path) -> Lesson:
    print(f"labkit: running {source.stem}", file=sys.stderr, flush=True)
    try:
        return run(source)
    except (CellExecutionError, CellTimeoutError) as error:
        raise LabkitError(
            f"The lesson {source.stem} does not run from top to bottom:\n{error}",
            hint="Run its notebook, or make test-notebooks, which says more.",
        ) from error


def main(arguments: list[str] | None = None) -> int:
    """Builds the site. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m labkit.site", description=__doc__)
    parser.add_argument("folder", type=Path, help="where to write it")
    parser.add_argument("--lessons", nargs="+", metavar="NN", help="these alone")
    parser.add_argument("--repository", default="", help="OWNER/NAME on GitHub, to link to Binder")
    options = parser.parse_args(arguments)
    try:
        files = build(options.folder, options.lessons, options.repository)
    except LabkitError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"labkit: {len(files)} files; open {(options.folder / 'index.html').resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
