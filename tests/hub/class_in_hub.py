"""A class in JupyterHub, on the real path: proxy, hub, a server and a kernel a student, a lab in each.

``python tests/hub/class_in_hub.py [STUDENTS]``, as root, in an environment with JupyterHub (see
requirements.txt here) and with the project's own packages. Exit status 0 when all is as it must be.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from bench import classroom  # noqa: E402

LATE = 240
TOKEN = secrets.token_hex(16)


def free_ports() -> int:
    """A port 8xxx of which 7xxx and 9xxx are free, too."""
    for port in range(8100, 8999):
        with socket.socket() as a, socket.socket() as b, socket.socket() as c:
            try:
                for one, number in ((a, port), (b, port + 1000), (c, port - 1000)):
                    one.bind(("127.0.0.1", number))
            except OSError:
                continue
            return port
    raise RuntimeError("no free ports")


class Hub:
    def __init__(self, url: str) -> None:
        self.url = url
        AsyncHTTPClient.configure(None, max_clients=100)
        self.http = AsyncHTTPClient()

    async def ask(self, path: str, method: str = "GET", token: str = TOKEN, body=None):
        text = None if method in ("GET", "DELETE") else json.dumps(body or {})
        headers = {"Authorization": f"token {token}"}
        wanted = HTTPRequest(
            self.url + path, method, headers, text, request_timeout=LATE, connect_timeout=LATE
        )
        answer = await self.http.fetch(wanted)
        return json.loads(answer.body or "null")

    async def begin(self) -> None:
        """Waits until it answers."""
        deadline = time.monotonic() + LATE
        while True:
            try:
                await self.ask("/hub/api/")
            except (OSError, HTTPClientError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.3)
            else:
                return

    async def student(self, number: int) -> tuple[str, str]:
        """A user with a running server; name and token."""
        name = f"learner{number:02d}"
        await self.ask(f"/hub/api/users/{name}", "POST")
        token = (await self.ask(f"/hub/api/users/{name}/tokens", "POST"))["token"]
        await self.ask(f"/hub/api/users/{name}/server", "POST")
        deadline = time.monotonic() + LATE
        while not (await self.ask(f"/hub/api/users/{name}"))["servers"].get("", {}).get("ready"):
            if time.monotonic() > deadline:
                raise TimeoutError(name)
            await asyncio.sleep(0.5)
        return name, token

    async def run(self, name: str, token: str, kernel: str, code: str) -> dict:
        """Runs a cell over the websocket; what it printed, decoded."""
        url = self.url.replace("http", "ws") + f"/user/{name}/api/kernels/{kernel}/channels"
        headers = {"Authorization": f"token {token}"}
        line = await websocket_connect(HTTPRequest(url, headers=headers, request_timeout=LATE))
        number = uuid.uuid4().hex
        header = {
            "msg_id": number,
            "msg_type": "execute_request",
            "session": number,
            "version": "5.3",
        }
        header |= {"username": name, "date": "2026-01-01T00:00:00Z"}
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        await line.write_message(json.dumps({**message, "channel": "shell", "buffers": []}))
        printed = []
        while True:
            told = json.loads(await asyncio.wait_for(line.read_message(), LATE))
            if told["parent_header"].get("msg_id") != number:
                continue
            if told["msg_type"] == "stream":
                printed.append(told["content"]["text"])
            elif told["msg_type"] == "error":
                raise RuntimeError("\n".join(told["content"]["traceback"]))
            elif told["msg_type"] == "execute_reply":
                break
        await asyncio.sleep(0)
        deadline = time.monotonic() + 10  # what was printed may come after the reply
        while not printed and time.monotonic() < deadline:
            told = json.loads(await asyncio.wait_for(line.read_message(), 10))
            if told["msg_type"] == "stream":
                printed.append(told["content"]["text"])
        line.close()
        return json.loads("".join(printed).splitlines()[-1])


async def school(url: str, students: int) -> list[str]:
    hub = Hub(url)
    await hub.begin()
    begin = time.perf_counter()
    people = await asyncio.gather(*(hub.student(n) for n in range(students)))
    servers = time.perf_counter()
    kernels = await asyncio.gather(
        *(hub.ask(f"/user/{n}/api/kernels", "POST", t, {"name": "python3"}) for n, t in people)
    )
    told = await asyncio.gather(
        *(
            hub.run(
                name, token, kernel["id"], f"STUDENT = {0x1AB00000 + n}\n{classroom.EXPERIMENT}"
            )
            for n, ((name, token), kernel) in enumerate(zip(people, kernels, strict=True))
        )
    )
    done = time.perf_counter()
    trees = [classroom.family(server_of(one["agent"])) for one in told]
    found = {
        "students": students,
        "kernels_s": servers - begin,
        "experiment_s": done - servers,
        "told": told,
        "lab_mb": [classroom.memory(classroom.family(one["agent"])) for one in told],
        "student_mb": [classroom.memory(tree) for tree in trees],
    }
    print(classroom.report(found))
    wrong = classroom.problems(found)
    users = {os.stat(f"/proc/{one['agent']}").st_uid for one in told}
    if len(users) != students or 0 in users:
        wrong.append(f"labs of {students} students are of the users {users}")
    (first, _), (_, second) = people[0], people[1]
    try:
        await hub.ask(f"/user/{first}/api/kernels", token=second)
    except HTTPClientError as error:
        if error.code not in (403, 404):
            wrong.append(f"another student's server answers {error.code}")
    else:
        wrong.append("a student's kernels are told to another student")
    for name, _ in people:
        await hub.ask(f"/hub/api/users/{name}/server", "DELETE")
    deadline = time.monotonic() + 30
    while left := [one["agent"] for one in told if os.path.exists(f"/proc/{one['agent']}")]:  # noqa: ASYNC240
        if time.monotonic() > deadline:
            wrong.append(f"labs outlive their servers: {left}")
            break
        await asyncio.sleep(0.2)
    return wrong


def server_of(pid: int) -> int:
    """The single-user server that a process descends from: the last of its user's going up."""
    user = os.stat(f"/proc/{pid}").st_uid
    while True:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        if os.stat(f"/proc/{parent}").st_uid != user:
            return pid
        pid = parent


def main(students: int) -> int:
    folder = Path(tempfile.mkdtemp(prefix="lk-"))
    folder.chmod(0o755)
    url = f"http://127.0.0.1:{free_ports()}"
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LABKIT_HUB_FOLDER": str(folder),
        "LABKIT_HUB_URL": url,
        "LABKIT_HUB_TOKEN": TOKEN,
        "LABKIT_PROXY": os.environ.get("LABKIT_PROXY", "configurable-http-proxy"),
    }
    log = (folder / "log").open("wb")
    config = Path(__file__).with_name("hub_config.py")
    hub = subprocess.Popen(
        [sys.executable, "-m", "jupyterhub", "-f", str(config)],
        env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    try:
        wrong = asyncio.run(school(url, students))
    except BaseException:
        print((folder / "log").read_text()[-6000:], file=sys.stderr)
        raise
    finally:
        hub.send_signal(signal.SIGTERM)
        hub.wait(60)
        log.close()
        shutil.rmtree(folder)
    print("\n".join(wrong) or "All correct; each lab is its student's own.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
