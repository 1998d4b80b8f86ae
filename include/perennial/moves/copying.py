"""Step 2: put a copy of every planned file where the destination will list it."""

from __future__ import annotations

import errno
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from perennial.errors import PerennialError, TerminalDataError, TerminalSettingError, TransientError
from perennial.moves.plan import CopyStep, MovePlan, read_originals, rewritten_stem
from perennial.moves.rewriting import rewrite_rows
from perennial.storage import storage_for
from perennial.warehouse import LiveFile, Warehouse
from perennial.warehouse.files import count_rows, relocated, write_file_list

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

IN_FLIGHT = 8
LOG_EVERY_SECONDS = 10.0


@dataclass(frozen=True)
class CopyResult:
    """What became of one step.

    Attributes:
        source_id: Its source.
        copy_uri: The copy.
        original_rows: Rows the originals hold, other engines' deletes applied.
        copied_rows: Rows the copy holds by its own footer.
        original_bytes: Size of the originals; for a rewritten step that of the copy.
        copied_bytes: Size of the copy.
        original_sha256: Checksum of what should have been copied.
        copied_sha256: Checksum of the copy. For a rewritten step both are order-free hashes of the rows.
        file_sha256: Checksum of the copy's bytes, to be noted when it enters the archive.
        damage: What is wrong with the original, naming it; empty when nothing is.
    """

    source_id: str
    copy_uri: str
    original_rows: int
    copied_rows: int
    original_bytes: int
    copied_bytes: int
    original_sha256: str = ""
    copied_sha256: str = ""
    file_sha256: str = ""
    damage: str = ""


def copy_chunk(warehouse: Warehouse, plan: MovePlan, chunk: int) -> int:
    """Copy one chunk of a plan and write down the results. Repeating it does the same again (M1).

    Returns:
        Files copied.

    Raises:
        TransientError: The destination cannot be written for the moment: a full disk.
        TerminalSettingError: The destination must not be written.
    """
    steps = [step for step in plan.steps if step.chunk == chunk]
    originals = read_originals(warehouse, plan)
    origin = warehouse.table(plan.direction.origin)
    destination = warehouse.table(plan.direction.destination)
    copying = _Copying(warehouse, plan, origin, destination, originals)
    results: list[tuple[CopyResult, DataFile | None]] = []
    started = logged = time.monotonic()
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        for result in pool.map(copying.run, steps):
            results.append(result)
            if time.monotonic() - logged > LOG_EVERY_SECONDS:
                logged = time.monotonic()
                rate = len(results) / (logged - started)
                log.info(
                    "%s chunk %d: %d of %d files, %.0f a second", plan.move_id, chunk, len(results), len(steps), rate
                )
    copies = [data_file for _, data_file in results if data_file is not None]
    storage_for(plan.steps[0].copy_uri).make_durable([data_file.file_path for data_file in copies])
    write_file_list(destination, copies_uri(plan, chunk), copies)
    _write_results(plan, chunk, [result for result, _ in results])
    return len(copies)


def read_results(plan: MovePlan) -> list[CopyResult]:
    """Read the results of every chunk.

    Raises:
        TransientError: A chunk has not been copied yet.
    """
    results = []
    for chunk in range(plan.chunk_count):
        uri = f"{plan.uri}/chunk-{chunk}.json"
        try:
            results += [CopyResult(**fields) for fields in json.loads(storage_for(uri).read(uri))]
        except FileNotFoundError as error:
            raise TransientError(
                f"Chunk {chunk} of {plan.uri} has not been copied; run its copy task again."
            ) from error
    return results


def copies_uri(plan: MovePlan, chunk: int) -> str:
    """Address of the file list of a chunk's copies."""
    return f"{plan.uri}/chunk-{chunk}.avro"


@dataclass(frozen=True)
class _Copying:
    warehouse: Warehouse
    plan: MovePlan
    origin: Table
    destination: Table
    originals: dict[str, DataFile]

    @cached_property
    def _live_files(self) -> dict[str, LiveFile]:
        """The files whose rows are rewritten, as the pinned snapshot lists them, delete files included."""
        sources = {step.source_id for step in self.plan.steps if step.rewritten}
        listed = self.warehouse.live_files(self.origin, sources, self.plan.origin_snapshot_id)
        return {live.uri: live for live in listed}

    def run(self, step: CopyStep) -> tuple[CopyResult, DataFile | None]:
        try:
            if not (damage := self._damage(step)):
                return self._rewrite(step) if step.rewritten else self._copy(step)
        except OSError as error:
            raise _unwritable(step, error) from error
        except _DamagedError as error:
            damage = str(error)
        return CopyResult(
            step.source_id, step.copy_uri, step.row_count, 0, step.file_bytes, 0, "", "", damage=damage
        ), None

    def _damage(self, step: CopyStep) -> str:
        """Look whether the originals are there and whole."""
        storage = storage_for(step.originals[0])
        for uri in step.originals:
            found, listed = storage.stat(uri), self.originals[uri].file_size_in_bytes
            if found is None:
                return f"{uri} is missing"
            if found.file_bytes != listed:
                return f"{uri} has {found.file_bytes} bytes, the table says {listed}"
        return ""

    def _copy(self, step: CopyStep) -> tuple[CopyResult, DataFile]:
        original = self.originals[step.originals[0]]
        storage = storage_for(step.copy_uri)
        storage.copy(original.file_path, step.copy_uri)
        copied_sha256 = storage.checksum(step.copy_uri)
        same = storage.same_bytes(original.file_path, step.copy_uri)
        original_sha256 = copied_sha256 if same else storage.checksum(original.file_path)
        _refuse_corrupted(step, original.file_path, original_sha256)
        copied = storage.stat(step.copy_uri)
        result = CopyResult(
            source_id=step.source_id,
            copy_uri=step.copy_uri,
            original_rows=original.record_count,
            copied_rows=count_rows(self.origin, step.copy_uri),
            original_bytes=original.file_size_in_bytes,
            copied_bytes=copied.file_bytes if copied else 0,
            original_sha256=original_sha256,
            copied_sha256=copied_sha256,
            file_sha256=copied_sha256,
        )
        return result, relocated(original, step.copy_uri)

    def _rewrite(self, step: CopyStep) -> tuple[CopyResult, DataFile | None]:
        for uri in step.originals:
            if uri in step.expected_sha256:
                _refuse_corrupted(step, uri, storage_for(uri).checksum(uri))
        rewritten = rewrite_rows(
            self.origin,
            self.destination,
            [self._live_files[uri] for uri in step.originals],
            rewritten_stem(step.originals, step.deletes),
        )
        written = rewritten.data_file
        if written is None:
            return CopyResult(step.source_id, step.copy_uri, rewritten.read_rows, 0, 0, 0), None
        result = CopyResult(
            source_id=step.source_id,
            copy_uri=step.copy_uri,
            original_rows=rewritten.read_rows,
            copied_rows=written.record_count,
            original_bytes=written.file_size_in_bytes,
            copied_bytes=written.file_size_in_bytes,
            original_sha256=rewritten.read_hash,
            copied_sha256=rewritten.written_hash,
            file_sha256=storage_for(step.copy_uri).checksum(step.copy_uri),
        )
        return result, written


class _DamagedError(Exception):
    """An original is not what it was when it was archived."""


def _refuse_corrupted(step: CopyStep, uri: str, sha256: str) -> None:
    if step.expected_sha256.get(uri, sha256) != sha256:
        raise _DamagedError(f"{uri} is corrupted: its SHA-256 is not the one noted when it was archived")


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
    uri = f"{plan.uri}/chunk-{chunk}.json"
    storage_for(uri).write(uri, json.dumps([asdict(result) for result in results], ensure_ascii=False).encode())
