"""Perennial: a life cycle for messaging interaction data.

Data of campaigns and Canvases that have been inactive for three months moves to long-term storage, is never deleted,
and comes back in minutes. `docs/architecture.md` is the map; the rules R1-R18 are cited where they are implemented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def connect() -> DuckDBPyConnection:
    """Open a DuckDB connection with every table and view of the configured warehouse in place.

    The views show the tables as they are now; connect again to see later commits.
    """
    from perennial.engines.duckdb import open_session
    from perennial.settings import Settings
    from perennial.warehouse import Warehouse

    return open_session(Warehouse(Settings.from_environment()))
