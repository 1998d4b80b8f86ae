"""Loading of Currents files: every event exactly once, whatever is delivered twice, damaged, or killed midway."""

from perennial.currents.commit import finish_pending_loads
from perennial.currents.load import LoadOutcome, load_interactions

__all__ = ["LoadOutcome", "finish_pending_loads", "load_interactions"]
