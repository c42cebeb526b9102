"""Checks, hints and mysteries as a learner sees them in JupyterLab."""

from __future__ import annotations

import pytest

from tests.browser.conftest import open_notebook
from tests.browser.test_first_notebook import FIRST, SIZE


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_checks_and_mysteries_are_shown(theme, browser, jupyter, picture):
    jupyter.theme(f"JupyterLab {theme.title()}")
    notebook = open_notebook(browser, jupyter, FIRST, viewport=SIZE)
    page = notebook.page
    notebook.run_code(
        "from labkit import Lab, check, hint, progress, solution\n"
        "from IPython.display import display\n"
        "progress.reset()\n"
        "lab = Lab('docker0')\n"
        "docker0 = lab.bridge('docker0', '172.17.0.1/16')\n"
        "nginx1, nginx2 = lab.host('nginx-1'), lab.host('nginx-2')\n"
        "lab.cable(nginx1, docker0, '172.17.0.2/16')\n"
        "lab.cable(nginx2, docker0, '172.17.0.3/16')\n"
        "nginx1.ping('172.17.0.99')\n"
        "display(check('refill'), hint('refill'), solution('refill'), check('nobody'))"
    )
    page.get_by_text("✗ refill: not yet").wait_for()
    page.get_by_text("✓ nobody: passed").wait_for()
    bar = page.get_by_label("Lesson 0: 1 of 3").last
    assert bar.evaluate("e => [e.value, e.max].join()") == "1,3"
    picture(page.locator(".jp-Cell", has=bar).last, f"checks-{theme}")
    notebook.run_code("%%on nginx-1\nip -br address\nfalse")
    page.get_by_text("[nginx-1: exit code 1]").wait_for()
    notebook.run_code("mystery = Lab.mystery(18)\nmystery")
    page.get_by_text("Something is wrong. Find it").wait_for()
    topology = page.locator(".lk-host").first
    topology.wait_for()
    picture(page.locator(".jp-Cell", has=topology).last, f"mystery-{theme}")
    page.context.close()
