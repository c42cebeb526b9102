"""What a notebook with a lab takes: its kernel, the lab's agent, and the browser's tab.

Megabytes, each shared page divided among its sharers (PSS), beside the same notebook before it has
a lab. The tab is Chromium's renderer process, with all of JupyterLab in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import browser
from bench.kernel import resident
from bench.report import Report

SHOW = """
from IPython.display import display
display(lab, lab.watch())
assert lab["h0"].ping(lab["h{last}"])
"""
PIDS = """
import os
agent = 0
if "lab" in globals():
    agent = int(open(f"/proc/{lab.agent_pid}/task/{lab.agent_pid}/children").read().split()[0])
print("TOLD", [os.getpid(), agent])
"""


def measured(hosts: int) -> dict[str, dict[str, float]]:
    """Of kernel, agent and tab, before and with a lab."""
    found: dict[str, dict[str, float]] = {}
    with browser.opened() as notebook:
        page = notebook.page
        cdp = page.context.browser.new_browser_cdp_session()
        for moment in ("before", "with"):
            if moment == "with":
                notebook.run_code(browser.SCENE.format(hosts=hosts) + SHOW.format(last=hosts - 1))
                page.locator(".lk-table").first.wait_for()
                page.wait_for_timeout(3000)
            kernel, agent = browser.told(notebook, PIDS)
            found[moment] = {"kernel": resident(kernel)[1], "tab": tab(cdp)}
            if agent:
                found[moment]["agent"] = resident(agent)[1]
    return found


def tab(cdp: Any) -> float:
    """The largest of Chromium's renderers: the page's."""
    processes = cdp.send("SystemInfo.getProcessInfo")["processInfo"]
    pids = [one["id"] for one in processes if one["type"] == "renderer"]
    return max(resident(pid)[1] for pid in pids if Path(f"/proc/{pid}").exists())


def memory(report: Report, hosts: int) -> None:
    """The rows of the report."""
    found = measured(hosts)
    words = {"kernel": "notebook kernel", "tab": "browser tab"}
    for key, name in words.items():
        what = f"{name}'s memory, {hosts} hosts"
        report.add(what, found["with"][key], "MB", "no lab", found["before"][key])
    report.add(f"agent's memory, {hosts} hosts, views", found["with"]["agent"], "MB")
