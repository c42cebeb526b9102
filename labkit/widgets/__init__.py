"""Views of a recording: the topology and the tables, live; a journey's player; a prediction."""

from labkit.widgets.player import Player
from labkit.widgets.prediction import PredictionView
from labkit.widgets.tables import Tables
from labkit.widgets.topology import Topology

__all__ = ["Player", "PredictionView", "Tables", "Topology"]
