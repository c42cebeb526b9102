"""The faults that a mystery may plant, each with its remedy and the way an expert finds it.

A fault is a function of the scene: it draws its details by lot and gives a `Plan`. Its commands
run quietly: the kernel's tables show what they did, the log does not name them.
"""

from labkit.lessons.faults import filters, links, routes, switches
from labkit.lessons.faults.plan import FAULTS, LEVELS, Fault, Plan

__all__ = ["FAULTS", "LEVELS", "Fault", "Plan", "filters", "links", "routes", "switches"]
