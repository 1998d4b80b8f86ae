"""Measurements against the alternatives: each module here has `run()`; `python -m benchmarks` runs them all."""
