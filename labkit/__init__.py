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
    from labkit.recording import Recording

__version__ = "0.1.0"
__all__ = ["Lab", "LabkitError", "Recording", "__version__"]

_HOME = {"Lab": "labkit.lab", "LabkitError": "labkit.errors", "Recording": "labkit.recording"}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that `import labkit` is quick."""
    if name not in _HOME:
        raise AttributeError(f"module 'labkit' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
