"""Removes the rows of some users by rewriting the data files that hold them (R22).

Each file is replaced by one with its other rows, in a commit that names both (M3), after the proof that these are all
of the other rows (M7). A process that dies in between leaves new files that no table lists; the next call looks again.

Beside a move: its originals may be replaced at any time, for the move finds them gone, withdraws their copies and plans
again (M6). Its copies may not, because it may have to withdraw them by their names; nor may archived files of a source
that is being restored, for what replaces them would be cold again. Such files are left, and named in the outcome: the
move comes to its end, or is given up after a day. As for a compaction, the table is pinned before the records are read.

Beside a load: one that was prepared before these users were suppressed may bring rows of theirs. An empty commit to the
ledger makes each load that is not decided prepare again, and decided ones are finished first.
"""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from perennial.currents.commit import finish_pending_loads
from perennial.engines.duckdb import create_view
from perennial.erase.digests import add_digests
from perennial.erase.locate import LocatedFile, LocatedRows, locate_rows
from perennial.erase.tables import FACT_TABLES, conditions
from perennial.errors import TerminalDataError
from perennial.maintenance.groups import PASS_BYTES, PASS_FILES, FileGroup, batched, passes
from perennial.moves.divide import divide_mixed_files
from perennial.moves.move_plan import EXPIRE, RESTORE, file_name
from perennial.moves.plan import names_in_transit
from perennial.moves.rewrite import Condition, rewrite_files
from perennial.operations import pending_records, wall_clock
from perennial.storage import storage_for
from perennial.tables import ARCHIVED_FILES, INTERACTIONS, INTERACTIONS_ARCHIVE, LOADED_EVENTS, REJECTED_EVENTS
from perennial.text import pluralize
from perennial.warehouse import FileChange, LiveFile, Warehouse
from perennial.warehouse.commits import commit_change
from perennial.warehouse.files import relocated
from perennial.warehouse.heads import refuse_losses
from perennial.warehouse.replace import make_snapshot

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

    from perennial.engines.write_files import StagedFile

log = logging.getLogger(__name__)

OPERATION = "erase"
# How often the tables are searched again for what compaction, loads and moves have put elsewhere meanwhile.
_ROUNDS = 5
# The direction of the moves whose origin a table is.
_LEAVING = {INTERACTIONS.name: EXPIRE, INTERACTIONS_ARCHIVE.name: RESTORE}


@dataclass(frozen=True)
class RemovedRows:
    """What one call removed.

    Attributes:
        rows: Rows removed by table.
        file_count: Files that were replaced.
        read_bytes: Their size.
        written_bytes: Size of the files that they were replaced by.
        left: Files with rows of these users that a move under way has to leave first.
        cold: Files that may hold some, and have to be thawed first.
        left_users: The users of whom these files have, or may have, rows.
    """

    rows: dict[str, int] = field(default_factory=dict)
    file_count: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    left: tuple[LocatedFile, ...] = ()
    cold: tuple[LocatedFile, ...] = ()
    left_users: frozenset[str] = frozenset()

    @property
    def is_complete(self) -> bool:
        """Whether no table lists a row of these users any more."""
        return not self.left and not self.cold


def remove_rows(
    warehouse: Warehouse,
    user_ids: Collection[str],
    located: LocatedRows | None = None,
    rejected: Condition | None = None,
) -> RemovedRows:
    """Remove every row of some users that can be removed now; call it again for the rest.

    The users have to be suppressed before, or else loads and syncs bring them back.

    Args:
        warehouse: Where.
        user_ids: The users.
        located: Where their rows were found before, which saves a search.
        rejected: As in `locate_rows`.

    Raises:
        TerminalDataError: A rewritten file does not have all the other rows, or a table was set back; nothing was
            replaced.
        TerminalSettingError: Another writer has made a table unwritable.
        TransientConflictError: Other writers kept committing first.
    """
    wanted = conditions(user_ids, rejected)
    if not wanted:
        return RemovedRows()
    refuse_losses(warehouse)
    warehouse.refuse_unwritable((*wanted, ARCHIVED_FILES.name))
    make_snapshot(warehouse, LOADED_EVENTS.name, f"{OPERATION}-fence:{uuid.uuid4().hex}")
    finish_pending_loads(warehouse)
    divided = sum(divide_mixed_files(warehouse, name) for name in FACT_TABLES)
    if located is None or divided:
        located = locate_rows(warehouse, user_ids, rejected)
    removed = RemovedRows()
    for _ in range(_ROUNDS):
        before = removed
        for name, condition in wanted.items():
            removed = _remove_from(warehouse, name, condition, located, removed)
        located = locate_rows(warehouse, user_ids, rejected)
        if not located.files or removed.file_count == before.file_count:
            break
    return replace(removed, left=located.files, cold=located.cold, left_users=_left_users(user_ids, located))


def _left_users(user_ids: Collection[str], located: LocatedRows) -> frozenset[str]:
    if any(file.table == REJECTED_EVENTS.name for file in located.files):
        # It is not known whose records these are.
        return frozenset(user_ids)
    return located.cold_users | (located.by_user or {}).keys()


def _remove_from(
    warehouse: Warehouse, name: str, condition: Condition, located: LocatedRows, removed: RemovedRows
) -> RemovedRows:
    concerned = {file.uri: file for file in located.files if file.table == name}
    if not concerned:
        return removed
    table = warehouse.table(name)
    sources = {file.source_id for file in concerned.values()} if name in FACT_TABLES else None
    files = [live for live in warehouse.live_files(table, sources) if live.uri in concerned]
    held_back = _held_back(warehouse, name, files)
    staying = [live for live in files if live.uri not in held_back]
    groups = _groups({None: staying} if sources is None else _by_source(staying))
    for batch in batched(passes(groups)):
        rewritten = [group for one_pass in batch for group in _rewrite(warehouse, table, condition, one_pass)]
        replaced = _replace(warehouse, name, rewritten)
        gone = {data_file.file_path for data_file in replaced.remove}
        rows = Counter(removed.rows) + Counter({name: sum(concerned[uri].row_count for uri in gone)})
        removed = replace(
            removed,
            rows=dict(rows),
            file_count=removed.file_count + len(gone),
            read_bytes=removed.read_bytes + sum(file.file_size_in_bytes for file in replaced.remove),
            written_bytes=removed.written_bytes + sum(file.file_size_in_bytes for file in replaced.add),
        )
    return removed


def _held_back(warehouse: Warehouse, name: str, files: Sequence[LiveFile]) -> set[str]:
    """Which files of a table must not be replaced now, because a move under way may have to find or withdraw them."""
    if name not in FACT_TABLES:
        return set()
    sources = {live.source_id for live in files}
    transit = names_in_transit(warehouse, _LEAVING[name], sources)
    kinds = (RESTORE.name,) if name == INTERACTIONS.name else (RESTORE.name, EXPIRE.name)
    moving = {source_id for kind in kinds for one in pending_records(warehouse, kind) for source_id in one.source_ids}
    return {live.uri for live in files if live.source_id in moving or file_name(live.uri) in transit}


def _by_source(files: Iterable[LiveFile]) -> dict[str | None, list[LiveFile]]:
    by_source: dict[str | None, list[LiveFile]] = {}
    for live in files:
        by_source.setdefault(live.source_id, []).append(live)
    return by_source


def _groups(by_source: Mapping[str | None, list[LiveFile]]) -> list[FileGroup]:
    """Put files of one source, or of an unpartitioned table, together that are rewritten as one, within PASS_BYTES."""
    groups = []
    for source_id, members in by_source.items():
        group: list[LiveFile] = []
        for live in members:
            total = sum(one.file_bytes for one in group) + live.file_bytes
            if group and (len(group) == PASS_FILES or total > PASS_BYTES):
                groups.append(FileGroup(source_id, tuple(group)))
                group = []
            group.append(live)
        if group:
            groups.append(FileGroup(source_id, tuple(group)))
    return groups


def _rewrite(warehouse: Warehouse, table: Table, condition: Condition, groups: Sequence[FileGroup]) -> list[FileGroup]:
    """Write the other rows of every group to one new file that no snapshot lists yet, and prove that they are all."""
    name = table.name()[-1]
    files = [live for group in groups for live in group.files]
    written = rewrite_files(
        table,
        table,
        files,
        f"{OPERATION}-{uuid.uuid4().hex}",
        warehouse.settings.archive_storage_class if name == INTERACTIONS_ARCHIVE.name else None,
        condition,
        partial(_digest, warehouse, table) if name in FACT_TABLES else lambda *_: None,
    )
    if not written.is_proved:
        raise TerminalDataError(
            f"Rewriting {pluralize(len(files), 'file')} of {name} without the rows of some users, the first being "
            f"{files[0].uri}, gave other rows ({written.written_rows}) than have to stay ({written.read_rows}); "
            "nothing was replaced. Check that file."
        )
    partitioned = groups[0].source_id is not None
    merged = {LiveFile(new).source_id if partitioned else None: (new,) for new in written.data_files}
    return [replace(group, merged=merged.get(group.source_id, ())) for group in groups]


def _digest(warehouse: Warehouse, table: Table, connection: DuckDBPyConnection, staged: Sequence[StagedFile]) -> None:
    """Note which users a new file has, because a cold one cannot be read again."""
    if not staged:
        return
    files = [LiveFile(relocated(one.data_file, str(one.path))) for one in staged]
    create_view(connection, "searched", files, table, table.schema().select("user_id"), with_file=True)
    add_digests(connection, warehouse, {str(one.path): one.data_file.file_path for one in staged})


def _replace(warehouse: Warehouse, name: str, groups: list[FileGroup]) -> FileChange:
    """Replace groups by their new files in one commit, except those that anybody has changed since."""
    operation = f"{OPERATION}:{uuid.uuid4().hex}"
    if name == INTERACTIONS_ARCHIVE.name:
        _record_checksums(warehouse, operation, [new for group in groups for new in group.merged])
    sources = {group.source_id for group in groups if group.source_id is not None}

    def change(table: Table) -> FileChange:
        live = {file.uri: file for file in warehouse.live_files(table, sources or None)}
        there = [live[file.uri] for group in groups for file in group.files if file.uri in live]
        held_back = _held_back(warehouse, name, there)
        chosen = [group for group in groups if _is_unchanged(group, live) and held_back.isdisjoint(_uris(group))]
        return FileChange(
            add=[new for group in chosen for new in group.merged],
            remove=[live[uri].data_file for group in chosen for uri in _uris(group)],
        )

    replaced = commit_change(warehouse, name, change, operation) or FileChange()
    log.info("%s: %s of %s replaced", operation, pluralize(len(replaced.remove), "file"), name)
    return replaced


def _uris(group: FileGroup) -> list[str]:
    return [file.uri for file in group.files]


def _is_unchanged(group: FileGroup, live: dict[str, LiveFile]) -> bool:
    return all(file.uri in live and live[file.uri].delete_uris == file.delete_uris for file in group.files)


def _record_checksums(warehouse: Warehouse, operation: str, data_files: Sequence[DataFile]) -> None:
    """Record the new archived files, so that a restore recognises damaged ones and a purge knows whose they are."""
    rows: list[dict[str, object]] = [
        {
            "file_uri": new.file_path,
            "source_id": LiveFile(new).source_id,
            # Files in hot that it was made from would hold the rows that it lacks.
            "original_uris": [],
            "row_count": new.record_count,
            "file_bytes": new.file_size_in_bytes,
            "checksum": storage_for(new.file_path).checksum(new.file_path),
            "move_id": operation,
            "archived_at": wall_clock(),
        }
        for new in data_files
    ]
    warehouse.append_rows(ARCHIVED_FILES.name, rows, f"{operation}:checksums")
