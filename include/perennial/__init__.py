"""Perennial: a life cycle for messaging interaction data.

Data of campaigns and Canvases that have been inactive for three months moves to long-term storage, is never deleted,
and comes back in minutes. `docs/architecture.md` is the map; rules, which code cites by number, are in
`docs/rules.md`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import pyarrow as pa
    from duckdb import DuckDBPyConnection


def connect() -> DuckDBPyConnection:
    """Open a DuckDB connection with every table and view of the configured warehouse.

    The views show the tables as they are now; connect again to see later commits. Where some of them leave expired
    interactions out, a line on standard error says so (R16).
    """
    from perennial.engines.analysts import open_described_session
    from perennial.exports.queries import what_is_left_out
    from perennial.settings import Settings
    from perennial.warehouse import Warehouse

    warehouse = Warehouse(Settings.from_environment())
    connection = open_described_session(warehouse)
    _say(what_is_left_out(warehouse, connection))
    return connection


def query(sql: str, params: Mapping[str, Any] | None = None) -> pa.Table:
    """Query every table and view of the configured warehouse, as they are now, on the engine of PERENNIAL_ENGINE_URL.

    The statement is in that engine's own SQL: the tables and views it names are inserted, as of one moment, and it is
    otherwise sent as it is.

    If the answer leaves expired interactions out, a line on standard error says so (R16).

    Args:
        sql: One SELECT, with `$name` for a value in DuckDB, `:name` in Spark, Athena and Trino.
        params: The values.

    Returns:
        The whole answer, in memory.

    Raises:
        TerminalRequestError: It is not exactly one SELECT.
        TerminalEngineError: The engine refuses the statement or the login.
        TransientEngineError: The engine could not be reached, or gave up.
    """
    from perennial.engines.analysts import open_query_session
    from perennial.engines.read_only import refuse_writes
    from perennial.exports.queries import narrowed_query, what_is_left_out
    from perennial.settings import IN_PROCESS, Settings
    from perennial.warehouse import Warehouse

    settings = Settings.from_environment()
    if settings.engine_url.startswith(IN_PROCESS):
        refuse_writes(sql, "perennial.query()")
    warehouse = Warehouse(settings)
    with open_query_session(warehouse) as session:
        answer = session.ask(sql, params).read_all()
        if narrowed := narrowed_query(sql, params, session.dialect):
            _say(what_is_left_out(warehouse, session.connection, narrowed))
    return answer


def _say(line: str) -> None:
    # Not a warning, which may be raised as an error, and not a log record, which may be shown nowhere.
    if line:
        sys.stderr.write(f"{line}\n")
