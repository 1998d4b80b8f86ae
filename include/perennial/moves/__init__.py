"""The use cases: expire what is due, restore what was requested, finish what a dead run left behind.

Each is a series of small steps that Airflow can run, repeat and distribute; `expire_sources` and `restore_sources` run
the same steps in one process.
"""

from perennial.moves.inline import expire_sources, restore_sources
from perennial.moves.requests import RestoreRequest
from perennial.operations import Run

__all__ = ["RestoreRequest", "Run", "expire_sources", "restore_sources"]
