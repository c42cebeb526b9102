"""The prediction of the first notebook, by keyboard alone, in JupyterLab."""

from __future__ import annotations

import pytest

from tests.browser.conftest import open_notebook
from tests.browser.test_first_notebook import FIRST, SIZE

SCENE = """\
from labkit import Lab, predict
lab = Lab('docker0')
docker0 = lab.bridge('docker0', '172.17.0.1/16')
nginx1, nginx2 = lab.host('nginx-1'), lab.host('nginx-2')
lab.cable(nginx1, docker0, '172.17.0.2/16')
lab.cable(nginx2, docker0, '172.17.0.3/16')
guess = predict('first-ping')
guess"""


@pytest.fixture(params=["light", "dark"])
def notebook(request, browser, jupyter):
    jupyter.theme(f"JupyterLab {request.param.title()}")
    notebook = open_notebook(browser, jupyter, FIRST, viewport=SIZE)
    notebook.theme = request.param
    yield notebook
    notebook.page.context.close()


def test_predict_run_explain_by_keyboard(notebook, picture):
    page = notebook.page
    notebook.run_code(SCENE)
    view = page.locator(".lk-predict").first
    view.wait_for()
    lock = view.get_by_role("button")
    assert lock.is_disabled()
    boxes = view.get_by_role("checkbox")
    boxes.first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert [box.is_checked() for box in boxes.all()] == [True, False, True]
    picture(view, f"prediction-{notebook.theme}-open")
    page.keyboard.press("Tab")
    assert lock.evaluate("e => e === document.activeElement")
    page.keyboard.press("Enter")
    view.get_by_text("Locked", exact=True).wait_for()
    assert all(box.is_disabled() for box in boxes.all())
    picture(view, f"prediction-{notebook.theme}-locked")
    notebook.run_code("nginx1.ping(nginx2)\nguess.grade()")
    graded = page.locator(".lk-predict").last
    graded.get_by_text("partly as predicted").first.wait_for()
    rows = graded.locator("tbody tr").all_inner_texts()
    assert [("● predicted" in row, "● seen" in row) for row in rows] == [
        (True, True),
        (False, True),
        (True, True),
    ]
    assert "172.17.0.2 is 02:42:ac:11:00:02" in graded.locator(".lk-evidence").inner_text()
    # the view that was there before tells the outcome too, and says it to a screen reader
    assert view.locator("[aria-live]").inner_text().startswith("Partly as predicted")
    assert view.locator("tbody tr").all_inner_texts() == rows
    picture(graded, f"prediction-{notebook.theme}-graded")
    assert notebook.errors() == []
    # what the cell's keys would do in command mode must not have happened: no cell was deleted
    assert view.is_visible()


def test_one_choice_by_arrows_in_a_narrow_pane(browser, jupyter, picture):
    notebook = open_notebook(browser, jupyter, FIRST, viewport={"width": 480, "height": 800})
    page = notebook.page
    notebook.run_code(
        "from labkit import predict\n"
        "guess = predict('Which way, <b>now</b>?', ['left', '<i>right</i>', 'back'], "
        "seen=lambda look: 'left')\n"
        "guess"
    )
    view = page.locator(".lk-predict").last
    view.wait_for()
    assert view.locator("b, i").count() == 0
    radios = view.get_by_role("radio")
    radios.first.focus()
    page.keyboard.press("ArrowDown")
    assert radios.nth(1).is_checked()
    page.keyboard.press("Enter")
    view.get_by_text("Locked", exact=True).wait_for()
    picture(view, "prediction-narrow")
    notebook.run_code("print(guess.locked, guess.chosen)")
    page.get_by_text("True ('<i>right</i>',)").wait_for()
    page.context.close()


def test_a_lock_that_the_kernel_does_not_answer_is_said(browser, jupyter):
    notebook = open_notebook(browser, jupyter, FIRST, viewport=SIZE)
    page = notebook.page
    notebook.run_code(SCENE)
    view = page.locator(".lk-predict").last
    view.get_by_role("checkbox").first.check()
    page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )
    page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"
    )
    view.get_by_role("button").click()
    view.get_by_text("run this cell again").wait_for()
    page.context.close()


PICK = """\
from labkit import predict
both = predict('Who gets the question?', ['nginx-1', 'nginx-2', 'the machine'],
               seen=lambda look: None, several=True, lab=lab)
both"""


def test_choices_are_picked_on_the_diagram(notebook, picture):
    page = notebook.page
    notebook.run_code(SCENE)
    page.locator(".lk-predict").first.wait_for()
    notebook.run_code(PICK)
    view = page.locator(".lk-predict").last
    drawn = view.locator(".lk-pick svg")
    drawn.wait_for()
    boxes = view.get_by_role("checkbox")

    def chosen():
        return [box.is_checked() for box in boxes.all()]

    drawn.locator('[data-place="host:nginx-2"]').click()
    drawn.locator(".lk-machine text").click()
    assert chosen() == [False, True, True]
    assert drawn.locator(".lk-picked").count() == 2
    picture(view, f"prediction-{notebook.theme}-picked")
    drawn.locator('[data-place="host:nginx-2"]').click()
    drawn.locator('[data-place="bridge:docker0"]').click()
    assert chosen() == [False, False, True], "what is no choice is not to be picked"
    view.get_by_role("button", name="Lock it in").click()
    view.get_by_text("Locked", exact=True).wait_for()
    drawn.locator('[data-place="host:nginx-1"]').click()
    assert chosen() == [False, False, True]
