"""A journey as one HTML file that plays anywhere: no Jupyter, no network, nothing beside it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from pathlib import Path
from typing import Any

from labkit.archive import written
from labkit.journey import Journey
from labkit.widgets.live import static
from labkit.widgets.player import MODULE, STYLE, status_of
from labkit.widgets.storyboard import Storyboard

START = """
const data = JSON.parse(document.getElementById("journey").textContent);
render({ model: stand(data), el: document.querySelector("main") });
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
    module = MODULE + static("stand.js") + START
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
    with written(path, "The journey") as file:
        file.write(text.encode())
    return path


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
