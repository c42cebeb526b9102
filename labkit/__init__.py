"""Build real networks of Linux namespaces in a notebook, and watch the kernel at work.

>>> from labkit import Lab
>>> lab = Lab("docker0")
>>> docker0 = lab.bridge("docker0", "172.17.0.1/16")
>>> nginx1 = lab.host("nginx-1")
>>> lab.cable(nginx1, docker0, "172.17.0.2/16")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.errors import LabkitError
    from labkit.lab import Lab
    from labkit.launch.doctor import doctor
    from labkit.lessons.exercise import check, hint, solution
    from labkit.lessons.predict import predict
    from labkit.lessons.progress import progress
    from labkit.recording import Recording

__version__ = "0.1.0"
__all__ = [
    "Lab",
    "LabkitError",
    "Recording",
    "__version__",
    "check",
    "doctor",
    "hint",
    "predict",
    "progress",
    "solution",
]

_HOME = {
    "Lab": "labkit.lab",
    "LabkitError": "labkit.errors",
    "Recording": "labkit.recording",
    "check": "labkit.lessons.exercise",
    "doctor": "labkit.launch.doctor",
    "hint": "labkit.lessons.exercise",
    "predict": "labkit.lessons.predict",
    "progress": "labkit.lessons.progress",
    "solution": "labkit.lessons.exercise",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that `import labkit` is quick."""
    if name not in _HOME:
        raise AttributeError(f"module 'labkit' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext labkit``: the magics before there is a lab, which brings them along."""
    from labkit.lessons.magics import register

    register(shell)


def __dir__() -> list[str]:
    return sorted(__all__)
