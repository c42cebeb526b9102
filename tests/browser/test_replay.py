"""A lesson where no lab can be started, as a learner meets it in JupyterLab."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.lessons.verdict import NEEDS_LIVE
from labkit.model.replayed import BADGE, REPLAY
from tests.browser.conftest import Jupyter, open_notebook

LESSON = "05-the-journey-of-a-ping.ipynb"
SIZE = {"width": 1280, "height": 1100}
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def replaying(tmp_path_factory: pytest.TempPathFactory):
    """A JupyterLab whose kernels can start no lab."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_LAUNCHER", REPLAY)
        server = Jupyter(tmp_path_factory.mktemp("replaying"))
    yield server
    server.stop()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_lesson_plays_and_every_view_says_that_it_is_recorded(
    browser, replaying, picture, theme, tmp_path
):
    replaying.theme(f"JupyterLab {theme.title()}")
    notebook = open_notebook(browser, replaying, LESSON, viewport=SIZE)
    page = notebook.page
    page.set_default_timeout(60_000)
    notebook.run_all()
    page.get_by_text("● Recorded: no kernel is at work here.").first.wait_for()
    page.get_by_text(f"silent: {NEEDS_LIVE}").first.wait_for(timeout=120_000)
    notebook.run_code("lab.timeline()")
    exported = tmp_path / "first.html"
    notebook.run_code(f"_ = first.journey.to_html({str(exported)!r})")

    # topology, tables and players; the states of neighbours; the timeline's three
    page.wait_for_function("() => document.querySelectorAll('.lk .lk-head .lk-badge').length >= 9")
    kinds = set()
    for view in page.locator(".lk:has(> .lk-head)").all():
        badge = view.locator("> .lk-head > .lk-badge")
        if badge.get_attribute("data-kind") is None:
            continue  # a prediction's: open, or locked
        kinds.add(view.locator("> .lk-head > .lk-what").inner_text())
        assert badge.inner_text() == "recorded"
        assert badge.get_attribute("title") == BADGE
        assert view.locator("> .lk-head > .lk-words").text_content() == BADGE
    assert len(kinds) >= 5, kinds

    player = page.locator(".lk-player").first
    player.scroll_into_view_if_needed()
    player.locator(".lk-play").focus()
    page.keyboard.press("Home")
    first = player.locator(".lk-telling > .lk-sentence").inner_text()
    page.keyboard.press("ArrowRight")
    assert player.locator(".lk-telling > .lk-sentence").inner_text() != first
    picture(player, f"replay-{theme}-player")
    picture(page.locator(".lk").first, f"replay-{theme}-topology")
    page.locator(".lk").first.evaluate("e => e.closest('.jp-Cell').scrollIntoView()")
    picture(page, f"replay-{theme}-top")
    verdict = page.get_by_text(f"silent: {NEEDS_LIVE}").first
    verdict.scroll_into_view_if_needed()
    picture(page, f"replay-{theme}-check")
    page.locator("input[type=range]").last.scroll_into_view_if_needed()
    picture(page, f"replay-{theme}-timeline")
    page.context.close()

    alone = browser.new_context(offline=True, color_scheme=theme).new_page()
    alone.goto(Path(exported).as_uri())
    badge = alone.locator(".lk-head .lk-badge")
    assert badge.inner_text() == "recorded"
    assert badge.get_attribute("title") == BADGE
    alone.context.close()
