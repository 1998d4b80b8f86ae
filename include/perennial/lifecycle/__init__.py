"""The use cases: expire what is due, restore what is asked for, settle what a dead run left behind.

Each is a row of small steps, so that Airflow can run, repeat and spread them; `expire_sources` and `restore_sources`
run the same steps in one process.
"""

from perennial.lifecycle.direct import expire_sources, restore_sources
from perennial.lifecycle.requests import RestoreRequest
from perennial.lifecycle.runs import Run

__all__ = ["RestoreRequest", "Run", "expire_sources", "restore_sources"]
