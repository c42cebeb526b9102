"""The lessons: how notebooks are built from their sources."""
