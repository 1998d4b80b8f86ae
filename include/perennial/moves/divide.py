"""Divides files that may hold rows of several sources, because another writer has changed a table's partitioning.

Moving, hiding or restoring a source needs its rows in files of their own. So before anything is planned, such files are
rewritten as one file per source and replaced in one commit (M7: row count and hash prove the rows).
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from perennial.errors import TerminalDataError
from perennial.moves.rewrite import rewrite_files
from perennial.tables import INTERACTIONS_ARCHIVE
from perennial.text import pluralize
from perennial.warehouse import FileChange, LiveFile, Warehouse
from perennial.warehouse.commits import commit_change
from perennial.warehouse.files import mixed_files
from perennial.warehouse.foreign import refuse_unreadable

if TYPE_CHECKING:
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

# How much is read, written and replaced at once.
_BYTES, _FILES = 256 << 20, 1000


def divide_mixed_files(warehouse: Warehouse, name: str) -> int:
    """Rewrite the files of a table that may hold rows of several sources as one file per source.

    Returns:
        Number of replaced files; files that another writer has changed meanwhile are left to the next call.

    Raises:
        TerminalDataError: A file cannot be read, or the written rows differ from those read; it was not replaced.
        TransientConflictError: Other writers kept committing first.
    """
    table = warehouse.table(name)
    mixed = mixed_files(table)
    refuse_unreadable(table, mixed)
    count = sum(_divide(warehouse, table, files) for files in _batches(mixed))
    if count:
        log.info("%s: %s of another partitioning divided by source", name, pluralize(count, "file"))
    return count


def _divide(warehouse: Warehouse, table: Table, files: Sequence[LiveFile]) -> int:
    name = table.name()[-1]
    storage_class = warehouse.settings.archive_storage_class if name == INTERACTIONS_ARCHIVE.name else None
    written = rewrite_files(table, table, list(files), f"divide-{uuid.uuid4().hex}", storage_class)
    if not written.is_proved:
        raise TerminalDataError(
            f"Dividing {pluralize(len(files), 'file')} of {name} by source, the first being {files[0].uri}, gave other "
            f"rows ({written.written_rows}) than were read ({written.read_rows}); nothing was replaced. Check that "
            "file."
        )

    def change(current: Table) -> FileChange:
        listed = {live.uri: live for live in mixed_files(current)}
        if not all(file.uri in listed and listed[file.uri].delete_uris == file.delete_uris for file in files):
            return FileChange()
        return FileChange(add=list(written.data_files), remove=[listed[file.uri].data_file for file in files])

    return len(files) if commit_change(warehouse, name, change, f"divide:{uuid.uuid4().hex}") else 0


def _batches(files: Sequence[LiveFile]) -> Iterator[list[LiveFile]]:
    batch: list[LiveFile] = []
    for live in files:
        batch.append(live)
        if len(batch) == _FILES or sum(one.file_bytes for one in batch) >= _BYTES:
            yield batch
            batch = []
    if batch:
        yield batch
