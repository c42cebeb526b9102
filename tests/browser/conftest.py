"""A real JupyterLab and a real headless Chromium."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
]


class Jupyter:
    """A running JupyterLab with its own folders and a copy of the notebooks."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(NOTEBOOKS, folder / "notebooks", ignore=shutil.ignore_patterns("source"))
        own = {
            f"JUPYTER_{what}_DIR": str(folder / what.lower())
            for what in ("CONFIG", "DATA", "RUNTIME")
        }
        own["JUPYTERLAB_SETTINGS_DIR"] = str(folder / "settings")
        own["JUPYTERLAB_WORKSPACES_DIR"] = str(folder / "workspaces")
        own["IPYTHONDIR"] = str(folder / "ipython")
        settings = folder / "settings/@jupyterlab"
        quiet = {"fetchNews": "false", "checkForUpdates": False}
        write(settings / "apputils-extension/notification.jupyterlab-settings", quiet)
        # Every cell in the page, also those out of sight: tests look at all of them.
        write(
            settings / "notebook-extension/tracker.jupyterlab-settings", {"windowingMode": "none"}
        )
        self.settings = settings
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jupyterlab",
                "--no-browser",
                "--allow-root",
                "--expose-app-in-browser",
                "--ServerApp.ip=127.0.0.1",
                "--ServerApp.port=0",
                f"--ServerApp.root_dir={folder / 'notebooks'}",
            ],
            env={**os.environ, **own},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stderr is not None
        self.log = ""
        for line in self.process.stderr:
            self.log += line
            found = re.search(r"(http://127\.0\.0\.1:\d+)/lab\S*\?token=(\w+)", line)
            if found:
                self.url, self.token = found.groups()
                break
        else:
            pytest.fail(f"JupyterLab did not start:\n{self.log}")

    def theme(self, name: str) -> None:
        write(self.settings / "apputils-extension/themes.jupyterlab-settings", {"theme": name})

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(20)
        assert self.process.stderr is not None
        self.process.stderr.close()


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    server = Jupyter(tmp_path_factory.mktemp("jupyter"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if program is None:
        pytest.fail("no Chromium on the PATH: make setup-test installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


class Notebook:
    """A notebook open in JupyterLab, its kernel ready."""

    def __init__(self, page: Page, jupyter: Jupyter, name: str) -> None:
        self.page = page
        page.goto(f"{jupyter.url}/lab/tree/{name}?token={jupyter.token}&reset")
        page.wait_for_function(
            """() => {
                const panel = window.jupyterapp?.shell.currentWidget;
                return panel?.sessionContext?.session?.kernel?.status === 'idle'
                    && panel.content.widgets.length > 0;
            }""",
            timeout=60_000,
        )

    def run_all(self) -> None:
        """Runs every cell, and waits until the last has ended."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")

    def run_code(self, code: str) -> None:
        """Puts code into the last code cell that is empty, and runs it."""
        self.page.evaluate(
            """async code => {
                const app = window.jupyterapp;
                await app.commands.execute('notebook:insert-cell-below');
                const cell = app.shell.currentWidget.content.activeCell;
                cell.model.sharedModel.setSource(code);
                await app.commands.execute('notebook:run-cell');
            }""",
            code,
        )

    def errors(self) -> list[str]:
        selector = (
            '[data-mime-type="application/vnd.jupyter.stderr"], .jp-OutputArea-output .ansi-red-fg'
        )
        return self.page.locator(selector).all_inner_texts()


def open_notebook(browser: Browser, jupyter: Jupyter, name: str, **context: object) -> Notebook:
    page = browser.new_context(**context).new_page()
    page.set_default_timeout(30_000)
    return Notebook(page, jupyter, name)


@pytest.fixture
def picture():
    """Takes a screenshot into the folder that LABKIT_SCREENSHOTS names, if it does."""

    def take(target, name: str, **options) -> None:
        folder = os.environ.get("LABKIT_SCREENSHOTS")
        if folder:
            target.screenshot(path=f"{folder}/{name}.png", **options)

    return take
