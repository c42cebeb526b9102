"""Names that a learner can give in a command: text everywhere, and never markup or a command."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from labkit import Lab
from labkit.render.layout import layout
from labkit.widgets import Tables, Topology
from tests.kernel.conftest import Scene

# What the kernel takes: up to 15 bytes, without a slash, a colon or white space.
NAMES = {
    "markup": "<b>x",
    "attribute": "\"onload='x",
    "entity": "&lt;b&gt;",
    "substitution": "$(touch${IFS}x)",
    "backquotes": "`reboot`",
    "shell": "';reboot;'",
    "dot record": "a|b{}<x>",
    "dot escape": "\\N\\G\\l",
    "dot statement": "];x[l=1",
    "terminal": "\x1b[31mred",
    "bell and delete": "\x07x\x7f",
    "direction": "\u202egnp",
    "line separator": "a\u2028b",
    "not UTF-8": b"a\xff\xfeb",
    "format": "{0}{x!r}",
}


def shown(name: str | bytes) -> str:
    """How it is to be shown, written apart from the code that does so."""
    if isinstance(name, bytes):
        return name.decode(errors="replace")
    for code in ("\x1b", "\x07", "\x7f", "\u202e", "\u2028"):
        name = name.replace(code, f"⟨U+{ord(code):04X}⟩")
    return name


@pytest.mark.parametrize("kind", NAMES)
def test_an_interface_of_that_name(scene: Scene, kind: str):
    name = NAMES[kind]
    raw = name if isinstance(name, bytes) else name.encode()
    octal = "".join(f"\\{byte:03o}" for byte in raw)
    lab = scene.lab
    made = lab.machine.run(
        f'n=$(printf "{octal}"); ip link add "$n" type bridge && ip link set "$n" up && '
        f'ip link add v1 type veth peer name "$n" netns nginx-1 && ip link set v1 master "$n"'
    )
    assert made, made
    text = shown(name)
    assert text in [i.name for i in lab.machine.interfaces]
    assert text in [i.name for i in scene.nginx1.interfaces]
    table = scene.nginx1.interfaces
    assert repr(table).replace("\n", "").isprintable()
    assert text in "".join(ET.fromstring(table._repr_html_()).itertext())

    drawn = ET.fromstring(lab.diagram().pipe("svg"))
    assert text in "".join(drawn.itertext())
    kinds = {one.tag.rpartition("}")[2] for one in drawn.iter()}
    assert kinds <= {"svg", "g", "title", "polygon", "path", "polyline", "text", "ellipse"}
    places = layout(lab.recording.state())
    assert text in [node["title"] for node in places["nodes"]]

    for view in (Topology(lab.recording), Tables(lab.recording)):
        assert view.status["error"] == ""
        assert text in json.dumps(view.snapshot, ensure_ascii=False).replace("\\\\", "\\").replace(
            '\\"', '"'
        )
        assert view.summary().replace("\n", "").isprintable()
        view.close()
    lab.machine.run(f'ip link del "$(printf "{octal}")"; ip link del v1')
    assert text not in [i.name for i in lab.machine.interfaces]
    assert scene.nginx1.ping(scene.nginx2)


def test_an_altname_may_hold_anything(lab: Lab):
    lab.bridge("b")
    made = lab.machine.run(
        ["ip", "link", "property", "add", "dev", "b", "altname", "<i>\x1b[1m$(x)"]
    )
    assert made, made
    lab.machine.interfaces  # noqa: B018 (reading brings what was told up to date)
    link = lab.recording.state().space("machine").link_named("b")
    assert link.altnames == ("<i>⟨U+001B⟩[1m$(x)",)


def test_the_script_says_only_what_was_asked(scene: Scene, tmp_path):
    """Interfaces that a command made are not in the script; and no name can add a line to it."""
    scene.lab.machine.run("ip link add '$(reboot)' type bridge")
    script = scene.lab.commands.script
    assert "reboot" not in script


def test_output_and_commands_stay_text(lab: Lab):
    h = lab.host("h")
    words = "<script>alert(1)</script> \x1b[31m $(reboot) \u202e"
    assert h.run(["printf", "%s", words]).stdout == words
    job = h.start(["printf", "%s", words])
    assert job.command.startswith("printf %s '<script>")
    assert h.run(["true", "<img src=x onerror=alert(1)>"])
    view = Topology(lab.recording)
    assert view.status["error"] == ""
    view.close()
