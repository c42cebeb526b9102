"""A journey as one HTML file that plays anywhere: no Jupyter, no network, nothing beside it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from pathlib import Path
from typing import Any

from labkit.errors import LabkitError
from labkit.journey import Journey
from labkit.widgets.live import static
from labkit.widgets.player import MODULE, STYLE, status_of
from labkit.widgets.storyboard import Storyboard

# What the player needs of a Jupyter widget's model: values, and to hear when they change.
STAND_IN = """
const values = JSON.parse(document.getElementById("journey").textContent);
const heard = new Map();
const model = {
  get: (name) => values[name],
  set: (name, value) => {
    values[name] = value;
    for (const hear of heard.get(`change:${name}`) ?? []) hear();
  },
  save_changes: () => {},
  on: (name, hear) => heard.set(name, [...(heard.get(name) ?? []), hear]),
  off: (name, hear) => heard.set(name, (heard.get(name) ?? []).filter((each) => each !== hear)),
};
render({ model, el: document.querySelector("main") });
"""

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main></main>
<noscript>{table}</noscript>
<script type="application/json" id="journey">{data}</script>
<script type="module">{module}</script>
</body>
</html>
"""


def page(journey: Journey) -> str:
    """The page: the player, its style and the journey, in one text.

    Its policy lets only this very script and style run, and forbids every connection
    (Content Security Policy, https://www.w3.org/TR/CSP3/).
    """
    values = {
        "snapshot": Storyboard(journey).data,
        "status": status_of(journey) | {"recorded": True},
        "step": 0,
        "beat": 0,
    }
    style = static("page.css") + STYLE
    module = MODULE + STAND_IN
    policy = (
        f"default-src 'none'; script-src '{_digest(module)}'; style-src '{_digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return PAGE.format(
        policy=policy,
        title=html.escape(f"{journey.title} · {journey.recording.name}"),
        style=style,
        table=journey._repr_html_(),
        data=as_json(values),
        module=module,
    )


def as_json(value: Any) -> str:
    """JSON that may stand in a script element: no markup can end it, or begin in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def write(journey: Journey, path: str | Path) -> Path:
    """Writes the page, whole or not at all. Raises LabkitError where it cannot be written."""
    path = Path(path)
    text = page(journey)
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise LabkitError(
            f"The journey could not be saved as {path}: {error.strerror}.",
            hint="Choose a folder that exists, is yours to write in and has room.",
        ) from error
    return path


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
