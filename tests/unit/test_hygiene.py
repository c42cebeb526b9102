"""What is committed names no package index, links to what exists, and packs whole."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# In two parts each, so that this file passes its own test.
INDEXES = ("pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com")


def committed() -> list[Path]:
    """The files of the repository; none where this is not a clone."""
    asked = ["git", "-C", str(ROOT), "ls-files", "-z"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_a_package_index():
    files = committed()
    if not (ROOT / ".git").exists():
        files = [path for path in ROOT.glob("*/**/*.py") if ".venv" not in path.parts]
    assert files, "git could not list the files"
    for path in files:
        text = path.read_bytes().decode(errors="replace")
        assert not any(index in text for index in INDEXES), path


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name: str):
    text = (ROOT / name).read_text()
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert ":" in target or (ROOT / target).exists(), f"{name} links to {target}"


def test_the_readme_is_a_screen_and_a_half():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 90


def test_the_wheel_holds_the_whole_package(tmp_path: Path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("labkit/")}
    here = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "labkit").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert packed == here
    assert {"labkit/py.typed", "labkit/widgets/static/tables.js"} <= packed
