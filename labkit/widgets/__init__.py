"""Views of a recording: the topology, the tables, both at any instant; and of a prediction."""

from labkit.widgets.prediction import PredictionView
from labkit.widgets.tables import Tables
from labkit.widgets.timeline import Timeline
from labkit.widgets.topology import Topology

__all__ = ["PredictionView", "Tables", "Timeline", "Topology"]
