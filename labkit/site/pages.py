"""Turns lessons that have run into pages: text, code, what it showed, and views that play."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from markupsafe import Markup
from nbconvert.filters import Highlight2HTML, ansi2html
from nbconvert.filters.markdown_mistune import markdown2html_mistune

from labkit.lessons.verdict import MIME as VERDICT
from labkit.site.run import Cell, Lesson
from labkit.widgets.export import as_json

VIEW = "application/vnd.jupyter.widget-view+json"
STATIC = Path(__file__).parent / "static"
GRADED = "PredictionView"
LINK = re.compile(
    r'<a href="(?P<name>[^":/#]+)\.ipynb(?P<place>#[^"]*)?">(?P<text>.*?)</a>', re.DOTALL
)
ROW = re.compile(
    r"^\|[^|]*\|\s*\[[^\]]*\]\((?P<name>[^)]+)\.ipynb\)\s*\|\s*(?P<asks>[^|]+?)\s*\|", re.MULTILINE
)
QUESTION = re.compile(r"\*\*(?P<asks>[^*]+[.?!])\*\*")
WHAT = {"Topology": "topology", "Tables": "tables", "NeighbourStates": "states of neighbour rows"}
"""The views that later cells change, in words."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What every page says of the site: when and how it was made, and where a live lab is."""

    date: str
    launcher: str
    repository: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A lesson in the table of contents. `number` is that of its file's name."""

    name: str
    number: int
    title: str
    asks: str


def environment() -> jinja2.Environment:
    """The templates, with everything escaped that is not markup already."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(STATIC),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    highlight = Highlight2HTML(pygments_lexer="ipython3")
    found.filters["code"] = lambda text: Markup(_plain(highlight(text)))  # noqa: S704 (escaped)
    return found


def contents(lessons: Iterable[Lesson]) -> list[Entry]:
    """Title and question of each lesson, from the lessons themselves."""
    lessons = list(lessons)
    texts = {one.name: [c.source for c in one.cells if c.kind == "markdown"] for one in lessons}
    bold = {name: QUESTION.search(cells[0]) for name, cells in texts.items()}
    asked = {name: question["asks"] for name, question in bold.items() if question}
    for text in chain.from_iterable(texts.values()):
        asked |= {row["name"]: row["asks"] for row in ROW.finditer(text)}
    entries = []
    for name, cells in texts.items():
        title = re.search(r"^# (.+)$", cells[0], re.MULTILINE)
        if title is None or name not in asked:
            raise ValueError(f"{name} does not begin with a title and a question in bold")
        number, asks = int(name.split("-")[0]), " ".join(asked[name].split())
        entries.append(Entry(name=name, number=number, title=title[1], asks=asks))
    return entries


def index(entries: list[Entry], about: About) -> str:
    """The page with the table of contents."""
    template = environment().get_template("index.html")
    return template.render(entries=[(one, inline(one.asks)) for one in entries], about=about)


def page(lesson: Lesson, entries: list[Entry], about: About) -> str:
    """A lesson's page."""
    place = [one.name for one in entries].index(lesson.name)
    names = {one.name for one in entries}
    headings: list[tuple[str, str]] = []
    cells = []
    for number, cell in enumerate(lesson.cells):
        if cell.kind == "markdown":
            text = markdown(cell.source, names)
            headings += re.findall(r'<h2 id="([^"]+)">(.*?)<a class="anchor-link"', text)
            cells.append({"prose": Markup(text)})  # noqa: S704 (the lesson's own text)
        else:
            cells.append(_code(lesson, number, cell))
    template = environment().get_template("lesson.html")
    return template.render(
        entry=entries[place],
        before=entries[place - 1] if place else None,
        after=entries[place + 1] if place + 1 < len(entries) else None,
        headings=[(name, Markup(text)) for name, text in headings],  # noqa: S704 (the same)
        cells=cells,
        data=Markup(as_json(_data(lesson))),  # noqa: S704 (it escapes what could end the element)
        about=about,
    )


def markdown(source: str, names: set[str]) -> str:
    """Text with its links led to pages; a lesson that has no page here is named without one."""

    def lead(link: re.Match[str]) -> str:
        if link["name"] not in names:
            return link["text"]
        return f'<a href="{link["name"]}.html{link["place"] or ""}">{link["text"]}</a>'

    text = LINK.sub(lead, markdown2html_mistune(source))
    text = text.replace('">&#182;</a>', '" aria-label="link to this section">#</a>')
    text = text.replace("<th></th>", "<td></td>")  # which heads nothing
    text = re.sub(r"<table>.*?</table>", r'<div class="scroll">\g<0></div>', text, flags=re.DOTALL)
    return _plain(text)


def inline(source: str) -> Markup:
    """A sentence of Markdown."""
    text = markdown2html_mistune(source).strip()
    return Markup(text.removeprefix("<p>").removesuffix("</p>"))  # noqa: S704 (the lesson's own)


def _plain(text: str) -> str:
    """Highlighted code as one element, which scrolls."""
    return re.sub(
        r'<div class="\s*highlight[^"]*"><pre><span></span>(.*?)\n?</pre></div>\n*',
        r'<pre class="code">\1</pre>',
        text,
        flags=re.DOTALL,
    )


def _code(lesson: Lesson, number: int, cell: Cell) -> dict[str, Any]:
    """What a code cell's part of the page is made from."""
    outputs = [_output(lesson, number, output) for output in cell.outputs]
    shown = [one["view"] for one in outputs if "view" in one]
    changed = _changed(lesson, number, shown)
    return msgspec.structs.asdict(cell) | {"outputs": outputs, "changed": changed}


def _changed(lesson: Lesson, number: int, shown: list[str]) -> list[dict[str, Any]]:
    """The views above a cell that it changed; of those that say the same, the newest."""

    def says(model_id: str) -> tuple[str, Any]:
        return lesson.views[model_id].kind, lesson.traits(model_id, number + 1).get("words")

    found = {
        says(model_id): {"view": model_id, "at": number, "what": _called(lesson, model_id)}
        for model_id in lesson.cells[number].changes
        if lesson.views[model_id].kind in WHAT and _is_above(lesson, model_id, number)
    }
    repeated = set(map(says, shown))
    return [one for key, one in found.items() if key not in repeated]


def _called(lesson: Lesson, model_id: str) -> str:
    view = lesson.views[model_id]
    return f"{view.traits['status']['name']}: {WHAT[view.kind]}"


def _is_above(lesson: Lesson, model_id: str, number: int) -> bool:
    """Whether a cell before this one displays the view."""
    return any(
        output.get("data", {}).get(VIEW, {}).get("model_id") == model_id
        for cell in lesson.cells[:number]
        for output in cell.outputs
    )


def _output(lesson: Lesson, number: int, output: dict[str, Any]) -> dict[str, Any]:
    """An output in the best form that a page can show."""
    if output["output_type"] == "stream":
        return {"text": Markup(ansi2html(output["text"]))}  # noqa: S704 (it escapes)
    if output["output_type"] == "error":
        return {"text": Markup(ansi2html("\n".join(output["traceback"])))}  # noqa: S704 (the same)
    data = output["data"]
    plain = str(data.get("text/plain", ""))
    if VIEW in data:
        model_id = data[VIEW]["model_id"]
        view = lesson.views.get(model_id)
        if view is None:
            return {"text": plain}  # a view that needs a kernel says in words what it showed
        traits = lesson.traits(model_id, number + 1)
        graded = view.kind == GRADED and bool(traits["outcome"])
        return {"view": model_id, "at": number, "plain": plain, "graded": graded}
    if "text/html" in data:
        is_check = VERDICT in data
        return {"markup": Markup(data["text/html"]), "check": is_check}  # noqa: S704 (labkit's own)
    return {"text": plain}


def _data(lesson: Lesson) -> dict[str, Any]:
    """The views for the page's script; of later states, what differs from the first."""
    views = {}
    for model_id, view in lesson.views.items():
        later = {
            str(number): {k: v for k, v in now.items() if view.traits.get(k) != v}
            for number, cell in enumerate(lesson.cells)
            if (now := cell.changes.get(model_id)) is not None
        }
        views[model_id] = msgspec.structs.asdict(view) | {"later": later}
    return views
