# ruff: noqa: INP001 (a file to copy, of no package)
"""A class on one virtual machine: JupyterHub, an account a student, each with a lab of their own.

Run as root in the folder of the project: ``jupyterhub -f examples/jupyterhub_config.py``.
See docs/classroom.md for what to install, and for what the numbers below rest on.
"""

c = get_config()  # noqa: F821 (given by JupyterHub)

# Students reach the hub by its proxy alone. Put HTTPS in front, or give it here:
# c.JupyterHub.ssl_key, c.JupyterHub.ssl_cert = "/etc/ssl/private/hub.key", "/etc/ssl/certs/hub.crt"
c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.JupyterHub.cleanup_servers = True

# Accounts of the machine (PAM, the default). Only these may log in:
c.Authenticator.allowed_users = {"student01", "student02"}
c.Authenticator.admin_users = {"teacher"}

# Each student's notebooks are processes of the student's own account, and so are their labs.
c.Spawner.default_url = "/lab/tree/notebooks/01-containers-on-one-bridge.ipynb"
c.Spawner.http_timeout = c.Spawner.start_timeout = 60
c.Spawner.environment = {
    # Never as root, whatever else would work here.
    "LABKIT_LAUNCHER": "rootless",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}
c.Spawner.args = [
    # Between a server and its kernels: sockets in the student's own folder. The default, ports on
    # the loopback, lets other users of the machine listen to what a kernel prints. A socket's path
    # may have 107 characters: with homes of long names, set JUPYTER_RUNTIME_DIR to a shorter one.
    "--KernelManager.transport=ipc",
    # A kernel that nobody looks at ends after an hour, and its lab with it.
    "--MappingKernelManager.cull_idle_timeout=3600",
    "--MappingKernelManager.cull_interval=300",
    "--TerminalManager.cull_inactive_timeout=3600",
]
