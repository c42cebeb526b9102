"""The house stays in order: imports run one way, rooms stay small, notebooks are clean."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import labkit
from labkit.lessons.build import NOTEBOOKS, build, everything, sources
from tests.conftest import unexpected

ROOT = Path(labkit.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# A room may import the rooms on the floors below it. `errors` is open to all.
MAY = {
    "model": set(),
    "naming": set(),
    "archive": {"model"},
    "pcapng": {"model", "archive"},
    "recording": {"model", "archive", "naming"},
    "agent": {"model"},
    "launch": {"model"},
    "journey": {"model", "recording", "naming"},
    "render": {"model"},
    "widgets": {"render", "model", "recording", "journey", "archive"},
    "hosts": {"model", "naming"},
    "wiring": {"model", "hosts", "naming"},
    "refusals": {"model"},
    "notebook": {"model", "hosts", "wiring", "recording", "naming"},
    "lab": {"launch", "recording", "model", "hosts", "wiring", "naming", "refusals", "notebook"},
    "lessons": {
        "archive",
        "lab",
        "launch",
        "recording",
        "model",
        "hosts",
        "wiring",
        "naming",
        "journey",
    },
    "cli": {"lessons", "lab", "launch", "recording", "model"},
    "site": {"lessons", "widgets", "launch", "recording", "archive"},
}
LAZILY = {
    "notebook": {"render", "widgets", "lessons", "journey"},
    "hosts": {"lab", "journey"},
    "wiring": {"lab"},
    "recording": {"journey", "render", "widgets", "pcapng"},
    "journey": {"render", "widgets"},
    "lessons": {"render", "widgets"},
}
ONLY = {
    "pyroute2": {"agent"},
    "ipywidgets": {"widgets"},
    "anywidget": {"widgets"},
    "traitlets": {"widgets"},
    "graphviz": {"render"},
    "matplotlib": {"render"},
    "jupytext": {"lessons", "site"},
    "nbclient": {"lessons", "site"},
    "nbconvert": {"site"},
    "jinja2": {"site"},
    "IPython": {"lessons"},
    "scapy": {"journey"},
}


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path):
    """(module, at the top of the file?) for every import that is not for type checkers."""
    tree = ast.parse(path.read_text())
    top = set()
    skipped = set()
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            skipped.update(ast.walk(node))
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            top.update(ast.walk(node))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node in top
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node in top
            if node.module == "labkit" or node.module.count(".") == 0:
                for name in node.names:
                    yield f"{node.module}.{name.name}", node in top


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path: Path):
    here = room(path)
    if here in ("__init__", "__main__"):
        return
    for module, at_top in imports(path):
        first, *rest = module.split(".")
        if first in ONLY:
            assert here in ONLY[first], f"{module} is not for {here}"
        if first != "labkit" or not rest or rest[0] in ("errors", "__version__", here):
            continue
        allowed = MAY[here] | (set() if at_top else LAZILY.get(here, set()))
        assert rest[0] in allowed, f"{here} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_stays_small(path: Path):
    lines = len(path.read_text().splitlines())
    limit = 470 if path.name == "lab.py" else 400  # the one room that everything meets in
    assert lines <= limit, f"{lines} lines: asking to be two rooms"


def test_importing_labkit_imports_nothing_heavy():
    heavy = [
        "pyroute2",
        "ipywidgets",
        "anywidget",
        "matplotlib",
        "graphviz",
        "IPython",
        "msgspec",
        "scapy",
    ]
    code = f"import labkit, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names():
    assert set(labkit.__all__) == {
        *("Lab", "LabkitError", "Recording", "__version__"),
        *("check", "doctor", "hint", "predict", "progress", "solution"),
    }
    for name in labkit.__all__:
        assert getattr(labkit, name) is not None


SOURCES = sources()


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_committed_notebooks_are_current_and_clean(source: Path):
    text = (NOTEBOOKS / f"{source.stem}.ipynb").read_text()
    assert text == build(source.read_text()), "run make notebooks"
    for cell in json.loads(text)["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_committed_solutions_are_current():
    for path, text in everything().items():
        assert path.read_text() == text, f"{path.name}: run make notebooks"


def test_every_notebook_has_a_source():
    assert {p.stem for p in NOTEBOOKS.glob("*.ipynb")} == {p.stem for p in SOURCES}


def test_a_markdown_cell_goes_into_its_language_alone():
    source = (
        '# %% [markdown] tags=["en"]\n# Hello\n\n# %% [markdown] tags=["zh"]\n# 你好\n\n# %%\n1'
    )
    english, chinese = (json.loads(build(source, lang))["cells"] for lang in ("en", "zh"))
    assert [c["source"] for c in english] == [["Hello"], ["1"]]
    assert [c["source"] for c in chinese] == [["你好"], ["1"]]


def test_unexpected_skips():
    allowed = "# comment\ntests/a.py* : no Docker*\n"
    skips = [("tests/a.py::test_x", "no Docker daemon"), ("tests/b.py::test_y", "no Docker")]
    assert unexpected(skips, allowed) == ["tests/b.py::test_y: no Docker"]
    assert unexpected([("tests/a.py::test_x", "tired")], allowed)


def test_locked_versions_name_no_index():
    for name in ("binder/requirements.txt", "tests/requirements.txt"):
        text = (ROOT.parent / name).read_text()
        assert "--hash=sha256:" in text
        assert not re.search(r"https?://", text)
