"""The example's configuration, as the test can run it: users that no machine has, no passwords.

Each user is an id from 61100 on, so that no account has to be made, or removed again.
"""

import os
import re
from pathlib import Path

from jupyterhub.auth import DummyAuthenticator
from jupyterhub.spawner import SimpleLocalProcessSpawner

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ["LABKIT_HUB_FOLDER"])
FIRST = 61100

c = get_config()  # noqa: F821
exec((ROOT / "examples/jupyterhub_config.py").read_text())


class Numbered(SimpleLocalProcessSpawner):
    """A student's server as a user of their own, by number."""

    def _id(self) -> int:
        return FIRST + int(re.sub(r"\D", "", self.user.name))

    def make_preexec_fn(self, name: str):
        home, number = FOLDER / name, self._id()
        home.mkdir(mode=0o700, exist_ok=True)
        os.chown(home, number, number)

        def enter() -> None:
            os.setgroups([])
            os.setgid(number)
            os.setuid(number)
            os.umask(0o077)
            os.chdir(home)

        return enter

    def user_env(self, env):
        home = str(FOLDER / self.user.name)
        return {
            **env,
            "USER": self.user.name,
            "HOME": home,
            "SHELL": "/bin/sh",
            "PYTHONPATH": str(ROOT),
        }


c.JupyterHub.bind_url = os.environ["LABKIT_HUB_URL"]
c.JupyterHub.hub_bind_url = os.environ["LABKIT_HUB_URL"].replace(":8", ":9")
c.JupyterHub.spawner_class = Numbered
c.JupyterHub.authenticator_class = DummyAuthenticator
c.JupyterHub.db_url = f"sqlite:///{FOLDER}/hub.sqlite"
c.JupyterHub.cookie_secret_file = f"{FOLDER}/cookie"
c.ConfigurableHTTPProxy.command = [os.environ["LABKIT_PROXY"]]
c.ConfigurableHTTPProxy.api_url = os.environ["LABKIT_HUB_URL"].replace(":8", ":7")
c.ConfigurableHTTPProxy.pid_file = f"{FOLDER}/proxy.pid"
c.Authenticator.allow_all = True
c.Spawner.default_url = "/lab"
c.JupyterHub.services = [{"name": "test", "api_token": os.environ["LABKIT_HUB_TOKEN"]}]
c.JupyterHub.load_roles = [
    {
        "name": "test",
        "scopes": ["admin:users", "admin:servers", "tokens", "access:servers", "shutdown"],
        "services": ["test"],
    }
]
