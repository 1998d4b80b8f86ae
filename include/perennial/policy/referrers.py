"""Referrers: which source they keep, or might keep if an audience cannot be read (R4, R5, R6)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perennial.audiences.definitions import Reference, TerminalDefinitionError
from perennial.audiences.parse import parse
from perennial.audiences.possible import UnreadPart, possible_meaning, possible_references
from perennial.platform.vanished import absent_rows, known_ids
from perennial.settings import dag_id
from perennial.statements import statement
from perennial.tables import AUDIENCES, SOURCES

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from perennial.warehouse import Warehouse


@dataclass(frozen=True)
class KeptSources:
    """The sources that active referrers keep.

    Attributes:
        source_ids: Their ids; every id if a referrer could name any source.
        unread: The paths of active referrers that cannot be read and could name any source.
    """

    source_ids: frozenset[str]
    unread: tuple[str, ...] = ()


def explain_unread(unread: Sequence[str]) -> str:
    """Say why nothing expires; empty where every active referrer can be read.

    Args:
        unread: The paths of active referrers that cannot be read and could name any source.
    """
    if not unread:
        return ""
    named = f"{unread[0]}{f' and {len(unread) - 1:,} more' if len(unread) > 1 else ''}"
    return (
        f"An active referrer cannot be read and could name any source, so none expires: {named}. Correct the "
        f"definition on the platform, then run {dag_id('sync_sources')}; `perennial check` lists what is wrong."
    )


def kept_sources(warehouse: Warehouse) -> KeptSources:
    """Find the sources that an active referrer keeps, whether they are due or not (R4, R6)."""
    from perennial.engines.duckdb import open_connection

    with open_connection() as connection:
        show_referrers(connection, warehouse)
        named = connection.execute(statement("policy/list_kept_sources")).fetchall()
        unread = unread_referrers(connection)
    kept = _every_id(warehouse).to_pylist() if unread else [source_id for (source_id,) in named]
    return KeptSources(frozenset(kept), unread)


def show_referrers(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse) -> None:
    """Create relation `source_referrers` from the current warehouse (R4, R6)."""
    kinds = warehouse.settings.exempting_referrers
    create_source_referrers(connection, warehouse.read(AUDIENCES.name), lambda: _every_id(warehouse), kinds)


def unread_referrers(connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """List the paths of active referrers that cannot be read and could name any source.

    Args:
        connection: A connection with `source_referrers`.
    """
    return tuple(path for (path,) in connection.execute(statement("policy/list_unread_referrers")).fetchall())


def _every_id(warehouse: Warehouse) -> pa.ChunkedArray:
    return known_ids(warehouse.read(SOURCES.name), absent_rows(warehouse))


def create_source_referrers(
    connection: duckdb.DuckDBPyConnection,
    audiences: pa.Table,
    source_ids: Callable[[], pa.ChunkedArray],
    referrer_kinds: Collection[str],
) -> None:
    """Create relation `source_referrers`: who keeps which source (R4).

    Args:
        connection: Where to create it.
        audiences: As `audience_references`.
        source_ids: Likewise.
        referrer_kinds: The kinds of owner that keep a source (R6).
    """
    connection.register("audience_references", _audience_references(audiences, source_ids))
    connection.execute(statement("policy/create_source_referrers"), {"referrer_kinds": list(referrer_kinds)})


def _audience_references(audiences: pa.Table, source_ids: Callable[[], pa.ChunkedArray]) -> pa.Table:
    """Find the sources and segments that audiences name, or might name if they cannot be read.

    Only audiences of active owners and of segments are read: the others keep nothing (R4).

    Args:
        audiences: owner_kind, owner_id, owner_status, part, definition.
        source_ids: Returns every known source; called only if an audience cannot be read.

    Returns:
        One row per audience and reference: owner_kind, owner_id, owner_status, filter, kind (source, segment, or any:
        it might name any source), id.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    read = audiences.filter((pc.field("owner_status") == "active") | (pc.field("owner_kind") == "segment"))
    positions: list[int] = []
    references: list[Reference] = []
    unread: list[tuple[int, UnreadPart]] = []
    # Through NumPy, because boxing every string as an Arrow scalar first takes as long as parsing it.
    for position, definition in enumerate(read["definition"].to_numpy()):
        try:
            found = parse(definition).references
        except TerminalDefinitionError:
            possible = possible_meaning(definition)
            found = possible.references
            unread += [(position, part) for part in possible.unread]
        positions += [position] * len(found)
        references += found
    if unread:
        segment_ids = read.filter(pc.field("owner_kind") == "segment")["owner_id"]
        for position, reference in possible_references(unread, source_ids(), segment_ids):
            positions.append(position)
            references.append(reference)
    names = ("filter", "kind", "id")
    named = zip(*references, strict=True) if references else ((), (), ())
    table = read.select(["owner_kind", "owner_id", "owner_status"]).take(pa.array(positions, pa.int64()))
    for name, column in zip(names, named, strict=True):
        table = table.append_column(name, pa.array(column, pa.string()))
    return table
