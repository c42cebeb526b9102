"""The first notebook as a learner meets it: in JupyterLab, in a browser."""

from __future__ import annotations

import re

import pytest

from tests.browser.conftest import open_notebook

FIRST = "00-start-here.ipynb"
SIZE = {"width": 1280, "height": 900}


@pytest.fixture(params=["light", "dark"])
def notebook(request, browser, jupyter):
    jupyter.theme(f"JupyterLab {request.param.title()}")
    notebook = open_notebook(browser, jupyter, FIRST, viewport=SIZE)
    notebook.theme = request.param
    yield notebook
    notebook.page.context.close()


def test_run_all_fills_the_tables(notebook, picture):
    page = notebook.page
    notebook.run_all()
    assert notebook.errors() == []
    cam = page.locator(".lk-table", has_text="fdb (CAM table)").first
    row = cam.locator("tbody tr", has_text="02:42:ac:11:00:03").first
    row.wait_for()
    kernels = re.compile("02:42:ac:11:00:03 dev (veth[0-9a-f]{7}) master docker0")
    told = page.locator(".jp-OutputArea-output").filter(has_text=kernels).last.inner_text()
    port = kernels.search(told)[1]
    assert row.locator("td").nth(1).inner_text().startswith(port)
    assert "nginx-2 eth0" in row.inner_text()
    arp = page.locator(".lk-table", has_text="neighbours (ARP cache)").first
    assert "172.17.0.3" in arp.inner_text()
    assert page.locator(".lk").first.locator(".lk-host").count() == 2
    picture(page, f"first-notebook-{notebook.theme}-top")
    for index, view in enumerate(page.locator(".lk").all()):
        view.scroll_into_view_if_needed()
        picture(view, f"first-notebook-{notebook.theme}-view{index}")
    page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
    page.locator(".lk").last.evaluate("e => e.closest('.jp-Cell').scrollIntoView()")
    page.locator(".lk-new, .lk-changed, .lk-left").first.wait_for(state="detached")
    picture(page, f"first-notebook-{notebook.theme}")


def test_a_keyboard_user_reaches_the_row(notebook):
    page = notebook.page
    notebook.run_all()
    row = page.locator(".lk-table", has_text="fdb").first.locator(
        "tr", has_text="02:42:ac:11:00:03"
    )
    row.wait_for()
    stop = page.locator('.lk-grid [tabindex="0"]').first
    stop.focus()
    page.keyboard.press("Home")
    for _ in range(40):
        if row.evaluate("e => e === document.activeElement"):
            break
        page.keyboard.press("ArrowDown")
    assert row.evaluate("e => e === document.activeElement")
    # what has the focus is lit in the other view: the host whose MAC it is, and its port
    lit = page.locator(".lk-host.lk-lit").first
    lit.wait_for()
    assert "nginx-2" in lit.text_content()
    assert page.locator(".lk").first.locator(".lk-port.lk-lit").count() == 1


def test_views_move_while_a_cell_blocks_and_tell_of_the_end(browser, jupyter, picture):
    notebook = open_notebook(browser, jupyter, FIRST, viewport={"width": 480, "height": 900})
    page = notebook.page
    notebook.run_code(
        "from labkit import Lab\n"
        "lab = Lab('blocking')\n"
        "b = lab.bridge('br0', '10.0.0.254/24')\n"
        "h1, h2 = lab.host('h1'), lab.host('h2')\n"
        "c1, c2 = lab.cable(h1, b, '10.0.0.1/24'), lab.cable(h2, b, '10.0.0.2/24')\n"
        "from IPython.display import display\n"
        "display(lab, lab.watch())"
    )
    page.locator(".lk-table").first.wait_for()
    page.evaluate(
        """() => { const app = window.jupyterapp;
            app.commands.execute('notebook:insert-cell-below').then(() => {
                app.shell.currentWidget.content.activeCell.model.sharedModel.setSource(
                    "h1.ping(h2)\\nc2.unplug()\\nimport time\\nfor _ in range(600): time.sleep(0.1)");
                app.commands.execute('notebook:run-cell');
            }); }"""
    )
    page.locator(".lk-table tr", has_text="02:42:0a:00:00:02").first.wait_for()
    page.locator(".lk-cable.lk-down").first.wait_for()
    status = page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status"
    )
    assert status == "busy", "the rows came while the cell was blocking"
    picture(page, "narrow")
    page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )
    page.get_by_text("The notebook kernel has stopped or restarted").first.wait_for()
    page.context.close()


def test_a_hundred_hosts_fold_and_open(browser, jupyter, picture):
    notebook = open_notebook(browser, jupyter, FIRST, viewport=SIZE)
    page = notebook.page
    notebook.run_code(
        "from labkit import Lab\n"
        "lab = Lab('hundred')\n"
        "b = lab.bridge('sw', '10.0.0.254/24')\n"
        "with lab.batch():\n"
        "    for i in range(1, 101):\n"
        "        lab.cable(lab.host(f'h{i}'), b, f'10.0.0.{i}/24')\n"
        "lab"
    )
    fold = page.locator(".lk-fold")
    fold.get_by_text("96 more hosts").wait_for()
    fold.focus()
    page.keyboard.press("Enter")
    assert page.locator(".lk-tile").count() == 96
    picture(page.locator(".lk").last, "hundred-hosts")
    notebook.run_code("lab.close()")
    page.get_by_text("The lab has ended: it was closed.").wait_for()
    page.context.close()


def test_hostile_text_stays_text(browser, jupyter):
    """A learner's own interface names may hold anything that the kernel takes."""
    notebook = open_notebook(browser, jupyter, FIRST, viewport=SIZE)
    page = notebook.page
    notebook.run_code(
        "from labkit import Lab\n"
        "lab = Lab('hostile')\n"
        "b = lab.bridge('br0')\n"
        "for name in ('<b>x', '{a|b}\"', '$(id)'):\n"
        "    lab.machine.run(['ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', name[:3] + 'p'])\n"
        "    lab.machine.run(['ip', 'link', 'set', name, 'master', 'br0', 'up'])\n"
        "lab"
    )
    page.locator(".lk-port").get_by_text("<b>x").wait_for()
    assert page.locator(".lk b").count() == 0
    page.context.close()
