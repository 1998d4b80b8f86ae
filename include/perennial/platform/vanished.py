"""Sources that vanish from the platform: they are kept as last known, and too many at once are refused.

Table `vanished_sources` is append-only: a row says that a sync missed a source. It counts while the source is not in
`sources`; view `absent_sources` shows those.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from perennial.errors import TerminalRequestError
from perennial.refusals import not_known
from perennial.settings import dag_id
from perennial.statements import statement
from perennial.tables import AUDIENCES, EXPIRY_DECISIONS, LIFECYCLE_EVENTS, SOURCE_TAGS, SOURCES, VANISHED_SOURCES
from perennial.text import pluralize

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from perennial.tables import Table
    from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)

KEYS = {SOURCES.name: ("source_id",), AUDIENCES.name: ("owner_kind", "owner_id", "part")}
"""Tables whose rows must not vanish in large numbers, because more would expire (R1, R4), with the keys of a row."""
CHECK_ID = f"check the id, or run {dag_id('sync_sources')} if it is new on the platform."
# Suspicious are more missing rows than one in this many, and at least this many rows.
_MISSING_SHARE = 10
_MIN_MISSING_ROWS = 10


@dataclass(frozen=True)
class VanishedRows:
    """How many rows of a table are missing.

    Attributes:
        table: sources or audiences.
        known_count: Rows that were known.
        missing_count: How many of them are missing.
    """

    table: str
    known_count: int
    missing_count: int

    def __str__(self) -> str:
        return f"{self.missing_count:,} of {self.known_count:,} known {self.table}"


def find_mass_vanishing(known: Mapping[str, pa.Table], found: Mapping[str, pa.Table]) -> list[VanishedRows]:
    """List the tables of which suspiciously many rows are missing: more than a tenth, and at least ten.

    Args:
        known: The earlier tables, by name; at least the columns of KEYS.
        found: The platform's current tables.
    """
    vanished = [
        VanishedRows(name, len(rows), len(_missing_rows(name, rows, found[name]))) for name, rows in known.items()
    ]
    return [
        rows
        for rows in vanished
        if rows.missing_count >= _MIN_MISSING_ROWS and rows.missing_count * _MISSING_SHARE > rows.known_count
    ]


def _missing_rows(table: str, known: pa.Table, found: pa.Table) -> pa.Table:
    """Return the known rows of `sources` or `audiences` that are not among the found ones, in their order."""
    import pyarrow as pa

    names = list(KEYS[table])
    text = pa.schema([(name, pa.large_string()) for name in names])
    keys = known.select(names).cast(text).append_column("place", pa.array(range(len(known)), pa.int64()))
    left = keys.join(found.select(names).cast(text), names, join_type="left anti")
    return known.take(left["place"].combine_chunks().sort())


def keep_missed(warehouse: Warehouse, known: pa.Table, found: pa.Table, run_id: str, now: datetime) -> None:
    """Add the sources that a sync misses to `vanished_sources`, before they leave `sources`.

    The first time, this includes sources that vanished before `vanished_sources` existed.

    Args:
        warehouse: The warehouse.
        known: `sources` as they are about to be replaced.
        found: The sources that the platform has; at least column source_id.
        run_id: Run that misses them.
        now: Wall clock.
    """
    from perennial.warehouse.replace import make_snapshot

    missing = _missing_rows(SOURCES.name, known, found).to_pylist()
    tags: dict[str, list[str]] = {source["source_id"]: [] for source in missing}
    if missing:
        for row in warehouse.read(SOURCE_TAGS.name).to_pylist():
            if row["source_id"] in tags:
                tags[row["source_id"]].append(row["tag"])
    rows: list[dict[str, Any]] = [source | {"tags": tags[source["source_id"]]} for source in missing]
    first = warehouse.committed_at(VANISHED_SOURCES.name) is None
    if first:
        rows += [{"source_id": source_id, "tags": []} for source_id in _vanished_before(warehouse, known, found)]
    # Each attempt has its own id, because after a lost race it may miss other sources.
    operation = f"sync:{run_id}:{VANISHED_SOURCES.name}:{uuid.uuid4().hex}"
    rows = [row | {"missed_at": now, "run_id": run_id} for row in rows]
    warehouse.append_rows(VANISHED_SOURCES.name, rows, operation)
    if rows:
        named = rows[0]["source_id"]
        log.info("%s: no longer in the platform: %s, %r among them", run_id, pluralize(len(rows), "source"), named)
    elif first:
        make_snapshot(warehouse, VANISHED_SOURCES.name, operation)


def _vanished_before(warehouse: Warehouse, known: pa.Table, found: pa.Table) -> list[str]:
    """Find sources in the warehouse that an expiry has decided about or moved, so that a sync must have seen them."""
    from perennial.engines.duckdb import open_session, source_totals

    totals = source_totals(warehouse)
    lost = set(totals["source_id"].to_pylist())
    lost -= {*known["source_id"].to_pylist(), *found["source_id"].to_pylist()}
    if not lost:
        return []
    with open_session(warehouse, (EXPIRY_DECISIONS.name, LIFECYCLE_EVENTS.name)) as session:
        binds = {"source_ids": sorted(lost)}
        return [source_id for (source_id,) in session.execute(statement("sync/find_seen_sources"), binds).fetchall()]


class TerminalUnseenError(TerminalRequestError):
    """A source that no sync has seen, although the hot table has interactions of it."""


def nearest_source(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """Find the source whose id or name is most similar to a text; empty if none is. It reads `known_sources`."""
    found = connection.execute(statement("sync/find_nearest_source"), {"name": name}).fetchone()
    return str(found[0]) if found else ""


def unknown_source(source_id: str, hot_rows: int, nearest: str = "") -> TerminalRequestError:
    """Return an error that says that a source is unknown, except perhaps for its interactions in the hot table.

    Args:
        source_id: As it was given.
        hot_rows: Its interactions there.
        nearest: The result of `nearest_source`.
    """
    if not hot_rows:
        return TerminalRequestError(not_known(source_id, "known source", nearest, CHECK_ID))
    return TerminalUnseenError(
        f"No sync has seen the source {source_id!r}. The hot table holds {pluralize(hot_rows, 'interaction')} of it, "
        f"which stay there: it has no clock. Run {dag_id('sync_sources')} if it is new on the platform."
    )


def absent_rows(warehouse: Warehouse) -> pa.Table:
    """Read the rows of `vanished_sources` whose source is not in `sources` either.

    Call it after `sources` was read: a sync adds rows here before it replaces `sources`.
    """
    import pyarrow as pa

    missed = warehouse.read(VANISHED_SOURCES.name)
    if not len(missed):
        return missed
    there = set(warehouse.read(SOURCES.name)["source_id"].to_pylist())
    return missed.filter(pa.array([name not in there for name in missed["source_id"].to_pylist()], pa.bool_()))


def known_ids(sources: pa.Table, vanished: pa.Table) -> pa.ChunkedArray:
    """Return the id of every known source: on the platform, or vanished."""
    import pyarrow as pa

    text = pa.large_string()
    ids = (sources["source_id"], vanished["source_id"])
    return pa.chunked_array([chunk for column in ids for chunk in column.cast(text).chunks], text)


def no_rows(table: Table) -> pa.Table:
    """Return an empty table of the contract."""
    import pyarrow as pa

    from perennial.engines.columns import arrow_type

    return pa.schema([(column.name, arrow_type(column.type)) for column in table.columns]).empty_table()
