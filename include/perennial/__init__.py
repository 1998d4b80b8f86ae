"""Perennial: a life cycle for messaging interaction data.

Data of campaigns and Canvases that have been inactive for three months moves to long-term storage, is never deleted,
and comes back in minutes. `docs/architecture.md` is the map; rules, which code cites by number, are in
`docs/rules.md`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from typing import Any

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from perennial.policy.past import Answer
    from perennial.reports import RestoreReport
    from perennial.settings import Settings


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


def sql(query: str, params: Mapping[str, Any] | None = None) -> pa.Table:
    """Query every table and view of the configured warehouse, as they are now, with DuckDB in this process.

    If the answer leaves expired interactions out, a line on standard error says so (R16). This is the command
    `perennial sql`.

    Args:
        query: One statement that reads, in DuckDB's SQL, with `$name` for a value.
        params: The values.

    Returns:
        The whole answer, in memory.

    Raises:
        TerminalRequestError: The statement writes, or is not exactly one.
        TerminalEngineError: DuckDB refuses the statement.
    """
    from dataclasses import replace

    from perennial.settings import IN_PROCESS, Settings

    return _ask(replace(Settings.from_environment(), engine_url=f"{IN_PROCESS}//"), query, params, "perennial.sql()")


def query(sql: str, params: Mapping[str, Any] | None = None) -> pa.Table:
    """Query every table and view of the configured warehouse, as they are now, on the engine of PERENNIAL_ENGINE_URL.

    The statement is in that engine's own SQL: the tables and views it names are inserted, as of one moment, and it is
    otherwise sent as it is. With DuckDB, the default, this is the same as `sql`.

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
    from perennial.settings import Settings

    return _ask(Settings.from_environment(), sql, params, "perennial.query()")


def audience(
    definition: str | Mapping[str, Any], now: datetime | str | None = None, *, strict: bool = False
) -> pa.Table:
    """Find the users of an audience, on the engine of PERENNIAL_ENGINE_URL.

    If the answer leaves expired interactions out, lines on standard error say so, and what that does to it (R16).

    Args:
        definition: The definition, in JSON or as the dictionary that JSON stands for; docs/reference/filters.md.
        now: Moment from which days_ago is counted (a text is ISO 8601; UTC by default). None: the present.
        strict: Whether to fail rather than leave expired data out.

    Returns:
        Column user_id, each user once, in no order.

    Raises:
        TerminalDefinitionError: The definition, or that of a segment it uses, is wrong; names the JSON path.
        TerminalIncompleteError: The answer would leave data out, and `strict` is set.
    """
    import json
    from datetime import UTC, datetime

    from perennial.audiences.evaluate import open_audience
    from perennial.settings import Settings
    from perennial.warehouse import Warehouse

    text = definition if isinstance(definition, str) else json.dumps(definition)
    at = _moment("now", now) or datetime.now(UTC)
    with open_audience(Warehouse(Settings.from_environment()), text, at, strict) as found:
        _say(found.completeness.warning(), found.completeness.remedy())
        return found.users().read_all()


def explain(source: str, as_of: datetime | str | None = None) -> Answer:
    """Explain what an expiry would decide about a source: its clock, the date, who keeps it. `print` the answer.

    A moment of the past is answered from what was decided then and from the tables as they were, one to come from the
    tables as they are.

    Args:
        source: Id of a campaign or Canvas.
        as_of: Decide as of this moment (a text is ISO 8601; UTC by default). None: the present.

    Raises:
        TerminalRequestError: The source is not known; names the nearest one.
    """
    from datetime import UTC, datetime

    from perennial.operations import sources_under_way
    from perennial.policy.past import explain_at
    from perennial.settings import Settings
    from perennial.warehouse import Warehouse

    warehouse, now = Warehouse(Settings.from_environment()), datetime.now(UTC)
    at = _moment("as_of", as_of) or now
    return explain_at(warehouse, source, at, now, locked=sources_under_way(warehouse, "restore"))


def restore(
    sources: str | Sequence[str] = (),
    *,
    tags: str | Sequence[str] = (),
    notify: str | Sequence[str],
    reason: str = "",
    thaw_tier: str = "Standard",
    max_cost: float | None = None,
    max_bytes: int | None = None,
    dry_run: bool = False,
) -> RestoreReport:
    """Restore the interactions of expired sources, in this process, and notify the requesters by e-mail.

    It returns when the data is back, and waits for files in cold storage, for hours if need be. It may be stopped and
    run again at any moment. This is the command `perennial restore`. One line on standard error says how it ended.

    Args:
        sources: Campaigns and Canvases, by id.
        tags: Every expired source with one of these tags.
        notify: E-mail addresses to notify of the outcome.
        reason: Reason, shown in the audit trail and in the e-mail.
        thaw_tier: Retrieval tier for files in cold storage: Expedited, Standard or Bulk.
        max_cost: Refuse a restore that costs more USD than this, hot storage included.
        max_bytes: Refuse a restore of more bytes than this.
        dry_run: Report what would be restored and move nothing.

    Returns:
        The outcome: `state` is finished, finished in part, cancelled or failed, and `sources` has each source's own.

    Raises:
        TerminalRequestError: The request cannot be done; nothing was moved, and nobody was notified.
    """
    from perennial.moves.inline import restore_and_notify, undelivered_here
    from perennial.operations import local_run
    from perennial.settings import Settings
    from perennial.warehouse import Warehouse

    params = {
        "source_ids": _listed(sources),
        "tags": _listed(tags),
        "notify": _listed(notify),
        "reason": reason,
        "thaw_tier": thaw_tier,
        "max_cost": max_cost,
        "max_bytes": max_bytes,
        "dry_run": dry_run,
    }
    warehouse = Warehouse(Settings.from_environment())
    report, delivery = restore_and_notify(warehouse, params, local_run(reason), lambda *_: None)
    _say(report.summary, report.cancelled, report.error, undelivered_here(delivery))
    return report


def _ask(settings: Settings, sql: str, params: Mapping[str, Any] | None, asker: str) -> pa.Table:
    from perennial.engines.analysts import open_query_session
    from perennial.engines.read_only import refuse_writes
    from perennial.exports.queries import narrowed_query, what_is_left_out
    from perennial.settings import IN_PROCESS
    from perennial.warehouse import Warehouse

    if settings.engine_url.startswith(IN_PROCESS):
        refuse_writes(sql, asker)
    warehouse = Warehouse(settings)
    with open_query_session(warehouse) as session:
        answer = session.ask(sql, params).read_all()
        if narrowed := narrowed_query(sql, params, session.dialect):
            _say(what_is_left_out(warehouse, session.connection, narrowed))
    return answer


def _moment(name: str, given: datetime | str | None) -> datetime | None:
    from perennial.refusals import read_moment

    # A moment of a time zone keeps it, one without any is in UTC, as on the command line.
    return None if given is None else read_moment(name, str(given))


def _listed(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _say(*lines: str) -> None:
    # Not a warning, which may be raised as an error, and not a log record, which may be shown nowhere.
    sys.stderr.writelines(f"{line}\n" for line in lines if line)
