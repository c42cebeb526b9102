"""Live views of a recording, the topology and the tables; and the view of a prediction."""

from labkit.widgets.prediction import PredictionView
from labkit.widgets.states import NeighbourStates
from labkit.widgets.tables import Tables
from labkit.widgets.topology import Topology

__all__ = ["NeighbourStates", "PredictionView", "Tables", "Topology"]
