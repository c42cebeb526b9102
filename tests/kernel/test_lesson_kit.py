"""Magics, the terminal inside a host, checks and hints, on a real kernel with every launcher."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from labkit import Lab, LabkitError, check, hint, solution
from labkit.lessons import progress
from labkit.lessons.running import running_labs
from labkit.model import events as ev
from tests.kernel.conftest import wait_for

# %on and %%on


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    yield shell
    InteractiveShell.clear_instance()


@pytest.fixture
def noted(shell, scene):
    """A shell with the scene's variables in it; the magics came with the lab or come now."""
    from labkit.lessons.magics import register_here

    register_here()
    shell.user_ns.update(nginx1=scene.nginx1, nginx2=scene.nginx2, docker0=scene.docker0, n=7)
    return shell


def test_a_lab_brings_the_magics_along(shell, launcher):
    with Lab("magic", launcher=launcher):
        assert "on" in shell.magics_manager.magics["line"]
        assert "on" in shell.magics_manager.magics["cell"]


def test_a_line_and_a_cell_run_in_the_host(noted, capsys):
    noted.run_cell("%on nginx-1 ip -br address show eth0; echo {n} ${n} | awk '{print $1}'")
    out = capsys.readouterr().out
    assert "172.17.0.2/16" in out
    assert out.splitlines()[-1] == "7"
    noted.run_cell(
        "%%on nginx2\necho first\nls /no/such\nping -c 1 {nginx1} | grep -o ' 0% .*loss'"
    )
    out = capsys.readouterr().out
    assert re.fullmatch(r"first\nls: .*No such file.*\n 0% packet loss\n", out)


def test_a_failing_command_shows_its_exit_code(noted, capsys):
    result = noted.run_cell("%on nginx-1 sh -c 'exit 3'")
    assert result.success
    assert "[nginx-1: exit code 3]" in capsys.readouterr().err
    noted.run_cell("%on nginx-1 no-such-command")
    captured = capsys.readouterr()
    assert "not found" in captured.out
    assert "exit code 127" in captured.err


def test_output_comes_while_the_command_runs(noted, scene, monkeypatch):
    import io

    heard = io.StringIO()
    monkeypatch.setattr(sys, "stdout", heard)
    done = threading.Event()

    def run():
        noted.run_cell("%on nginx-1 echo begin; read line </run/labkit/go; echo end-é")
        done.set()

    scene.nginx1.run("mkfifo /run/labkit/go")
    thread = threading.Thread(target=run)
    thread.start()
    wait_for(lambda: "begin" in heard.getvalue())
    assert not done.is_set()
    scene.nginx1.run("echo on >/run/labkit/go")
    assert done.wait(10)
    thread.join()
    assert heard.getvalue() == "begin\nend-é\n"


def test_what_was_printed_is_let_go_of(scene):
    from labkit.lessons.magics import stream

    assert stream(scene.nginx1, "head -c 300000 /dev/zero | tr '\\0' x") == 0
    with pytest.raises(LabkitError, match="kept no longer"):
        last = max(e.job for e in scene.lab.recording.events if isinstance(e, ev.ProcessStarted))
        from labkit.model import wire

        scene.lab._command(wire.JobOutput, job=last)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("%on nginx-9 ls", "The hosts are: nginx-1, nginx-2, machine"),
        ("%on", "Which host?"),
        ("%on nginx-1", "no command"),
        ("%%on nginx-1 ls\nls", "a host alone"),
        ("%on other/nginx-1 ls", "no host 'other/nginx-1'"),
    ],
)
def test_a_slip_is_answered_in_words(noted, capsys, cell, words):
    result = noted.run_cell(cell)
    assert isinstance(result.error_in_exec, LabkitError)
    out = capsys.readouterr().out
    assert words in out
    assert "Traceback" not in out


def test_host_names_complete(noted):
    def complete(text):
        with provisionalcompleter():
            return [c.text for c in noted.Completer.completions(text, len(text))]

    assert complete("%on ngi") == ["nginx-1", "nginx-2"]
    assert complete("%%on nginx") == ["nginx-1", "nginx-2"]
    assert "machine" in complete("%on ")
    assert "nginx-1" not in complete("%on nginx-1 ngi")


# Exercises


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv(progress.FOLDER, str(tmp_path))
    return tmp_path / progress.FILE


@pytest.mark.parametrize("name", ["refill", "nobody", "third-container"])
def test_an_exercise_is_unsolved_then_helped_then_solved(scene, kept, name):
    scene.nginx1.ping(scene.nginx2)
    assert check(name, lab=scene.lab).answer == "not yet"
    hints = [hint(name, lab=scene.lab) for _ in range(4)]
    assert [h.title[-6:] for h in hints] == ["1 of 3", "2 of 3", "3 of 3", "3 of 3"]
    worked = solution(name)
    for one in hints:
        assert worked.text.strip() not in one.text
    names = {"lab": scene.lab, "docker0": scene.docker0}
    exec(worked.text, names | {"nginx1": scene.nginx1, "nginx2": scene.nginx2})
    verdict = scene.lab.check(name)
    assert verdict, verdict
    assert progress.read()[name].keys() == {"hints", "solution", "passed"}
    assert "It is done" in hint(name, lab=scene.lab).text


def test_any_route_to_the_effect_passes(scene, kept):
    """By commands alone, as root of the lab would: no friendly call is looked for."""
    scene.lab.machine.run(
        "ip netns add c3 && ip link add v3 type veth peer name eth0 netns c3 && "
        "ip link set v3 master docker0 up && ip -n c3 link set eth0 up && "
        "ip -n c3 address add 172.17.0.9/16 dev eth0"
    )
    scene.nginx1.ping(scene.nginx2)
    scene.lab.machine.run(
        "bridge link set dev v3 learning on; ip link set docker0 type bridge fdb_flush"
    )
    scene.nginx1.ping(scene.nginx2)
    assert check("refill", lab=scene.lab)


def test_a_namespace_made_by_hand_stays(scene):
    """As on a real machine: in the next cell too, beside the lab's own, which come and go."""
    machine, nginx1 = scene.lab.machine, scene.nginx1
    assert machine.run("ip netns add own && ip netns exec own ip link set lo up")
    assert "UP" in machine.run("ip netns exec own ip -br link show lo").stdout
    own = machine.run("ip netns exec own readlink /proc/self/ns/net").stdout
    assert own not in (machine.run("readlink /proc/self/ns/net").stdout, "")
    nginx1.remove()
    again = scene.lab.host("nginx-1")
    assert again.run("ls /sys/class/net").stdout == "lo\n"
    assert machine.run("ip netns exec own true")
    assert machine.run("ip netns del own")
    assert "own" not in machine.run("ip netns list").stdout


def test_a_lab_that_has_ended_cannot_be_told(scene, kept):
    scene.lab.close()
    assert check("refill", lab=scene.lab).answer != "passed"


def test_what_is_gone_is_not_yet(lab, kept):
    """A host whose cable was pulled out has no MAC address to pin."""
    lab.bridge("sw1")
    lab.host("h3")
    verdict = check("pinned", lab=lab)
    assert verdict.answer == "not yet"
    assert "h3 has no interface but lo" in str(verdict)


def test_a_check_is_in_no_event(scene, kept):
    scene.lab._state(None)
    before = list(scene.lab.recording.events)
    commands = str(scene.lab.commands)
    check("third-container", lab=scene.lab)
    assert str(scene.lab.commands) == commands
    new = scene.lab.recording.events[len(before) :]
    assert not [e for e in new if isinstance(e, ev.ProcessStarted | ev.ProcessEnded | ev.Applied)]


# labkit shell

PROMPT = r"nginx-1\S*:[^\n]*# "  # its escape sequences included


class Terminal:
    """`labkit shell` at the other end of a pseudo-terminal."""

    def __init__(self, *arguments: str) -> None:
        self.text = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever runs the tests may ignore it
            environment = {**os.environ, "TERM": "dumb", "HOME": "/nowhere"}
            argv = [sys.executable, "-m", "labkit", "shell", *arguments]
            os.execve(argv[0], argv, environment)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def read(self) -> bool:
        """Takes in what there is; False at the end."""
        ready, _, _ = select.select([self.fd], [], [], 0.05)
        if not ready:
            return True
        try:
            data = os.read(self.fd, 4096)
        except OSError:
            return False
        self.text += data.decode(errors="replace")
        return bool(data)

    def expect(self, pattern: str) -> None:
        """Reads until that has been printed, and forgets all up to it."""
        deadline = time.monotonic() + 60
        while not (found := re.search(pattern, self.text)):
            alive = self.read()
            assert alive, f"ended with: {self.text!r}"
            assert time.monotonic() < deadline, f"only this was printed: {self.text!r}"
        self.text = self.text[found.end() :]

    def rest(self) -> str:
        wait_for(lambda: not self.read(), 15)
        return self.text

    def exit_code(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        os.close(self.fd)
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.exit_code()


@pytest.fixture
def terminal(scene):
    terminal = Terminal(f"{os.getpid()}/nginx-1")
    yield terminal
    terminal.close()


def test_a_terminal_is_in_the_host(scene, terminal):
    terminal.expect("inside nginx-1 of the lab test")
    terminal.expect(PROMPT)
    inode = scene.nginx1.run("readlink /proc/self/ns/net").stdout.strip()
    terminal.type("readlink /proc/self/ns/net\r")
    terminal.expect(re.escape(inode))
    terminal.type("ls /sys/class/net; ip -br address show eth0\r")
    terminal.expect(r"eth0\s+lo(.|\n)*172\.17\.0\.2/16")


def test_a_terminal_has_job_control(scene, terminal):
    def in_the_foreground() -> bool:  # ps marks it with + (ps(1))
        return "+" in scene.nginx1.run("ps -o stat= -C sleep").stdout

    terminal.expect(PROMPT)
    terminal.type("sleep 600\r")
    wait_for(in_the_foreground, 60)
    terminal.type("\x1a")
    terminal.expect(r"Stopped\s+sleep 600")
    terminal.expect(PROMPT)
    assert not in_the_foreground()
    terminal.type("fg\r")
    wait_for(in_the_foreground, 60)
    terminal.type("\x03")
    terminal.expect(PROMPT)
    terminal.type("echo code $?\r")
    terminal.expect("code 130")
    terminal.type("exit 4\r")
    terminal.rest()
    assert terminal.exit_code() == 4


def test_a_terminal_ends_with_the_lab(scene, terminal):
    terminal.expect(PROMPT)
    scene.lab.close()
    assert "the lab test has ended" in terminal.rest()


def test_commands_from_a_pipe(scene, launcher):
    done = labkit_shell(
        f"{os.getpid()}/nginx-2", text="hostname -I; ip -br address show eth0; exit 5"
    )
    assert "172.17.0.3/16" in done.stdout
    assert done.returncode == 5
    assert not done.stderr


def test_a_namespace_made_in_a_terminal_of_the_machine_stays(scene):
    done = labkit_shell(f"{os.getpid()}/machine", text="ip netns add own; ls /sys/class/net")
    assert "docker0" in done.stdout
    assert scene.lab.machine.run("ip netns exec own true")


@pytest.mark.alone
def test_labs_and_hosts_are_listed_when_unsure(scene, launcher):
    with Lab("an-other", launcher=launcher) as other:
        other.host("nginx-1")
        own = {lab.name: lab for lab in running_labs() if lab.kernel == os.getpid()}
        assert set(own) == {"test", "an-other"}
        assert own["test"].hosts == ("nginx-1", "nginx-2", "machine")
        for wanted, words in (("", "Which host?"), ("no-such", "No lab of yours has a host")):
            done = labkit_shell(*([wanted] if wanted else []))
            assert done.returncode == 1
            assert words in done.stderr
            assert "test: nginx-1, nginx-2, machine" in done.stderr
        done = labkit_shell("nginx-1")
        assert "More than one of your labs has a host 'nginx-1'" in done.stderr
        inode = other["nginx-1"].run("readlink /proc/self/ns/net").stdout
        assert labkit_shell("an-other/nginx-1", text="readlink /proc/self/ns/net").stdout == inode


def test_nothing_is_left_of_a_killed_notebook(launcher):
    code = (
        "from labkit import Lab; import sys\n"
        f"lab = Lab('killed', launcher={launcher!r}); lab.host('h')\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    notebook = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert notebook.stdout.readline() == "ready\n"
    assert [lab for lab in running_labs() if lab.kernel == notebook.pid]
    notebook.kill()
    notebook.wait()
    notebook.stdin.close()
    notebook.stdout.close()
    wait_for(lambda: not [lab for lab in running_labs() if lab.name == "killed"])


def labkit_shell(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "labkit", "shell", *arguments]
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=False, timeout=30)
