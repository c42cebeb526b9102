"""Views of a recording: the topology, the tables, and both at any instant of it."""

from labkit.widgets.tables import Tables
from labkit.widgets.timeline import Timeline
from labkit.widgets.topology import Topology

__all__ = ["Tables", "Timeline", "Topology"]
