"""A CAM table of hundreds of rows: what is in the page is what the kernel's side says, in order."""

from __future__ import annotations

import itertools
import json

import pytest

from tests.browser.conftest import open_notebook

BUILD = """
import json, random
from IPython.display import display
from labkit import Recording
from labkit.model import events as ev
from labkit.widgets import Tables
from tests.unit.test_model import M, learned, scene
recording = Recording("long")
for event in scene():
    recording.append(event)
def mac(number):
    return f"02:00:00:00:{number // 256:02x}:{number % 256:02x}"
def put(number, port):
    recording.append(learned(port, mac=mac(number)))
def gone(row):
    recording.append(ev.FdbRemoved(at=9, netns=M, bridge=2, port=row.port, mac=row.mac, vlan=row.vlan))
for number in range(400):
    put(number, 3 if number % 2 else 5)
for number in range(100):
    recording.append(ev.FdbSet(at=1, netns=M, bridge=2, port=3, mac=f"06::{number:x}", kind="permanent"))
view = Tables(recording, [("bridge", "docker0")])
display(view)
"""
CHANGE = """
chance = random.Random({seed})
for step in range({steps}):
    kind = chance.randrange(4)
    rows = [row for row in recording.state().space(M).fdb.values() if row.kind == "learned"]
    if kind == 0:
        put(1000 + chance.randrange(300), chance.choice((3, 5)))
    elif kind == 1:
        gone(chance.choice(rows))
    else:
        row = chance.choice(rows)
        recording.append(learned(8 - row.port, mac=row.mac))
"""
TOLD = """
from tests.unit.test_sharing import anew
(table,) = [t for t in anew(recording.state()) if t["kind"] == "cam"]
rows = [[[c[0] for c in row["cells"][:3]] for row in table["rows"] if row["shown"] == shown] for shown in (True, False)]
print({mark!r} + json.dumps(rows))
"""
SHOWN = """(selector) => [...document.querySelectorAll(selector)].filter(
    (row) => !row.classList.contains('lk-left')
).map((row) => [...row.children].slice(0, 3).map((cell) => cell.dataset.text))"""
COUNTER = itertools.count()
OPEN, FOLDED = ".lk-table > table tbody tr", ".lk-more table tbody tr"


@pytest.fixture
def notebook(browser, jupyter):
    notebook = open_notebook(browser, jupyter, "00-start-here.ipynb")
    notebook.run_code(BUILD)
    notebook.page.locator(".lk-many").first.wait_for()
    yield notebook
    notebook.page.context.close()


def told(notebook):
    """What the rows are, as the notebook's side computes them anew."""
    mark = f"TOLD{next(COUNTER)} "  # a cell may be put before an older one's output
    output = notebook.page.locator(".jp-OutputArea-output").get_by_text(mark)
    notebook.run_code(TOLD.format(mark=mark))
    output.wait_for()
    return json.loads(output.inner_text().partition(mark)[2])


def agree(page, selector, rows):
    page.wait_for_function(
        f"([selector, rows]) => JSON.stringify(({SHOWN})(selector)) === rows",
        arg=[selector, json.dumps(rows, separators=(",", ":"))],
    )


def test_rows_come_go_and_move_in_order(notebook, picture):
    page = notebook.page
    agree(page, OPEN, told(notebook)[0])
    assert page.locator(FOLDED).count() == 0, "nobody has asked for these"
    for seed, steps in enumerate((1, 3, 15, 30, 90, 300)):
        notebook.run_code(CHANGE.format(seed=seed, steps=steps))
        agree(page, OPEN, told(notebook)[0])
    picture(page.locator(".lk").last, "long-table")
    page.locator(".lk-more summary").first.click()
    agree(page, FOLDED, told(notebook)[1])
    notebook.run_code(CHANGE.format(seed=99, steps=40))
    shown, folded = told(notebook)
    agree(page, OPEN, shown)
    agree(page, FOLDED, folded)


def test_the_keyboard_goes_on_where_nothing_is_laid_out_yet(notebook):
    page = notebook.page
    page.locator(OPEN).first.focus()
    for _ in range(70):  # past the first part
        page.keyboard.press("ArrowDown")
    at = page.evaluate(
        "(selector) => [...document.querySelectorAll(selector)].indexOf(document.activeElement)",
        OPEN,
    )
    assert at == 70
    box = page.evaluate(
        """() => {
            const row = document.activeElement.getBoundingClientRect();
            const table = document.activeElement.closest('table').getBoundingClientRect();
            return [row.top >= table.top, row.bottom <= table.bottom + 1];
        }"""
    )
    assert box == [True, True], "it is in sight"
