"""The pages of the static site: what goes into them, and what cannot."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from labkit import LabkitError, widgets
from labkit.launch.unshare import Sudo
from labkit.lessons.predict import Prediction
from labkit.recording import Recording
from labkit.site import pages
from labkit.site.__main__ import build, main, texts, write
from labkit.site.inside import outcomes
from labkit.site.run import Cell, Lesson, View
from labkit.widgets import still

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m</pre></details>"
ABOUT = pages.About(date="2026-11-25", launcher="root")
TEXT = "# A title\n\n**What is asked?** See [the next](01-next.ipynb) or [another](09-gone.ipynb#here)."


def lesson(name="00-first", *cells, views=None):
    first = Cell(kind="markdown", source=TEXT)
    return Lesson(name=name, cells=[first, *cells], views=views or {})


def shown(text):
    return {"output_type": "execute_result", "data": {"text/plain": text}}


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.scripts, self.others = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        (self.scripts if tag == "script" else self.others).append((tag, dict(attrs)))


def page(*lessons):
    return pages.page(lessons[0], pages.contents(lessons), ABOUT)


def test_what_a_lesson_prints_or_shows_is_text():
    view = View(kind="Topology", traits={"words": HOSTILE, "status": {"name": HOSTILE}})
    code = Cell(
        kind="code",
        source=f"print({HOSTILE!r})",
        number=1,
        outputs=[
            {"output_type": "stream", "name": "stdout", "text": HOSTILE},
            {"output_type": "error", "traceback": [HOSTILE]},
            shown(HOSTILE),
            {
                "output_type": "display_data",
                "data": {pages.VIEW: {"model_id": "m"}, "text/plain": HOSTILE},
            },
        ],
    )
    later = Cell(kind="code", source="1", number=2, changes={"m": {**view.traits, "words": "now"}})
    exercise = Cell(kind="code", source="1", exercise="x", hints=[HOSTILE])
    text = page(lesson("00-first", code, later, exercise, views={"m": view}))
    tags = Tags(text)
    assert [attrs.get("id") or attrs["src"] for _, attrs in tags.scripts] == [
        "labkit.js",
        "labkit-data",
    ]
    assert not [attrs for tag, attrs in tags.others if tag == "img" or "onerror" in attrs]
    assert text.count("</details>") == text.count("<details")


def test_links_lead_to_pages_and_a_lesson_without_one_is_named():
    text = page(lesson(), lesson("01-next"))
    assert '<a href="01-next.html">the next</a>' in text
    assert "or another." in text


def test_contents_come_from_the_lessons():
    (one,) = pages.contents([lesson()])
    assert (one.number, one.title, one.asks) == (0, "A title", "What is asked?")
    table = Cell(kind="markdown", source="| 1 | [N](01-next.ipynb) | Why so? |")
    assert pages.contents([lesson("00-first", table), lesson("01-next")])[1].asks == "Why so?"
    with pytest.raises(ValueError, match="title and a question"):
        pages.contents([Lesson(name="03-x", cells=[Cell("markdown", "No title")], views={})])


def test_a_view_that_says_the_same_again_is_shown_once():
    def topology(words):
        return View(kind="Topology", traits={"words": words, "status": {"name": "lab"}})

    views = {"a": topology("one"), "b": topology("one")}
    display = [
        {"output_type": "display_data", "data": {pages.VIEW: {"model_id": m}, "text/plain": ""}}
        for m in "ab"
    ]
    cells = [
        Cell(kind="code", source=str(number), number=number, outputs=[output])
        for number, output in enumerate(display)
    ]
    both = {m: topology("two").traits for m in "ab"}
    cells.append(Cell(kind="code", source="change()", number=3, changes=both))
    text = page(lesson("00-first", *cells, views=views))
    assert text.count("data-changed") == 1
    assert 'data-view="b" data-at="3" data-changed' in text


def test_every_view_of_labkit_can_stand_on_a_page():
    # A timeline is made of a topology, tables and a slider that asks the kernel.
    assert {view.__name__ for view in still.VIEWS} == set(widgets.__all__) - {"Timeline"}
    script = still.script()
    for view in still.VIEWS:
        assert f"LABKIT_VIEWS.{view.__name__} = " in script
    assert not re.search(r"^\s*(import|export)\b", script, re.MULTILINE)


@pytest.mark.parametrize("several", [True, False])
def test_every_possible_prediction_is_graded_as_in_the_notebook(several):
    seen = ["b"] if not several else ["a", "c"]
    traits = {
        "question": "?",
        "choices": ["a", "b", "c"],
        "several": several,
        "outcome": {
            "answer": "not predicted",
            "words": "",
            "seen": ["abc".index(choice) for choice in seen],
            "evidence": ["e"],
        },
    }
    graded = outcomes(traits)
    assert len(graded) == (7 if several else 3)
    for places, outcome in graded.items():
        guess = Prediction("?", "abc", seen=lambda look: seen, several=several)
        guess.choose(*("abc"[int(place)] for place in places.split(",")))
        guess.lock()
        guess.grade(Recording("x", live=False))
        assert (outcome["answer"], outcome["words"]) == (guess.answer, guess.words)
        assert outcome["evidence"] == ["e"]
    assert graded["0,2" if several else "1"]["answer"] == "as predicted"
    assert outcomes({**traits, "outcome": {}}) == {}


def test_the_files_of_a_site(tmp_path):
    files = texts([lesson()], ABOUT)
    assert set(files) == {"index.html", "00-first.html", "labkit.css", "labkit.js", ".nojekyll"}
    for name, text in files.items():
        assert "url(" not in text, f"{name} has something loaded"
        assert "//cdn" not in text
    (tmp_path / "other").write_text("stays")
    assert {path.name for path in write(tmp_path, files)} == set(files)
    assert (tmp_path / "other").read_text() == "stays"
    assert not list(tmp_path.glob("*.part"))


def test_what_cannot_be_built_is_said(tmp_path, capsys):
    with pytest.raises(LabkitError, match="No lesson's name begins so"):
        build(tmp_path / "a", ["99"])
    with pytest.raises(LabkitError, match="not the name of a repository"):
        build(tmp_path / "a", ["00"], "https://github.com/owner/name")
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(LabkitError, match="could not be written"):
        write(tmp_path / "file", {"index.html": ""})
    (tmp_path / "full" / "labkit.js").mkdir(parents=True)  # a file cannot take its place
    with pytest.raises(LabkitError, match="could not be saved"):
        write(tmp_path / "full", {"labkit.js": "text"})
    assert not list(tmp_path.glob("full/*.part"))
    assert main([str(tmp_path / "a"), "--lessons", "99"]) == 1
    assert "There are: 00-start-here" in capsys.readouterr().err


def test_a_site_is_made_on_a_kernel_alone(tmp_path, monkeypatch):
    played = Sudo("played", "from a recording")
    monkeypatch.setattr("labkit.site.__main__.choose", lambda: played)
    with pytest.raises(LabkitError, match="the launcher played has none"):
        build(tmp_path / "a", ["00"])


def test_a_repository_is_linked_to():
    about = pages.About(date="2026-11-25", launcher="uml", repository="owner/name")
    text = texts([lesson()], about)["index.html"]
    assert (
        "https://mybinder.org/v2/gh/owner/name/HEAD?labpath=notebooks/00-start-here.ipynb" in text
    )
    assert "git clone https://github.com/owner/name" in text
    assert "launcher uml" in text
