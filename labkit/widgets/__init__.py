"""Views of a recording, live or at any instant; a journey's player; a prediction."""

from labkit.widgets.player import Player
from labkit.widgets.prediction import PredictionView
from labkit.widgets.states import NeighbourStates
from labkit.widgets.tables import Tables
from labkit.widgets.timeline import Timeline
from labkit.widgets.topology import Topology

__all__ = ["NeighbourStates", "Player", "PredictionView", "Tables", "Timeline", "Topology"]
