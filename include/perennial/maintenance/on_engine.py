"""Merge sources of the hot table on the configured engine: it reads the rows and writes files, and does no more.

What is merged, the proof and the commit stay in process. For some sources at a time:

1. A staging table is made like the hot table, and the engine writes the sources' rows into it, as of one snapshot.
2. The engine counts and hashes the rows of both, source by source. The counts have to be those of the manifests too.
3. Copies of the staged files are put where the hot table has its own, byte for byte, so that it never lists a file that
   is another table's.
4. Without the engine: how many rows of which source each copy holds; and the whole rows, hashed, of every source that
   had delete files, and of a sample of the others.
5. The staging table is dropped. What the caller commits is the copies, as after a merge in process.

Killed anywhere before that commit it has changed nothing; what it leaves is purged (`maintenance.staging`).
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from perennial.engines.open import open_engine
from perennial.engines.protocol import BATCH_ROWS, Engine
from perennial.engines.snapshots import engine_path, relations_at_snapshots, table_at_snapshot
from perennial.engines.write_files import written_name
from perennial.errors import TerminalDataError, TransientError
from perennial.maintenance.groups import COMMIT_FILES, PASS_BYTES, FileGroup, batched
from perennial.maintenance.staging import staging_table
from perennial.moves.rewrite import count_file_rows, fingerprint_files
from perennial.sql import statement
from perennial.storage import storage_for
from perennial.tables import INTERACTIONS
from perennial.text import pluralize
from perennial.warehouse import LiveFile, Warehouse
from perennial.warehouse.files import taken_over
from perennial.warehouse.schemas import unknown_columns
from perennial.warehouse.staging import find_staging, is_like

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

    from perennial.engines.transpile import Relations

log = logging.getLogger(__name__)

# Athena writes to a hundred partitions a statement, and for half an hour.
MOST_SOURCES, MOST_BYTES = 100, 10 << 30
# How much a sample of whole sources holds that is read again in process; it is read twice.
SAMPLE_BYTES, SAMPLE_FILES = PASS_BYTES, 200
# Engines put the id into the name of a directory, where a character takes up to twelve.
_ID_LENGTH = 255
_WRITTEN = "written_interactions"
_REMEDY = (
    "Nothing was replaced. Set PERENNIAL_COMPACT_ON_ENGINE to false to merge in process, and find out what is wrong "
    "with the engine of PERENNIAL_ENGINE_URL before you ask it anything else."
)


def whole_sources(warehouse: Warehouse, table: Table, groups: Sequence[FileGroup]) -> list[FileGroup]:
    """Choose the sources that an engine merges, each with all its files: it cannot be told to read some of them.

    None where somebody has added columns: engines are told those of the contract, and the others would be lost. Else
    those of which at least half the bytes have to be written anyway, and whose id every engine can make a path of.
    """
    worth: dict[str, int] = {}
    if unknown := unknown_columns(table.name()[-1], table.schema()):
        log.info("%s has column %s: it is merged in process", table.name()[-1], unknown[0].name)
        return []
    for group in groups:
        if group.source_id is not None and 0 < len(quote(group.source_id, safe="")) <= _ID_LENGTH:
            worth[group.source_id] = worth.get(group.source_id, 0) + group.total_bytes
    files: dict[str, list[LiveFile]] = {}
    for live in warehouse.live_files(table, worth):
        if live.is_mixed:
            # They are divided by source first, in process.
            continue
        files.setdefault(live.source_id, []).append(live)
    whole = [FileGroup(source_id, tuple(members)) for source_id, members in files.items()]
    return [group for group in whole if 2 * worth[group.source_id or ""] >= group.total_bytes]


def merge_on_engine(warehouse: Warehouse, table: Table, groups: Sequence[FileGroup]) -> Iterator[list[FileGroup]]:
    """Let the engine write the rows of whole sources into fewer files, some sources at a time, and prove them.

    Args:
        warehouse: Where the tables are.
        table: The hot table, as loaded: its current snapshot is what the engine reads.
        groups: Sources with all their files.

    Yields:
        Those with what they were merged to, to be committed. Left out are sources that came out in as many files as
        before; all are, where the catalog gives a new table other field ids.

    Raises:
        TerminalDataError: The engine has written other rows than it was to read.
        TerminalEngineError: It refuses, the login or a statement.
        TransientError: It, the catalog or the storage failed.
    """
    engine = open_engine(warehouse.settings) if groups else None
    if engine is None:
        return
    try:
        for batch in batched(([group] for group in groups), MOST_BYTES, COMMIT_FILES, MOST_SOURCES):
            yield _merged(warehouse, engine, table, [group for (group,) in batch])
    finally:
        engine.close()


def _merged(warehouse: Warehouse, engine: Engine, table: Table, groups: list[FileGroup]) -> list[FileGroup]:
    started = time.monotonic()
    with staging_table(warehouse, table) as staging:
        name = staging.name()[-1]
        if not is_like(staging, table):
            log.warning("the catalog gives a copy of %s other field ids: it is merged in process", INTERACTIONS.name)
            return []
        relations = relations_at_snapshots(warehouse.settings, [table])
        binds = {"source_ids": [group.source_id for group in groups]}
        rows = relations.render(statement("maintenance/select_rows_to_merge"), binds, engine.dialect)
        columns = [column.name for column in INTERACTIONS.columns]
        engine.append(engine_path(warehouse.settings, staging), columns, rows.sql, rows.binds)
        staged = find_staging(warehouse, name)
        if staged is None:
            raise TransientError(f"{name} was dropped by another run while it was written; run it again.")
        merged = _assigned(groups, list(warehouse.live_files(staged)))
        relations.tables[_WRITTEN] = table_at_snapshot(warehouse.settings, staged, INTERACTIONS.name)
        _prove_by_engine(engine, relations, merged)
        saving = [group for group in merged if _saves(group)]
        copied = _copied(table, saving)
    _prove_in_process(table, copied)
    seconds = max(time.monotonic() - started, 1e-9)
    sources = pluralize(len(groups), "source")
    log.info("%s: %d of %s merged on the engine in %.1f s", name, len(copied), sources, seconds)
    return copied


def _saves(group: FileGroup) -> bool:
    return len(group.merged) < len(group.files) or group.has_deletes


def _assigned(groups: Sequence[FileGroup], staged: Sequence[LiveFile]) -> list[FileGroup]:
    """Give every source the files that the engine wrote for it."""
    written: dict[str, list[DataFile]] = {}
    for live in staged:
        if live.deletes or str(live.data_file.file_format).upper().rpartition(".")[2] != "PARQUET":
            raise TerminalDataError(f"The engine wrote {live.uri}, which is no plain Parquet file. {_REMEDY}")
        written.setdefault(live.source_id, []).append(live.data_file)
    if strange := written.keys() - {group.source_id for group in groups}:
        raise TerminalDataError(
            f"The engine wrote rows of sources it was not asked for: {sorted(strange)!r}. {_REMEDY}"
        )
    return [replace(group, merged=tuple(written.get(group.source_id or "", ()))) for group in groups]


def _prove_by_engine(engine: Engine, relations: Relations, groups: Sequence[FileGroup]) -> None:
    """Let the engine count and hash what it was to read and what it has written, and hold the manifests against it."""
    binds = {"source_ids": [group.source_id for group in groups]}
    asked = relations.render(statement("maintenance/fingerprint_sources"), binds, engine.dialect)
    answer = engine.query(asked.sql, asked.binds, BATCH_ROWS).read_all().to_pylist()
    found = {(row["side"], row["source_id"]): (int(row["row_count"]), row["row_hash"]) for row in answer}
    for group in groups:
        original = found.get(("original", group.source_id), (0, None))
        written = found.get(("written", group.source_id), (0, None))
        listed = sum(data_file.record_count for data_file in group.merged)
        expected = sum(live.row_count for live in group.files)
        # What delete files hide is not in the manifests; a look without the engine follows.
        fits = original[0] <= expected if group.has_deletes else original[0] == expected
        if original != written or listed != written[0] or not fits:
            raise TerminalDataError(
                f"The engine wrote other rows of source {group.source_id!r} than it was to: {INTERACTIONS.name} has "
                f"{expected}, deleted ones included, of which it read {original[0]} and wrote {written[0]} (hashes "
                f"{original[1]} and {written[1]}); its manifests list {listed}. {_REMEDY}"
            )


def _copied(table: Table, groups: Sequence[FileGroup]) -> list[FileGroup]:
    """Put copies of all files where the table has its own, under names that are used once."""
    stem, place = f"compact-{uuid.uuid4().hex}", table.location_provider().new_data_location
    originals = [data_file for group in groups for data_file in group.merged]
    copies = [
        taken_over(table, LiveFile(one), place(written_name(stem, number))) for number, one in enumerate(originals)
    ]
    if not copies:
        return list(groups)
    storage = storage_for(copies[0].file_path)
    with ThreadPoolExecutor(storage.in_flight) as pool:
        pairs = list(zip(originals, copies, strict=True))
        for original, made in zip(
            originals, pool.map(lambda pair: storage.copy(pair[0].file_path, pair[1].file_path), pairs), strict=True
        ):
            same = made.original_checksum == made.copied_checksum
            if not same or made.copied_bytes != original.file_size_in_bytes:
                raise TransientError(f"The copy of {original.file_path} differs; nothing was replaced. Run it again.")
    storage.make_durable([copy.file_path for copy in copies])
    left = iter(copies)
    return [replace(group, merged=tuple(next(left) for _ in group.merged)) for group in groups]


def _prove_in_process(table: Table, groups: Sequence[FileGroup]) -> None:
    """Read copies without the engine: of all of them which source's rows they hold, of some sources the whole rows."""
    counts = count_file_rows(table, [data_file.file_path for group in groups for data_file in group.merged])
    for group in groups:
        for data_file in group.merged:
            if counts[data_file.file_path] != {group.source_id: data_file.record_count}:
                raise TerminalDataError(
                    f"A file that the engine wrote for source {group.source_id!r} should hold {data_file.record_count} "
                    f"rows of it, and holds, by source: {counts[data_file.file_path]!r}. {_REMEDY}"
                )
    sample = _sample(groups)
    # The hash covers the id as well, so one look is enough for many sources.
    for members in (sample, *([group] for group in groups if group.has_deletes)):
        read = fingerprint_files(table, (live for group in members for live in group.files))
        written = fingerprint_files(table, (LiveFile(new) for group in members for new in group.merged))
        if read != written:
            named = ", ".join(repr(group.source_id) for group in members[:5])
            raise TerminalDataError(
                f"The engine wrote other rows than it was to, and its own hash does not show it: "
                f"{pluralize(read[0], 'row')}, hash {read[1]}, became {written[0]}, hash {written[1]}, of "
                f"{pluralize(len(members), 'source')} ({named}, …). {_REMEDY}"
            )


def _sample(groups: Sequence[FileGroup]) -> list[FileGroup]:
    """Choose sources without deletes whose rows are read again: at random, as many as fit."""
    sample: list[FileGroup] = []
    bytes_left, files_left = SAMPLE_BYTES, SAMPLE_FILES
    for group in random.sample(groups, len(groups)):
        if not group.has_deletes and group.total_bytes <= bytes_left and len(group.files) <= files_left:
            sample.append(group)
            bytes_left, files_left = bytes_left - group.total_bytes, files_left - len(group.files)
    return sample
