"""From the model to pictures: Graphviz sources, and positions for the live view."""
