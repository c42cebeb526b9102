"""The static site as its reader meets it: files in a browser without any network.

Two of the lessons are run for it here; that each runs solved is tested with the notebooks.
"""

from __future__ import annotations

import html
import re
from urllib.parse import unquote

import pytest

from labkit.launch.launchers import LAUNCHERS
from labkit.model import events as ev
from labkit.model import operations as op
from labkit.recording import Recording
from labkit.site import pages
from labkit.site.__main__ import build, texts, write
from labkit.site.pages import VIEW
from labkit.site.run import Cell, Lesson, View
from labkit.widgets import Tables
from labkit.widgets.still import displayed

FIRST, JOURNEY = "00-start-here", "05-the-journey-of-a-ping"
PAGES = ["index", FIRST, JOURNEY]
WIDE, NARROW = {"width": 1200, "height": 900}, {"width": 360, "height": 740}
pytestmark = [
    pytest.mark.timeout(400),  # the first one waits for the lessons to run
    pytest.mark.skipif(all(one.probe() for one in LAUNCHERS), reason="no launcher works here"),
]


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    build(folder, ["00", "05"])
    return folder


class Reader:
    """Opens pages, and keeps all that a page should not have done."""

    def __init__(self, browser, site):
        self.browser, self.site = browser, site
        self.contexts, self.faults = [], []

    def open(self, name, **options):
        context = self.browser.new_context(**{"viewport": WIDE, "offline": True, **options})
        self.contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda m: self.faults.append(f"{name}: {m.type}: {m.text}"))
        page.on("pageerror", lambda error: self.faults.append(f"{name}: {error.stack}"))
        page.on("request", lambda request: self._asked(name, request.url))
        page.goto((self.site / f"{name}.html").as_uri())
        return page

    def _asked(self, name, url):
        if not url.startswith((self.site.as_uri(), "data:")):
            self.faults.append(f"{name} asked for {url}")


@pytest.fixture
def reader(browser, site):
    reader = Reader(browser, site)
    yield reader
    for context in reader.contexts:
        context.close()
    assert reader.faults == []


def unfold(page):
    """Opens all folds of the page itself, the outer ones first, so that every view is drawn."""
    own = "main details:not(.lk details)"
    while page.locator(f"{own}:not([open])").count():
        page.evaluate(
            f"() => document.querySelectorAll('{own}:not([open])').forEach(d => {{ d.open = true; }})"
        )
    page.wait_for_function(
        "() => [...document.querySelectorAll('.view')].every(view => view.querySelector('.lk'))"
    )


@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_nobody_and_shows_every_view_as_recorded(reader, name, picture):
    page = reader.open(name)
    picture(page, f"site-{name}", full_page=True)
    unfold(page)
    views = page.locator(".view").count()
    assert views > 10 if name != "index" else views == 0
    # A prediction is the reader's own; all else is from the recording, and says so.
    badges = page.locator(".view .lk:not(.lk-predict) > .lk-head .lk-badge").all_inner_texts()
    assert set(badges) == ({"recorded"} if views else set())
    assert page.locator(".lk-notice:not([hidden])").count() == 0
    assert "recorded" in page.locator("main").inner_text().lower()
    assert page.get_by_role("link", name="Get a live one").count() or "make lab" in page.content()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_well_formed_for_everyone(reader, name):
    page = reader.open(name)
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.title().strip()
    for landmark in ("main", "banner", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1
    assert page.locator("h1").count() == 1
    ids = page.evaluate("() => [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    for image in page.locator("img").all():
        assert image.get_attribute("alt")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "main"


def test_the_policy_lets_nothing_out(reader):
    page = reader.open(FIRST)
    broken = page.evaluate(
        """async () => {
            const broken = [];
            const told = new Promise((done) => {
                document.addEventListener("securitypolicyviolation", (e) => {
                    if (broken.push(e.effectiveDirective) === 3) done();
                });
            });
            await fetch("http://labkit.test/").catch(() => {});
            new Image().src = "http://labkit.test/";
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
            await told;
            return [...broken.sort(), window.ran];
        }"""
    )
    assert broken == ["connect-src", "img-src", "script-src-elem", None]
    reader.faults.clear()  # the browser told of these three


def learned(player):
    """The MAC addresses that docker0 has learned, as the player shows them."""
    return player.evaluate(
        """(player) => [...player.querySelectorAll('.lk-tables .lk-table[data-kind="cam"] tbody tr')]
            .filter((row) => row.dataset.kind === 'learned')
            .map((row) => row.cells[0].querySelector('.lk-value').textContent)"""
    )


def test_a_journey_by_keyboard(reader, site, picture):
    page = reader.open(FIRST)
    text = html.unescape((site / f"{FIRST}.html").read_text())
    words = " ".join(re.findall(r"<noscript>(.*?)</noscript>", text, re.DOTALL))
    player = page.locator(".lk-player").first
    player.locator(".lk-play").focus()
    page.keyboard.press("Home")
    steps = int(player.locator(".lk-count").inner_text().split("/")[1])
    assert steps > 15
    assert learned(player) == []
    seen = set()
    for number in range(1, steps + 1):
        sentence = player.locator(".lk-telling > .lk-sentence").inner_text()
        assert sentence in words  # the journey in words, of a reader without scripts
        assert player.locator(".lk-count").inner_text() == f"{number} / {steps}"
        seen.add(tuple(learned(player)))
        page.keyboard.press("ArrowRight")
    assert len(seen) == 3, "none, the one who asks, the one who answers"
    # What the kernel's own tool printed further down the page.
    printed = re.findall(r"^(02:[0-9a-f:]{14}) dev \w+ master docker0", text, re.MULTILINE)
    assert sorted(learned(player)) == sorted(printed) != []
    picture(player, "site-player")
    page.keyboard.press("ArrowLeft")
    assert player.locator(".lk-count").inner_text() == f"{steps - 1} / {steps}"


@pytest.mark.parametrize(
    ("places", "answer"), [([0, 1, 2], "as predicted"), ([1], "partly as predicted")]
)
def test_a_prediction_is_locked_and_graded(reader, places, answer, picture):
    page = reader.open(FIRST)
    fold = page.locator(".graded").first
    assert not fold.locator(".lk-outcome").is_visible()
    question = page.locator(".lk-predict").first
    for place in places:
        question.locator("input").nth(place).focus()
        page.keyboard.press("Space")
    question.get_by_role("button", name="Lock it in").press("Enter")
    assert question.locator(".lk-badge").inner_text() == "locked"
    assert "Read on" in question.locator(".lk-note-line").inner_text()
    assert fold.locator(".lk-badge").inner_text() == answer
    rows = fold.locator("tbody tr").all_inner_texts()
    assert [("predicted" in row) for row in rows] == [place in places for place in range(3)]
    assert all("seen" in row for row in rows)
    assert fold.locator(".lk-evidence li").count() == 3
    picture(fold, f"site-graded-{len(places)}")


def test_a_cell_shows_what_became_of_the_view_above(reader, picture):
    page = reader.open(FIRST)
    watched = (
        page.locator(".view")
        .filter(has_text="nobody's MAC")
        .or_(page.locator(".view:has(.lk-table[data-kind='cam'])"))
    )
    assert watched.first.locator("tr[data-kind='learned']").count() == 0
    fold = page.locator(".changed").filter(has_text="tables").first
    fold.locator("summary").first.press("Enter")
    fold.locator("tr[data-kind='learned'].lk-new").nth(1).wait_for()
    picture(fold, "site-changed")


def test_an_exercise_shows_its_question_and_folds_the_rest(reader):
    page = reader.open(FIRST)
    page.get_by_text("Let docker0 forget all that it has learned").wait_for()
    exercise = page.get_by_role("group", name="Exercise refill")
    code = exercise.locator(".code")
    assert not code.is_visible()
    for fold, words in (("Hint 1 of 3", r"\w{4}"), ("Hint 3 of 3", r"\w{4}")):
        exercise.get_by_text(fold).press("Enter")
        said = exercise.locator("details[open] .hint").last
        assert re.search(words, said.inner_text())
    exercise.get_by_text("Solution: one way of many").press("Enter")
    assert code.inner_text().split() == ["docker0.flush()", "nginx1.ping(nginx2)"]
    check = page.locator(".check").first
    assert not check.locator("table").is_visible()
    check.locator("summary").press("Enter")
    assert "✓ refill: passed" in check.locator("table").inner_text()


@pytest.mark.parametrize("name", PAGES)
def test_on_a_phone_nothing_is_wider_than_the_page(reader, name, picture):
    page = reader.open(name, viewport=NARROW)
    unfold(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= NARROW["width"]
    picture(page, f"site-phone-{name}", full_page=True)


def luminance(colour):
    """Of `rgb(…)` (WCAG 2.2, relative luminance)."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(p * w for p, w in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_views_follow_light_and_dark(reader, scheme, picture):
    page = reader.open(FIRST, color_scheme=scheme)
    colour = "(element, name) => getComputedStyle(element)[name]"
    paper = luminance(page.locator("body").evaluate(colour, "backgroundColor"))
    assert (paper > 0.9) if scheme == "light" else (paper < 0.05)
    view = page.locator(".lk").first
    assert luminance(view.evaluate(colour, "backgroundColor")) == pytest.approx(paper, abs=0.02)
    tint = luminance(page.locator(".code").first.evaluate(colour, "backgroundColor"))
    for selector in (
        "p",
        "h2",
        "summary",
        "main a",
        ".code",
        ".code span",
        ".prompt",
        ".mark",
        ".turn",
    ):
        for element in page.locator(f"main {selector}:not(.lk *)").all()[:40]:
            one = luminance(element.evaluate(colour, "color"))
            for other in (paper, tint):
                light, dark = max(one, other), min(one, other)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (selector, element.inner_text())
    picture(page, f"site-{scheme}", full_page=True)


def test_without_scripts_the_views_are_text(reader):
    page = reader.open(FIRST, java_script_enabled=False)
    said = page.locator("main").inner_text()
    assert "nginx-1 asks everyone on the wire" in said  # the journey
    assert "2 hosts, 1 bridge, 2 cables" in said  # the topology
    page.locator(".exercise summary").first.click()
    assert page.locator(".hint").first.is_visible()


def test_every_link_within_the_site_leads_somewhere(site):
    texts = {path.name: path.read_text() for path in site.glob("*.html")}
    found = 0
    for name, text in texts.items():
        for target in re.findall(r'(?:href|src)="([^"]*)"', text):
            if target.startswith(("data:", "https://")):
                continue
            path, _, place = html.unescape(target).partition("#")
            assert (site / (path or name)).is_file(), f"{name} links to {target}"
            if place:
                there = html.unescape(texts[path or name])
                assert f'id="{unquote(place)}"' in there, f"{name} links to {target}"
            found += 1
    assert found > 30
    first = texts[f"{FIRST}.html"]
    assert f'href="{JOURNEY}.html"' in first
    assert "A cable between two hosts" in first, "a lesson that is not here is named"
    assert ".ipynb" not in re.sub(r"<code>.*?</code>", "", first)


def test_the_contents_say_what_each_lesson_asks(reader):
    page = reader.open("index")
    items = page.locator(".lessons li").all_inner_texts()
    assert [item.split("\n")[0] for item in items] == [
        "How do two containers reach each other?",
        "The journey of a ping",
    ]
    assert all(len(item.split("\n")) >= 2 for item in items)
    page.locator(".lessons a").last.press("Enter")
    page.get_by_role("heading", level=1, name="The journey of a ping").wait_for()
    page.get_by_role("link", name="How do two containers").first.press("Enter")
    page.get_by_role("heading", level=1, name="How do two containers").wait_for()


def test_a_cell_that_changed_many_rows_shows_them_all(browser, tmp_path):
    """Then they are in a trait of their own, `since`, and no more in `changes`."""
    recording = Recording("docker0", live=False)
    recording.append(ev.Applied(at=1, operation=op.AddHost(name="h", netns="h")))
    view = Tables(recording)
    before = displayed()[view.model_id]["traits"]
    for i in range(30):
        at = {"at": 2, "netns": "h", "index": 2}
        recording.append(ev.NeighbourSet(**at, address=f"10.0.0.{i}", state="REACHABLE"))
    after = displayed()[view.model_id]["traits"]
    assert len(after["since"]["host:h"]["rows"]) == 30
    shows = {"output_type": "display_data", "data": {VIEW: {"model_id": view.model_id}}}
    cells = [
        Cell(kind="markdown", source="# A title\n\n**What is asked?**"),
        Cell(kind="code", source="lab.watch()", outputs=[shows]),
        Cell(kind="code", source="ping()", changes={view.model_id: after}),
    ]
    views = {view.model_id: View(kind="Tables", traits=before)}
    about = pages.About(date="2026-11-25", launcher="root")
    write(tmp_path, texts([Lesson(name="00-many", cells=cells, views=views)], about))
    page = browser.new_page()
    page.goto((tmp_path / "00-many.html").as_uri())
    page.locator(".changed summary").first.press("Enter")
    page.locator(".changed tr[data-kind='reachable'].lk-new").nth(29).wait_for(timeout=10_000)
    page.close()
