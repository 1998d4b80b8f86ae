"""Loads Currents files: every event exactly once, despite repeated deliveries, damaged files and killed runs."""

from perennial.currents.commit import finish_pending_loads
from perennial.currents.load import LoadOutcome, load_interactions

__all__ = ["LoadOutcome", "finish_pending_loads", "load_interactions"]
