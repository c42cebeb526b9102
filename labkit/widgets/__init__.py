"""Live views of a recording: the topology, and the tables."""

from labkit.widgets.tables import Tables
from labkit.widgets.topology import Topology

__all__ = ["Tables", "Topology"]
