"""The doctor's report: its text, its JSON, its verdict and exit status."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

import labkit
from labkit import __version__, cli
from labkit.launch import doctor
from labkit.launch.doctor import examine
from labkit.launch.machine import Machine
from labkit.launch.report import Check, Report
from labkit.launch.uml import Uml


class Fake(Machine):
    """A user's ordinary machine, but for what is `missing` or what unshare answers."""

    system = "linux"

    def __init__(self, missing: Sequence[str] = (), answer: tuple[int, str] = (0, "")) -> None:
        self._missing = missing
        self._answer = answer

    def read(self, path: str) -> str | None:
        return None

    def exists(self, path: str) -> bool:
        return True

    def euid(self) -> int:
        return 1000

    def which(self, program: str) -> str | None:
        return None if program in self._missing else f"/usr/bin/{program}"

    def attempt(self, argv: list[str]) -> tuple[int, str]:
        return self._answer


@pytest.fixture(autouse=True)
def features(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """What the kernel answers, instead of a real trial."""
    monkeypatch.delenv("LABKIT_LAUNCHER", raising=False)
    answers = dict.fromkeys(range(len(doctor.FEATURES)), "")
    monkeypatch.setattr(doctor, "try_features", lambda *_: answers)
    return answers


def test_a_machine_that_has_everything() -> None:
    report = examine(Fake())
    assert report.ok
    assert report.launcher == "rootless"
    assert "✓ rootless" in str(report)
    assert "✗ root:" in str(report)
    assert "A live lab is possible here" in str(report)


def test_an_optional_lack_is_told_and_is_no_obstacle(features: dict[int, str]) -> None:
    features[4] = "Error: Specified qdisc kind is unknown."
    report = examine(Fake(missing=["brctl", "nft"]))
    assert report.ok
    text = str(report)
    assert "✗ brctl: the text's commands for bridges [optional]" in text
    assert "sudo apt-get install bridge-utils" in text
    assert "Not tried: the program nft" in text
    assert "qdisc kind is unknown" in text
    assert "sudo modprobe sch_netem" in text


@pytest.mark.parametrize("missing", ["ip", "bridge", "ping"])
def test_a_needed_program_that_lacks(missing: str) -> None:
    report = examine(Fake(missing=[missing]))
    assert not report.ok
    assert "No live lab is possible" in str(report)
    assert f"The program {missing} is not installed." in str(report)


def test_a_kernel_without_bridges(features: dict[int, str]) -> None:
    features[0] = "Error: Unknown device type."
    report = examine(Fake())
    assert not report.ok
    assert "CONFIG_BRIDGE" in str(report)


def test_no_launcher() -> None:
    report = examine(Fake(answer=(1, "unshare: no idea")))
    assert not report.ok
    assert report.launcher is None
    assert "Not tried: no launcher works here." in str(report)


def test_the_launcher_that_is_asked_for_is_the_one_that_is_told(
    features: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    features[4] = "Error: Specified qdisc kind is unknown."
    small = Fake(answer=(0, ""))
    monkeypatch.setattr(Uml, "probe", lambda *_: None)
    text = str(examine(small))
    assert "LABKIT_LAUNCHER=uml" in text
    monkeypatch.setenv("LABKIT_LAUNCHER", "uml")
    report = examine(small)
    assert report.launcher == "uml"
    assert "built without it" in str(report)
    monkeypatch.setenv("LABKIT_LAUNCHER", "root")  # which does not work for this user
    assert not examine(small).ok


def test_json_holds_the_whole_report() -> None:
    report = examine(Fake(missing=["dot"]))
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_friendly_words_come_first(features: dict[int, str]) -> None:
    """Which launcher, the others and why not, what lacks and one command for it."""
    features[2] = features[4] = "Error: Unknown device type."
    words = str(examine(Fake(missing=["dot", "brctl"]))).split("\n\n")[1].splitlines()
    assert words[0] == "✓ A live lab is possible here, with the launcher rootless."
    assert words[1].startswith("A lab starts as any user, in a user namespace besides.")
    assert "sudo would work, too: Lab(…, launcher='sudo') asks for it." in words[1]
    assert "Not root: You are not root (your user id is 1000)." in words[1]
    assert words[2] == "Optional, and not here (the rest works without):"
    text = "\n".join(words[3:])
    assert "→ sudo apt-get install graphviz bridge-utils" in text
    assert "802.1Q (VLAN interfaces)" in text
    assert "apt-get install linux-" not in text, "the alternatives are among the details"


def test_without_a_launcher_the_remedies_come_first() -> None:
    report = examine(Fake(missing=["sudo"], answer=(1, "unshare: no idea")))
    words = str(report).split("\n\n")[1]
    assert words.startswith("✗ No live lab is possible here yet.")
    for launcher in ("root", "rootless", "sudo", "uml"):
        assert f"\n  {launcher}: " in words
    assert words.count("\n  → ") == 4
    assert "bridge" not in words, "what was not tried lacks not"


def test_what_is_needed_has_its_whole_remedy(features: dict[int, str]) -> None:
    features[0] = "Error: Unknown device type."
    words = str(examine(Fake())).split("\n\n")[1]
    assert "What is missing, and how to get it:" in words
    assert "bridge (lab.bridge())" in words
    assert "CONFIG_BRIDGE" in words


def test_the_notebook_folds_the_details_and_takes_words_as_words(features: dict[int, str]) -> None:
    features[4] = "<script>alert(1)</script>"
    page = examine(Fake(missing=["dot"]))._repr_html_()
    friendly, details = page.split("<details>")
    assert "✓ A live lab is possible here" in friendly
    assert "apt-get install graphviz" in friendly
    assert "Python packages" not in friendly
    assert "Python packages" in details
    assert "&lt;script&gt;" in details
    assert "<script" not in page


def test_all_well_is_said_in_three_lines() -> None:
    words = str(examine(Fake())).split("\n\n")[1].splitlines()
    assert words[-1] == "Everything that the lessons use is here."
    assert len(words) == 3


def test_a_launcher_that_does_not_work_and_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_LAUNCHER", "root")
    words = str(examine(Fake())).split("\n\n")[1]
    assert "LABKIT_LAUNCHER asks for 'root'" in words
    assert "You are not root" in words
    monkeypatch.setenv("LABKIT_LAUNCHER", "rot")
    assert "asks for 'rot'" in str(examine(Fake()))


def test_doctor_in_a_notebook_is_the_command_lines_report(monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report(system="s", launcher=None, launchers=(), programs=(), kernel=(), python=())
    monkeypatch.setattr(doctor, "examine", lambda: report)
    assert labkit.doctor() is report
    assert repr(report) == str(report)


def ready(ok: bool) -> Report:
    found = (Check(name="x", use="y", needed=True),)
    launcher = "root" if ok else None
    return Report(
        system="s", launcher=launcher, launchers=found, programs=found, kernel=found, python=found
    )


@pytest.mark.parametrize("ok", [True, False])
def test_exit_status(
    ok: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: ready(ok))
    assert cli.main(["doctor"]) == (0 if ok else 1)
    assert "labkit doctor" in capsys.readouterr().out
    assert cli.main(["doctor", "--json"]) == (0 if ok else 1)
    assert json.loads(capsys.readouterr().out)["ok"] is ok


def test_version_and_bad_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    for argv, status in ((["--version"], 0), ([], 2), (["doctor", "--odd"], 2), (["odd"], 2)):
        with pytest.raises(SystemExit) as caught:
            cli.main(argv)
        assert caught.value.code == status
    assert f"labkit {__version__}" in capsys.readouterr().out


def test_lab_becomes_jupyterlab(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    became: list[list[str]] = []
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "execv", lambda _, argv: became.append(argv))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)
    cli.main(["lab", "--port", "9000"])
    folder = str(tmp_path / "notebooks")
    assert became == [[sys.executable, "-m", "jupyterlab", "--port", "9000", folder]]


def test_lab_without_jupyterlab(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert cli.main(["lab"]) == 1
    assert "make lab" in capsys.readouterr().err
