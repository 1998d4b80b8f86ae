"""Perennial: a life cycle for messaging interaction data.

Data of campaigns and Canvases that have been inactive for three months moves to long-term storage, is never deleted,
and comes back in minutes. `docs/architecture.md` is the map; the rules R1-R18 are cited where they are implemented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import pyarrow as pa
    from duckdb import DuckDBPyConnection


def connect() -> DuckDBPyConnection:
    """Open a DuckDB connection with every table and view of the configured warehouse in place.

    The views show the tables as they are now; connect again to see later commits.
    """
    from perennial.engines.duckdb import open_session
    from perennial.settings import Settings
    from perennial.warehouse import Warehouse

    return open_session(Warehouse(Settings.from_environment()))


def query(sql: str, params: Mapping[str, Any] | None = None) -> pa.Table:
    """Ask the engine of PERENNIAL_ENGINE_URL about every table and view of the configured warehouse, as they are now.

    Args:
        sql: One SELECT in DuckDB's dialect, whichever the engine is; `$name` for a value.
        params: The values.

    Returns:
        The whole answer, in memory.

    Raises:
        TerminalEngineError: The engine refuses the statement or the login.
        TransientEngineError: It could not be reached, or gave up.
    """
    from perennial.engines.analysts import open_facts
    from perennial.settings import Settings
    from perennial.warehouse import Warehouse

    with open_facts(Warehouse(Settings.from_environment())) as facts:
        return facts.query(sql, params).read_all()
