"""Decisions: which sources are due, which are kept and by whom, which come back (R1-R6, R9, R10, R13, R18, R19).

The rules are SQL in `include/sql/policy/` and `include/sql/views/create_source_states.sql`, always run by DuckDB in
process on Arrow tables: the metadata of a million sources fits in memory, and hot totals come from Iceberg manifests.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from perennial.errors import TerminalMetadataError
from perennial.platform.vanished import absent_rows, known_ids, nearest_source, no_rows, unknown_source
from perennial.policy.holds import Hold, create_source_holds, read_holds
from perennial.policy.referrers import create_source_referrers, unread_referrers
from perennial.settings import REFERRER_KINDS, dag_id
from perennial.statements import statement
from perennial.tables import (
    AUDIENCES,
    HOLDS,
    INTERACTIONS,
    LIFECYCLE_EVENTS,
    SOURCE_TAGS,
    SOURCES,
    VANISHED_SOURCES,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from perennial.warehouse import Warehouse

STATUSES = ("draft", "active", "stopped", "archived")
SOURCE_KINDS = ("campaign", "canvas")


class Metadata(Protocol):
    """The platform's metadata at one moment: tables `sources` and `audiences`, with the columns of the contract.

    `source_tags` is read only if a hold on a tag needs it.
    """

    @property
    def sources(self) -> pa.Table: ...

    @property
    def audiences(self) -> pa.Table: ...

    @property
    def source_tags(self) -> Callable[[], pa.Table]: ...


@dataclass(frozen=True)
class SyncedMetadata:
    """The metadata of the last sync."""

    sources: pa.Table
    audiences: pa.Table
    source_tags: Callable[[], pa.Table] = lambda: no_rows(SOURCE_TAGS)

    @classmethod
    def read(cls, warehouse: Warehouse) -> SyncedMetadata:
        tags = partial(warehouse.read, SOURCE_TAGS.name)
        return cls(warehouse.read(SOURCES.name), warehouse.read(AUDIENCES.name), tags)


@dataclass(frozen=True)
class WarehouseState:
    """What the warehouse itself knows about its sources.

    Attributes:
        lifecycle_events: The table of the contract.
        hot_rows: Interactions in the hot table, by source.
        locked: Sources that a restore is bringing back at this moment: none of their rows may leave hot.
        vanished: Rows of `vanished_sources` whose source is not in `sources` either.
        holds: The table of the contract (R19).
    """

    lifecycle_events: pa.Table
    hot_rows: dict[str, int]
    locked: frozenset[str] = frozenset()
    vanished: pa.Table = field(default_factory=partial(no_rows, VANISHED_SOURCES))
    holds: pa.Table = field(default_factory=partial(no_rows, HOLDS))

    @classmethod
    def read(
        cls,
        warehouse: Warehouse,
        locked: Collection[str] = (),
        source_ids: Collection[str] | None = None,
        hot_rows: dict[str, int] | None = None,
    ) -> WarehouseState:
        """Read it; the hot rows of some sources or, by default, of all, unless they are given."""
        if hot_rows is None:
            counts = warehouse.source_counts(INTERACTIONS.name, source_ids)
            hot_rows = dict(zip(counts["source_id"].to_pylist(), counts["row_count"].to_pylist(), strict=True))
        events, holds = warehouse.read(LIFECYCLE_EVENTS.name), warehouse.read(HOLDS.name)
        return cls(events, hot_rows, frozenset(locked), absent_rows(warehouse), holds)


@dataclass(frozen=True)
class Rules:
    """The settings that decisions depend on: R2 in calendar months, R6 as kinds of referrer."""

    retention_months: int = 3
    exempting_referrers: tuple[str, ...] = ("campaign", "canvas")

    @classmethod
    def from_settings(cls, warehouse: Warehouse) -> Rules:
        return cls(warehouse.settings.retention_months, warehouse.settings.exempting_referrers)


@dataclass(frozen=True)
class Decision:
    """The decision about one source. Times are UTC.

    Attributes:
        decision: deleted, reactivated, late, expired, active, recent, held, referenced, empty or expire.
        reason: The decision in words.
        clock_started_at: R3; None while the clock does not run: the source is active, or was deleted.
        expires_at: The clock plus the retention period; None likewise.
        referenced_by: The whole path of every referrer that keeps the source, even while it is not due (R4); at most
            ten of those that cannot be read and might name any source.
    """

    source_id: str
    decision: str
    reason: str
    clock_started_at: datetime | None
    expires_at: datetime | None
    referenced_by: tuple[str, ...]


@dataclass(frozen=True)
class Decisions:
    """The decisions about all sources.

    Attributes:
        rows: One row a source, in order of source_id, with the columns of `Explanation` and `Decision`.
        unread_referrers: The paths of active referrers that cannot be read and could name any source.
        holds: One row per source and hold that keeps it, due or not (R19): source_id and the columns of `Hold`.
    """

    rows: pa.Table
    unread_referrers: tuple[str, ...]
    holds: pa.Table


@dataclass(frozen=True)
class Explanation:
    """The inputs of a decision, for a person who asks why.

    Attributes:
        state: available, expired or deleted.
        since: When that state began; None if every time of the source is impossible (R24).
        last_restored_at: The last restore (R13).
        vanished_at: When a sync first missed it; None while the platform has it.
        hot_rows: Interactions in the hot table.
        holds: The holds that keep it, even while it is not due (R19); the longest first.
        held_by: The same in words.
    """

    decision: Decision
    kind: str
    name: str
    status: str
    state: str
    since: datetime | None
    created_at: datetime | None
    stopped_at: datetime | None
    last_sent_at: datetime | None
    last_restored_at: datetime | None
    vanished_at: datetime | None
    hot_rows: int
    holds: tuple[Hold, ...] = ()
    held_by: tuple[str, ...] = ()

    @property
    def clock_events(self) -> dict[str, datetime]:
        """Times that may have started the clock, by name; the latest did (R3); none is before the creation (R24)."""
        moments = {"stopped": self.stopped_at, "last sent": self.last_sent_at, "restored": self.last_restored_at}
        moments["vanished"] = self.vanished_at
        found = {name: moment for name, moment in moments.items() if moment is not None}
        if self.created_at is not None and all(moment < self.created_at for moment in found.values()):
            found["created"] = self.created_at
        return found

    @property
    def clock_started_by(self) -> str | None:
        """The event that started the clock; None while it does not run."""
        if self.decision.clock_started_at is None:
            return None
        return max(self.clock_events, key=self.clock_events.__getitem__)


DECISION_COLUMNS = tuple(field.name for field in fields(Decision))
_EXPLAINED_COLUMNS = tuple(
    field.name for field in fields(Explanation) if field.name not in ("decision", "holds", "held_by")
)


def decide(
    warehouse: Warehouse,
    as_of: datetime,
    metadata: Metadata | None = None,
    locked: Collection[str] = (),
    source_ids: Collection[str] | None = None,
) -> pa.Table:
    """Decide about every source, or about some of them; as `decide_all`, the rows alone."""
    return decide_all(warehouse, as_of, metadata, locked, source_ids).rows


def decide_all(
    warehouse: Warehouse,
    as_of: datetime,
    metadata: Metadata | None = None,
    locked: Collection[str] = (),
    source_ids: Collection[str] | None = None,
) -> Decisions:
    """Decide about every source.

    Args:
        warehouse: Where lifecycle events and hot totals are, and the metadata unless it is given.
        as_of: The run's own now.
        metadata: Sources and audiences to decide from instead, such as what the platform says right now (R7).
        locked: Sources that a restore is bringing back: never decided `expire` or `late`. One that is active stays
            `reactivated`, so that a restore that died is taken up again (R10).
        source_ids: Only these, from the same metadata; the hot rows of no other are counted. None: all.

    Returns:
        Rows with the columns of `expiry_decisions` alone: source_id, decision, reason, clock_started_at, expires_at,
        referenced_by.

    Raises:
        TerminalMetadataError: A status or kind is not in the contract.
    """
    import pyarrow.compute as pc

    metadata = metadata or SyncedMetadata.read(warehouse)
    state = WarehouseState.read(warehouse, locked, source_ids)
    decided = decide_from(metadata, state, as_of, Rules.from_settings(warehouse))
    rows = decided.rows.select(list(DECISION_COLUMNS))
    return replace(
        decided, rows=rows if source_ids is None else rows.filter(pc.field("source_id").isin(list(source_ids)))
    )


def explain(
    warehouse: Warehouse, source_id: str, as_of: datetime, locked: Collection[str] = (), hot_rows: int | None = None
) -> Explanation:
    """Decide about one source, and say from what.

    Args:
        warehouse: As `decide_all`.
        source_id: Campaign or Canvas.
        as_of: As `decide_all`.
        locked: As `decide_all`.
        hot_rows: Its interactions in the hot table, where they are known.

    Raises:
        TerminalUnseenError, TerminalRequestError: As `unknown_source`.
        TerminalMetadataError: As `decide_all`.
    """
    import pyarrow.compute as pc

    metadata = SyncedMetadata.read(warehouse)
    known = None if hot_rows is None else {source_id: hot_rows}
    state = WarehouseState.read(warehouse, locked, (source_id,), known)
    decided = decide_from(metadata, state, as_of, Rules.from_settings(warehouse))
    rows = decided.rows
    found = rows.filter(pc.field("source_id") == source_id).to_pylist()
    if not found:
        from perennial.engines.duckdb import open_connection

        with open_connection() as connection:
            connection.register("known_sources", rows)
            nearest = nearest_source(connection, source_id)
        raise unknown_source(source_id, state.hot_rows.get(source_id, 0), nearest)
    holds = decided.holds.filter(pc.field("source_id") == source_id)
    return Explanation(
        decision=_decision(found[0]),
        **{name: found[0][name] for name in _EXPLAINED_COLUMNS},
        holds=tuple(read_holds(holds)),
        held_by=tuple(holds["words"].to_pylist()),
    )


def _decision(row: dict[str, Any]) -> Decision:
    values = {name: row[name] for name in DECISION_COLUMNS}
    return Decision(**{**values, "referenced_by": tuple(row["referenced_by"])})


def decide_from(metadata: Metadata, state: WarehouseState, as_of: datetime, rules: Rules) -> Decisions:
    """Decide from tables in memory; see `decide_all`."""
    from perennial.engines.duckdb import create_state_views, create_views, open_connection

    _refuse_unknown_values(metadata)
    with open_connection() as connection:
        connection.register("sources", metadata.sources)
        connection.register("vanished_sources", state.vanished)
        connection.register("lifecycle_events", state.lifecycle_events)
        connection.register("hot_totals", _hot_totals(state))
        connection.register("locked_sources", _text_columns(source_id=sorted(state.locked)))
        create_state_views(connection, rules.retention_months)
        create_source_referrers(
            connection,
            metadata.audiences,
            lambda: known_ids(metadata.sources, state.vanished),
            rules.exempting_referrers,
        )
        connection.register("holds", state.holds)
        tagged = state.holds["tag"].null_count < len(state.holds)
        connection.register("source_tags", metadata.source_tags() if tagged else no_rows(SOURCE_TAGS))
        create_views(connection, ["known_source_tags"])
        create_source_holds(connection, as_of)
        for view in ("source_stories", "source_keepers", "source_facts"):
            connection.execute(statement(f"policy/create_{view}"))
        rows = connection.sql(statement("policy/decide_sources"), params={"as_of": as_of}).to_arrow_table()
        holds = connection.sql(statement("policy/list_source_holds")).to_arrow_table()
        return Decisions(rows, unread_referrers(connection), holds)


def refuse_stale_metadata(warehouse: Warehouse, wall_clock: datetime) -> None:
    """Refuse to decide from metadata that was last synced too long ago.

    Args:
        warehouse: Its `settings.max_metadata_age` is the limit.
        wall_clock: The real time, never a run's date, which may be a replayed one.

    Raises:
        TerminalMetadataError: `sources` or `audiences` was never synced, or too long ago.
    """
    limit = warehouse.settings.max_metadata_age
    for name in (SOURCES.name, AUDIENCES.name):
        synced_at = warehouse.committed_at(name)
        remedy = f"run {dag_id('sync_sources')}; nothing is moved until it has succeeded."
        if synced_at is None:
            raise TerminalMetadataError(f"Table {name} was never synced from the platform: {remedy}")
        age = wall_clock - synced_at
        if age > limit:
            raise TerminalMetadataError(
                f"Table {name} was last synced on {synced_at:%Y-%m-%d %H:%M} UTC, {_hours(age)} hours ago; "
                f"PERENNIAL_MAX_METADATA_AGE_HOURS allows {_hours(limit)}: {remedy}"
            )


def _hours(duration: timedelta) -> str:
    return f"{duration / timedelta(hours=1):.0f}"


# --- what the platform says -----------------------------------------------------------------------------------------


def _refuse_unknown_values(metadata: Metadata) -> None:
    """Refuse unknown statuses, which would count as inactive, and unknown kinds, which would not be referrers."""
    expected = (
        (SOURCES.name, metadata.sources, "kind", SOURCE_KINDS),
        (SOURCES.name, metadata.sources, "status", STATUSES),
        (AUDIENCES.name, metadata.audiences, "owner_kind", REFERRER_KINDS),
        (AUDIENCES.name, metadata.audiences, "owner_status", STATUSES),
    )
    for name, table, column, allowed in expected:
        for value in table[column].unique().to_pylist():
            if value not in allowed:
                raise TerminalMetadataError(
                    f"Column {name}.{column} has the value {value!r}; it must be one of {', '.join(allowed)}. Correct "
                    "it on the platform, or in the SELECT that reads it (docs/your-data.md), then run "
                    f"{dag_id('sync_sources')}."
                )


# --- relations --------------------------------------------------------------------------------------------------------


def _hot_totals(state: WarehouseState) -> pa.Table:
    import pyarrow as pa

    counts = pa.array(list(state.hot_rows.values()), pa.int64())
    return _text_columns(source_id=list(state.hot_rows)).append_column("row_count", counts)


def _text_columns(**columns: list[str]) -> pa.Table:
    import pyarrow as pa

    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
