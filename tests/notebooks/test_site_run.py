"""Running a lesson for the static site: what is kept of it, and that nobody in it notices."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from labkit import LabkitError
from labkit.launch.launchers import LAUNCHERS
from labkit.site import __main__ as site
from labkit.site.run import run

LESSON = """\
# %% [markdown] tags=["en"]
# # Small
#
# **What is here?**

# %%
from labkit import Lab, check
before = set(globals())
lab = Lab("small")
docker0 = lab.bridge("docker0", "172.17.0.1/16")
nginx1, nginx2 = lab.host("nginx-1"), lab.host("nginx-2")
lab.cable(nginx1, docker0, "172.17.0.2/16")
lab.cable(nginx2, docker0, "172.17.0.3/16")
lab.watch()

# %%
# solution: refill
nginx1.ping(nginx2)
docker0.flush()
nginx1.ping(nginx2)
# wrong: refill
1
# end: refill

# %%
sorted(set(globals()) - before - {"before"})
"""
needs_a_lab = pytest.mark.skipif(
    all(one.probe() for one in LAUNCHERS), reason="no launcher works here"
)


@needs_a_lab
def test_a_run_keeps_what_each_cell_showed_and_changed(tmp_path):
    source = tmp_path / "00-small.py"
    source.write_text(LESSON)
    with ThreadPoolExecutor(1) as thread:  # the browser tests leave a loop running in this one
        lesson = thread.submit(run, source).result()
    text, first, solved, last = lesson.cells
    assert (text.kind, text.number) == ("markdown", None)
    assert [cell.number for cell in (first, solved, last)] == [1, 2, 3], "nothing else was counted"
    ((model_id, view),) = lesson.views.items()
    assert view.kind == "Tables"
    assert view.traits["status"]["recorded"] is True
    assert first.changes == {}
    # After the cell with the pings the tables hold what they left behind.
    before, after = view.traits["words"], solved.changes[model_id]["words"]
    assert "02:42:ac:11:00:03" not in before
    assert "02:42:ac:11:00:03" in after
    assert (solved.exercise, len(solved.hints)) == ("refill", 3)
    assert "docker0.flush()" in solved.source
    names = last.outputs[0]["data"]["text/plain"]
    assert "'lab'" in names
    assert "inside" not in names
    assert "site" not in names


@needs_a_lab
def test_a_lesson_that_fails_is_named_and_nothing_is_written(tmp_path, monkeypatch):
    broken = tmp_path / "00-broken.py"
    broken.write_text("# %%\n1 / 0\n")
    monkeypatch.setattr(site, "sources", lambda: [broken])
    with pytest.raises(LabkitError, match=r"00-broken does not run(?s:.*)ZeroDivisionError"):
        site.build(tmp_path / "out")
    assert not (tmp_path / "out").exists()
