"""The exercises, one module a lesson: `lesson_NN.py` for `notebooks/source/NN-….py`."""
