"""The time machine in a browser: scrubbed by keyboard, compared with the recording itself."""

from __future__ import annotations

import pytest

from labkit import Recording
from labkit.model.operations import MACHINE
from tests.browser.conftest import open_notebook

FIRST = "00-start-here.ipynb"
SIZE = {"width": 1280, "height": 1400}
SESSION = """
from labkit import Lab
lab = Lab('session')
docker0 = lab.bridge('docker0', '172.17.0.1/16')
nginx1, nginx2 = lab.host('nginx-1'), lab.host('nginx-2')
lab.cable(nginx1, docker0, '172.17.0.2/16')
cable = lab.cable(nginx2, docker0, '172.17.0.3/16')
nginx1.ping(nginx2, count=8)
docker0.flush()
nginx2.ping('172.17.0.1')
cable.unplug()
nginx1.neighbours, docker0.fdb
lab.recording.save({path!r})
t = lab.timeline()
t
"""


def slider_at(view):
    return int(view.locator("input[type=range]").input_value())


def settled(page, view):
    """Waits until the views show the instant that the slider stands at."""
    page.wait_for_function(
        """view => {
            const at = Number(view.querySelector('input[type=range]').value);
            const badges = [...document.querySelectorAll('.lk-badge')].slice(-3);
            const end = Number(view.querySelector('input[type=range]').max);
            const words = `as of ${(at / 1e9).toFixed(3)} s`;
            return badges.length === 3 && badges.every((badge) => badge.textContent === words
                || (at >= end && badge.dataset.kind !== 'moment'));
        }""",
        arg=view.element_handle(),
    )


def shown(page):
    """What the newest tables show: the cells' values without notes and ages."""
    return page.evaluate(
        """() => Object.fromEntries(
            [...[...document.querySelectorAll('.lk')].at(-1).querySelectorAll('.lk-table')].map(
                (table) => [table.querySelector('.lk-name').textContent,
                    [...table.querySelectorAll('tbody tr')].map((row) =>
                        [...row.querySelectorAll('.lk-value')].slice(0, 3)
                            .map((cell) => cell.textContent)).sort()]))"""
    )


def expected(recording, at):
    """The same from the recording's own fold."""
    state = recording.state(at)
    machine = state.space(MACHINE)
    tables = {
        link.name: sorted([r.mac, r.port, r.kind] for r in state.fdb(link.index))
        for link in machine.links.values()
        if link.kind == "bridge"
    }
    for host in state.hosts.values():
        rows = state.neighbours(host.netns)
        tables[host.name] = sorted([r.address, r.mac or "-", r.state] for r in rows)
    return tables


@pytest.fixture(params=["light", "dark"])
def session(request, browser, jupyter, tmp_path):
    jupyter.theme(f"JupyterLab {request.param.title()}")
    notebook = open_notebook(browser, jupyter, FIRST, viewport=SIZE)
    notebook.theme = request.param
    path = tmp_path / "session.labkit"
    notebook.run_code(SESSION.format(path=str(path)))
    notebook.page.locator("input[type=range]").wait_for()
    yield notebook, path
    notebook.page.context.close()


def test_scrubbing_by_keyboard_shows_the_recordings_own_tables(session, picture):
    notebook, path = session
    page = notebook.page
    begins = Recording.load(path).begins
    view = page.locator(".lk").filter(has=page.locator("input[type=range]"))
    slider = view.locator("input[type=range]")
    slider.focus()
    page.keyboard.press("Home")
    settled(page, view)
    assert slider_at(view) == 0
    visited = []
    for key in [*["PageUp"] * 20, *["ArrowLeft"] * 4, "PageDown", *["ArrowRight"] * 3]:
        before = slider_at(view)
        page.keyboard.press(key)
        page.wait_for_function(
            "([view, before]) => Number(view.querySelector('input').value) !== before",
            arg=[view.element_handle(), before],
        )
        settled(page, view)
        visited.append((begins + slider_at(view), key, shown(page)))
    # The lab has gone on meanwhile: what it says of those instants now is what was shown.
    notebook.run_code(f"lab.recording.save({str(path)!r}), 'saved'")
    page.get_by_text("'saved')").last.wait_for()
    recording = Recording.load(path)
    for at, key, tables in visited:
        assert tables == expected(recording, at), (key, at)
    assert len({at for at, _, _ in visited}) > 20
    states = {str(tables) for _, _, tables in visited}
    assert len(states) > 3, "the tables were different ones along the way"
    page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
    view.evaluate("e => e.closest('.jp-Cell').scrollIntoView()")
    picture(page, f"timeline-{notebook.theme}")
    # The instant comes back to Python as a value.
    notebook.run_code("print('AT', t.at, [r.state for r in t.state.neighbours('nginx-1')])")
    words = page.get_by_text("AT 1").last.inner_text()
    assert int(words.split()[1]) == visited[-1][0]
    slider.focus()
    page.keyboard.press("End")
    view.locator(".lk-badge[data-kind=live]").wait_for()


def test_a_loaded_recording_plays_alike(session, picture):
    notebook, path = session
    page = notebook.page
    notebook.run_code(
        f"from labkit import Recording\nr = Recording.load({str(path)!r})\nr.timeline()"
    )
    views = page.locator(".lk").filter(has=page.locator("input[type=range]"))
    views.nth(1).wait_for()
    view = views.last
    assert view.locator(".lk-badge").inner_text() == "recorded"
    recording = Recording.load(path)
    view.locator("select").select_option("1")
    slider = view.locator("input[type=range]")
    slider.focus()
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    play = view.get_by_label("pause (space)")
    play.wait_for()
    seen = set()
    while not view.get_by_label("play (space)").count():
        seen.add(slider_at(view))
    assert len(seen) > 3, "the slider moved on by itself"
    view.locator(".lk-badge[data-kind=recorded]").wait_for()
    assert shown(page) == expected(recording, recording.now())
    # A click on the strip goes there.
    box = view.locator(".lk-strip").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    settled(page, view)
    at = slider_at(view)
    assert at == pytest.approx(int(slider.get_attribute("max")) / 2, rel=0.02)
    assert shown(page) == expected(recording, recording.begins + at)


def test_a_narrow_pane_and_what_waits_for_a_running_cell(browser, jupyter, tmp_path, picture):
    size = {"width": 520, "height": 1200}
    notebook = open_notebook(browser, jupyter, FIRST, viewport=size)
    page = notebook.page
    notebook.run_code(SESSION.format(path=str(tmp_path / "x.labkit")))
    view = page.locator(".lk").filter(has=page.locator("input[type=range]"))
    view.wait_for()
    page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
    page.evaluate(
        """() => { const app = window.jupyterapp;
            app.commands.execute('notebook:insert-cell-below').then(() => {
                app.shell.currentWidget.content.activeCell.model.sharedModel.setSource(
                    "import time\\nfor _ in range(80): time.sleep(0.1)");
                app.commands.execute('notebook:run-cell');
            }); }"""
    )
    page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'busy'"
    )
    view.locator("input[type=range]").focus()
    page.keyboard.press("PageDown")
    view.get_by_text("Waiting: a cell is running").wait_for()
    settled(page, view)
    assert view.get_by_text("Waiting: a cell is running").count() == 0
    view.evaluate("e => e.closest('.jp-Cell').scrollIntoView()")
    picture(page, "timeline-narrow")
    page.context.close()
