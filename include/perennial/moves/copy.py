"""Step 2: put a copy of every planned file where the destination will list it."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perennial.errors import PerennialError, TerminalDataError, TerminalSettingError, TransientError
from perennial.moves.move_plan import EXPIRE, CopyStep, MovePlan, file_name, planned_files
from perennial.moves.rewrite import rewrite_files
from perennial.operations import OperationStore, heartbeat
from perennial.storage import StoredFile, algorithm_of, list_together, storage_for
from perennial.text import pluralize
from perennial.warehouse import LiveFile, SourceTotal, Warehouse
from perennial.warehouse.files import data_file_count, read_file_list, taken_over, write_file_list
from perennial.warehouse.schemas import refuse_unlike

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

LOG_EVERY_SECONDS = 10.0


@dataclass(frozen=True)
class CopyResult:
    """What became of one step.

    Attributes:
        source_id: Its source.
        copy_uri: The copy.
        original_rows: Rows the originals hold, other engines' deletes applied.
        copied_rows: Rows the copy holds.
        original_bytes: Size of the originals; for a rewritten step that of the copy.
        copied_bytes: Size of the copy.
        original_checksum: Checksum of what should have been copied, `algorithm:value`.
        copied_checksum: That of the copy. For a rewritten step both are order-free hashes of the rows.
        file_checksum: Checksum of the copy's bytes, to be kept when it enters the archive.
        damage: What is wrong with the original, naming it; empty when nothing is.
    """

    source_id: str
    copy_uri: str
    original_rows: int
    copied_rows: int
    original_bytes: int
    copied_bytes: int
    original_checksum: str = ""
    copied_checksum: str = ""
    file_checksum: str = ""
    damage: str = ""


def copy_chunk(warehouse: Warehouse, plan: MovePlan, chunk: int, copied: Callable[[], object] = lambda: None) -> int:
    """Step 2: copy one chunk of a plan and write down the results. Repeating it does the same again (M1).

    Args:
        warehouse: Where.
        plan: What is to be copied.
        chunk: Which part of it.
        copied: Called after each file.

    Returns:
        Files copied.

    Raises:
        TransientError: The destination cannot be written for the moment: a full disk.
        TerminalSettingError: The destination must not be written.
    """
    heartbeat(warehouse, plan.record)
    steps = [step for step in plan.steps if step.chunk == chunk]
    originals = planned_files(warehouse, plan, {step.source_id for step in steps})
    warehouse.align_facts()
    origin = warehouse.table(plan.direction.origin)
    destination = warehouse.table(plan.direction.destination)
    # What is rewritten gets the columns that the destination has now.
    refuse_unlike(origin, destination)
    sources = {step.source_id for step in steps if step.rewritten}
    listed = {file_name(live.uri): live for live in warehouse.live_files(destination, sources)}
    storage = storage_for(plan.steps[0].copy_uri)
    storage_class = warehouse.settings.archive_storage_class if plan.direction is EXPIRE else None
    whole = [step.originals[0] for step in steps if not step.rewritten]
    stored = list_together(whole, data_file_count(origin))
    copying = _Copying(origin, destination, originals, stored, listed, storage_class)
    results: list[CopyResult] = []
    started = logged = time.monotonic()
    with ThreadPoolExecutor(storage.in_flight) as pool:
        for result in pool.map(copying.run, steps):
            results.append(result)
            copied()
            if time.monotonic() - logged > LOG_EVERY_SECONDS:
                logged = time.monotonic()
                rate = len(results) / (logged - started)
                files = pluralize(len(steps), "file")
                log.info("%s chunk %d: %d of %s, %.0f a second", plan.move_id, chunk, len(results), files, rate)
    written = [result.copy_uri for result in results if result.copied_bytes]
    storage.make_durable(written)
    write_file_list(destination, _rewritten_uri(plan, chunk), copying.rewritten)
    _write_results(plan, chunk, results)
    return len(written)


def read_copies(warehouse: Warehouse, plan: MovePlan, source_ids: Collection[str]) -> list[DataFile]:
    """Describe the copies of some sources: those made byte for byte as their originals are, at another address.

    Raises:
        TerminalDataError: The lists that the copy tasks wrote are not those of their results.
    """
    results = [result for result in read_results(plan) if result.copied_bytes and result.source_id in source_ids]
    made = {result.copy_uri for result in results}
    originals = planned_files(warehouse, plan, source_ids)
    destination = warehouse.table(plan.direction.destination)
    copies = [
        taken_over(destination, originals[step.originals[0]], step.copy_uri)
        for step in plan.steps
        if not step.rewritten and step.copy_uri in made
    ]
    for chunk in range(plan.chunk_count):
        rewritten = read_file_list(destination, _rewritten_uri(plan, chunk))
        copies += [copy for copy in rewritten if copy.partition[0] in source_ids]
    # A table that listed a file twice would have its rows twice.
    if sorted(file_name(copy.file_path) for copy in copies) != sorted(file_name(uri) for uri in made):
        raise TerminalDataError(
            f"The lists of copies below {plan.uri} are not what its copy tasks say they made; nothing was committed. "
            "Run the copy tasks again; if that does not help, see what else writes there (PERENNIAL_OPERATIONS_URI)."
        )
    return copies


def read_results(plan: MovePlan) -> list[CopyResult]:
    """Read the results of every chunk.

    Raises:
        TransientError: A chunk has not been copied yet.
    """
    results = []
    for chunk in range(plan.chunk_count):
        uri = f"{plan.uri}/chunk-{chunk}.json"
        try:
            results += [CopyResult(**fields) for fields in OperationStore.get(uri)]
        except FileNotFoundError as error:
            raise TransientError(
                f"Chunk {chunk} of {plan.uri} has not been copied; run its copy task again."
            ) from error
    return results


def moved_totals(
    plan: MovePlan, source_ids: Collection[str], withdrawn: Collection[str] = frozenset()
) -> list[SourceTotal]:
    """Add up the copies of some sources of a plan, by source, without copies that were withdrawn."""
    by_source: dict[str, list[CopyResult]] = {source_id: [] for source_id in source_ids}
    for result in read_results(plan):
        if result.source_id in by_source and result.copy_uri not in withdrawn:
            by_source[result.source_id].append(result)
    return [
        SourceTotal(
            source_id,
            file_count=len(results),
            row_count=sum(result.copied_rows for result in results),
            total_bytes=sum(result.copied_bytes for result in results),
        )
        for source_id, results in by_source.items()
    ]


def _rewritten_uri(plan: MovePlan, chunk: int) -> str:
    return f"{plan.uri}/rewritten-{chunk}.avro"


@dataclass(frozen=True)
class _Copying:
    origin: Table
    destination: Table
    originals: dict[str, LiveFile]
    stored: dict[str, StoredFile]
    listed: dict[str, LiveFile]
    storage_class: str | None
    rewritten: list[DataFile] = field(default_factory=list)

    def run(self, step: CopyStep) -> CopyResult:
        try:
            if not step.rewritten:
                return self._copy(step)
            if not (damage := self._damage(step)):
                return self._rewrite(step)
        except OSError as error:
            raise _unwritable(step, error) from error
        except _DamagedError as error:
            damage = str(error)
        return CopyResult(step.source_id, step.copy_uri, step.row_count, 0, step.file_bytes, 0, damage=damage)

    def _damage(self, step: CopyStep) -> str:
        """Check whether the originals of what is rewritten are there and whole."""
        storage = storage_for(step.originals[0])
        for uri in step.originals:
            found = storage.stat(uri)
            if damage := f"{uri} is missing" if found is None else self._other_size(uri, found.file_bytes):
                return damage
        return ""

    def _other_size(self, uri: str, file_bytes: int) -> str:
        listed = self.originals[uri].file_bytes
        return "" if file_bytes == listed else f"{uri} has {file_bytes} bytes, the table says {listed}"

    def _copy(self, step: CopyStep) -> CopyResult:
        (uri,) = step.originals
        original, expected = self.originals[uri], step.expected_checksums.get(uri, "")
        wanted = self.storage_class, algorithm_of(expected), self.stored.get(uri)
        try:
            copy = storage_for(step.copy_uri).copy(uri, step.copy_uri, *wanted)
        except FileNotFoundError as error:
            if storage_for(uri).stat(uri) is not None:
                raise
            raise _DamagedError(f"{uri} is missing") from error
        if damage := self._other_size(uri, copy.original_bytes):
            raise _DamagedError(damage)
        _refuse_corrupted(uri, expected, copy.original_checksum)
        return CopyResult(
            source_id=step.source_id,
            copy_uri=step.copy_uri,
            original_rows=original.row_count,
            # Equal bytes are equal rows; a cold copy has no footer that could be read.
            copied_rows=original.row_count if copy.original_checksum == copy.copied_checksum else 0,
            original_bytes=original.file_bytes,
            copied_bytes=copy.copied_bytes,
            original_checksum=copy.original_checksum,
            copied_checksum=copy.copied_checksum,
            file_checksum=copy.copied_checksum,
        )

    def _reuse(self, step: CopyStep, listed: LiveFile) -> CopyResult:
        """Reuse a file that a snapshot lists, because its bytes might differ if it were written again."""
        checksum = storage_for(step.copy_uri).checksum(step.copy_uri)
        self.rewritten.append(listed.data_file)
        return CopyResult(
            source_id=step.source_id,
            copy_uri=step.copy_uri,
            original_rows=listed.row_count,
            copied_rows=listed.row_count,
            original_bytes=listed.file_bytes,
            copied_bytes=listed.file_bytes,
            original_checksum=checksum,
            copied_checksum=checksum,
            file_checksum=checksum,
        )

    def _rewrite(self, step: CopyStep) -> CopyResult:
        if (listed := self.listed.get(file_name(step.copy_uri))) is not None:
            return self._reuse(step, listed)
        for uri in step.originals:
            if expected := step.expected_checksums.get(uri, ""):
                _refuse_corrupted(uri, expected, storage_for(uri).checksum(uri, algorithm_of(expected)))
        files = [self.originals[uri] for uri in step.originals]
        rewritten = rewrite_files(self.origin, self.destination, files, step.stem, self.storage_class)
        if not rewritten.data_files:
            return CopyResult(step.source_id, step.copy_uri, rewritten.read_rows, 0, 0, 0)
        (written,) = rewritten.data_files
        self.rewritten.append(written)
        return CopyResult(
            source_id=step.source_id,
            copy_uri=step.copy_uri,
            original_rows=rewritten.read_rows,
            copied_rows=written.record_count,
            original_bytes=written.file_size_in_bytes,
            copied_bytes=written.file_size_in_bytes,
            original_checksum=rewritten.read_hash,
            copied_checksum=rewritten.written_hash,
            file_checksum=storage_for(step.copy_uri).checksum(step.copy_uri),
        )


class _DamagedError(Exception):
    """An original is not what it was when it was archived."""


def _refuse_corrupted(uri: str, expected: str, found: str) -> None:
    if expected and expected != found:
        raise _DamagedError(f"{uri} is corrupted: its {algorithm_of(expected)} is not what it was when it was archived")


def _unwritable(step: CopyStep, error: OSError) -> PerennialError:
    text = f"Cannot write {step.copy_uri} ({error.strerror or error}); nothing was removed. "
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TransientError(text + "Make room there, then run again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return TerminalSettingError(text + "Give this user the right to write there, or change PERENNIAL_ARCHIVE_URI.")
    if isinstance(error, FileNotFoundError):
        return TerminalDataError(
            f"{error.filename or step.originals[0]} vanished while it was copied; nothing was removed."
        )
    return TransientError(text + "Run again.")


def _write_results(plan: MovePlan, chunk: int, results: list[CopyResult]) -> None:
    OperationStore.write(f"{plan.uri}/chunk-{chunk}.json", [vars(result) for result in results])
