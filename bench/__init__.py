"""Measurements beside peers: `python -m bench`."""
