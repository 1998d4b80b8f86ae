"""Rows in the audit trail that no table lists: their remaining files in storage must not be purged.

A table that was set back is detected by its history (`warehouse.lineage`), as long as that shows it. This module checks
the rows themselves, in case the history is gone: somebody dropped our tag, or it happened before tags existed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from perennial.engines.duckdb import open_session
from perennial.moves.move_plan import copy_name, file_name
from perennial.statements import statement
from perennial.storage import storage_for
from perennial.tables import ARCHIVED_FILES, INTERACTIONS, INTERACTIONS_ARCHIVE, LIFECYCLE_EVENTS
from perennial.text import pluralize
from perennial.warehouse import Warehouse
from perennial.warehouse.commits import sources_removed_otherwise
from perennial.warehouse.lineage import known_since

log = logging.getLogger(__name__)

# Operations of moves, and operations that do not change rows.
_MOVES = ("expire:", "restore:", "compact:")


@dataclass(frozen=True)
class LostSource:
    """A source that was archived or restored, although neither table has a row of it.

    Attributes:
        source_id: The source.
        row_count: Interactions of its latest move.
        file_names: Names of the files that may have them: archived files, their originals and their copies in hot.
        left: Archived files and originals that are still in storage.
    """

    source_id: str
    row_count: int
    file_names: frozenset[str]
    left: tuple[str, ...]

    def __str__(self) -> str:
        left = f"still in storage: {', '.join(self.left)}" if self.left else "none of their files is in storage"
        rows = pluralize(self.row_count, "interaction")
        return f"{self.source_id!r} had {rows}, and neither hot nor archive lists any; {left}."


def find_lost_sources(warehouse: Warehouse) -> list[LostSource]:
    """Find sources whose rows have disappeared since their latest move, although no commit removed them on purpose.

    A source is only checked if the retained snapshots of both tables go back to that move: rows that an earlier commit
    of another writer deleted are not lost.
    """
    # The archive is read twice: a concurrent move in either direction is seen before or after (M4).
    tables = [warehouse.table(name) for name in (INTERACTIONS_ARCHIVE.name, INTERACTIONS.name)]
    since = max(known_since(table) for table in tables)
    with open_session(warehouse, [LIFECYCLE_EVENTS.name]) as session:
        found = session.execute(statement("moves/select_kept_sources")).fetchall()
    kept = {source_id: rows for source_id, rows, moved_at in found if moved_at >= since}
    for name in (INTERACTIONS_ARCHIVE.name, INTERACTIONS.name, INTERACTIONS_ARCHIVE.name):
        if kept:
            listed = warehouse.source_totals(name, kept)
            kept = {source_id: rows for source_id, rows in kept.items() if source_id not in listed}
    for table in tables if kept else ():
        removed = sources_removed_otherwise(table, _MOVES)
        kept = {source_id: rows for source_id, rows in kept.items() if source_id not in removed}
    return _with_files(warehouse, kept) if kept else []


def last_copies(warehouse: Warehouse) -> set[str]:
    """Names of files that may be the last copy of rows, although no table lists them."""
    lost = find_lost_sources(warehouse)
    for source in lost:
        log.warning("not purged: %s See docs/runbooks/table-set-back.md.", source)
    return {name for source in lost for name in source.file_names}


def _with_files(warehouse: Warehouse, kept: dict[str, int]) -> list[LostSource]:
    with open_session(warehouse, [ARCHIVED_FILES.name]) as session:
        found = session.execute(statement("moves/select_files_of_sources"), {"source_ids": list(kept)}).fetchall()
    uris: dict[str, set[str]] = {source_id: set() for source_id in kept}
    for source_id, file_uri, original_uris in found:
        uris[source_id] |= {file_uri, *original_uris}
    return [
        LostSource(
            source_id=source_id,
            row_count=rows,
            file_names=frozenset(map(file_name, uris[source_id])) | {copy_name(uri) for uri in uris[source_id]},
            left=tuple(uri for uri in sorted(uris[source_id]) if storage_for(uri).stat(uri) is not None),
        )
        for source_id, rows in sorted(kept.items())
    ]
