"""Views of a recording: the topology and the tables, live, and the player of a journey."""

from labkit.widgets.player import Player
from labkit.widgets.tables import Tables
from labkit.widgets.topology import Topology

__all__ = ["Player", "Tables", "Topology"]
