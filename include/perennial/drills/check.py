"""Choose a sample of the archive, read it in full in chunks of about equal bytes, and record each outcome."""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from perennial.drills.check_file import Finding, Recorded, check_file
from perennial.drills.listing import archive_session, files_listed_now
from perennial.errors import TerminalRequestError
from perennial.moves.plan import CHUNK_BYTES, MAX_CHUNKS
from perennial.moves.thaw import find_cold, thaw_files
from perennial.moves.thaw_status import ThawStatus
from perennial.operations import OperationStore, Run, wall_clock
from perennial.reports import BULK
from perennial.settings import dag_id
from perennial.statements import statement
from perennial.tables import ARCHIVE_CHECKS, INTERACTIONS_ARCHIVE
from perennial.text import format_bytes, pluralize
from perennial.warehouse import LiveFile, Warehouse
from perennial.warehouse.heads import refuse_losses

if TYPE_CHECKING:
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

SAMPLE_PERCENT = 5.0
# Files that are read at once: each takes a temporary file where the archive is a bucket, and memory for its pages.
_READ_AT_ONCE = 4
_LOG_EVERY_SECONDS = 10.0
# How many sources are examined to find one whose files can all be read now.
_CANDIDATES = 20


@dataclass(frozen=True)
class SampledFile:
    """A file that a run checks, with what is recorded of it."""

    uri: str
    source_id: str
    file_bytes: int
    checksum: str = ""
    row_count: int | None = None

    @property
    def recorded(self) -> Recorded:
        return Recorded(self.checksum, self.row_count)


@dataclass(frozen=True)
class CheckPlan:
    """What one run checks.

    Attributes:
        uri: Directory of its documents.
        chunk_count: Check tasks.
        file_count: Files of the sample.
        rehearsed_source: The source that goes the way of a restore; empty if there is none that can be read.
    """

    uri: str
    chunk_count: int = 0
    file_count: int = 0
    rehearsed_source: str = ""

    @property
    def check_id(self) -> str:
        return self.uri.rpartition("/")[2]


def plan_check(warehouse: Warehouse, sample_percent: float = SAMPLE_PERCENT, check_cold: bool = False) -> CheckPlan:
    """Choose the files of a run, the longest unchecked first, and the source whose restore is rehearsed.

    Args:
        warehouse: Where.
        sample_percent: Of all archived files.
        check_cold: Whether cold files will be thawed, so that the rehearsed source may have some.

    Raises:
        TerminalRequestError: The percentage is not above 0 and at most 100.
        TerminalDataError: A table was set back: what it lists is not what there is to check.
    """
    if not 0 < sample_percent <= 100:
        raise TerminalRequestError(f"sample_percent is {sample_percent:g}; give a number above 0, and at most 100.")
    refuse_losses(warehouse)
    with archive_session(warehouse) as session:
        rows = session.execute(statement("drills/sample_archived_files"), {"sample_percent": sample_percent}).fetchall()
    files = [SampledFile(row[0], row[1], row[2], row[3] or "", row[4]) for row in rows]
    plan = CheckPlan(f"{warehouse.operations_uri()}/checks/{uuid.uuid4().hex}")
    chunks = list(_chunks(files))
    for number, chunk in enumerate(chunks):
        OperationStore.of(warehouse).put(f"checks/{plan.check_id}", [asdict(file) for file in chunk], f"chunk-{number}")
    candidates = dict.fromkeys(file.source_id for file, row in zip(files, rows, strict=True) if not row[5])
    rehearsed = _rehearsed_source(warehouse, list(candidates)[:_CANDIDATES], check_cold)
    log.info("check: %s of the archive in the sample", pluralize(len(files), "file"))
    plan = CheckPlan(plan.uri, len(chunks), len(files), rehearsed)
    OperationStore.of(warehouse).put(f"checks/{plan.check_id}", asdict(plan), "plan")
    return plan


def read_check(uri: str) -> CheckPlan:
    """Read the plan of a check.

    Raises:
        TerminalRequestError: Maintenance has removed it.
    """
    return CheckPlan(**_read(f"{uri}/plan.json"))


def _read(uri: str) -> Any:
    try:
        return OperationStore.get(uri)
    except FileNotFoundError as error:
        raise TerminalRequestError(
            f"{uri} is missing: {dag_id('maintain_warehouse')} removes what old runs leave. Nothing was checked; "
            f"trigger a new run of {dag_id('check_archive')}."
        ) from error


def request_cold(warehouse: Warehouse, run: Run, plan: CheckPlan) -> ThawStatus | None:
    """Request the thaw of the cold files of a check, in the cheapest tier; None if all files can be read."""
    wanted = {file.uri: (file.source_id, file.file_bytes) for n in range(plan.chunk_count) for file in _chunk(plan, n)}
    if plan.rehearsed_source:
        for uri, live in files_listed_now(warehouse, {plan.rehearsed_source}).items():
            wanted[uri] = live.source_id, live.file_bytes
    return thaw_files(warehouse, run, [(plan.uri, wanted)], BULK)


def check_chunk(warehouse: Warehouse, run: Run, plan: CheckPlan, chunk: int) -> dict[str, int]:
    """Read one chunk of the sample in full and record each outcome, once.

    A file that has left the archive meanwhile is not recorded: it was moved, and there is nothing to check.

    Returns:
        Files by outcome.

    Raises:
        TransientError: The storage does not answer for the moment; nothing of the chunk was recorded.
    """
    sampled = {file.uri: file for file in _chunk(plan, chunk)}
    listed = files_listed_now(warehouse, {file.source_id for file in sampled.values()})
    archive = warehouse.table(INTERACTIONS_ARCHIVE.name)
    files = [listed[uri] for uri in sampled if uri in listed]
    rows: list[dict[str, object]] = [
        {"file_uri": live.uri, "source_id": live.source_id, "checked_at": wall_clock(), "outcome": finding.outcome,
         "run_id": run.run_id, "detail": finding.detail or None}
        for live, finding in _checked(warehouse, archive, files, sampled)
    ]  # fmt: skip
    warehouse.append_rows(ARCHIVE_CHECKS.name, rows, f"check:{plan.check_id}:{chunk}")
    counts = dict(Counter(str(row["outcome"]) for row in rows))
    log.info("check: chunk %d: %s, %d moved meanwhile", chunk, counts, len(sampled) - len(rows))
    return counts


def _checked(
    warehouse: Warehouse, archive: Table, files: list[LiveFile], sampled: dict[str, SampledFile]
) -> Iterator[tuple[LiveFile, Finding]]:
    def check(live: LiveFile) -> Finding:
        return check_file(archive, live, sampled[live.uri].recorded)

    started = logged = time.monotonic()
    done = done_bytes = 0
    with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        for live, found in zip(files, pool.map(check, files), strict=True):
            # Not in the pool: there would be a connection to the catalog for each thread.
            finding = _confirmed(warehouse, live, sampled[live.uri], found)
            done, done_bytes = done + 1, done_bytes + live.file_bytes
            if (now := time.monotonic()) - logged > _LOG_EVERY_SECONDS or done == len(files):
                logged, seconds = now, max(now - started, 1e-9)
                rate = format_bytes(round(done_bytes / seconds))
                log.info("check: %d of %s read, %s a second", done, pluralize(len(files), "file"), rate)
            if finding is None:
                continue
            if finding.detail:
                log.error("check: %s: %s", finding.outcome, finding.detail)
            yield live, finding


def _confirmed(warehouse: Warehouse, live: LiveFile, sampled: SampledFile, finding: Finding) -> Finding | None:
    """Look again at what seems wrong. None if the archive lists the file no longer: it was moved."""
    if finding.outcome in ("sound", "cold"):
        return finding
    now = files_listed_now(warehouse, {live.source_id}).get(live.uri)
    return None if now is None else check_file(warehouse.table(INTERACTIONS_ARCHIVE.name), now, sampled.recorded)


def _chunk(plan: CheckPlan, chunk: int) -> list[SampledFile]:
    return [SampledFile(**fields) for fields in _read(f"{plan.uri}/chunk-{chunk}.json")]


def _chunks(files: Iterable[SampledFile]) -> Iterator[list[SampledFile]]:
    chosen = list(files)
    size = max(CHUNK_BYTES, math.ceil(sum(file.file_bytes for file in chosen) / MAX_CHUNKS))
    chunk: list[SampledFile] = []
    total = 0
    for file in chosen:
        chunk.append(file)
        total += file.file_bytes
        if total >= size:
            yield chunk
            chunk, total = [], 0
    if chunk:
        yield chunk


def _rehearsed_source(warehouse: Warehouse, candidates: list[str], check_cold: bool) -> str:
    for source_id in candidates:
        files = files_listed_now(warehouse, {source_id})
        # Deletes of other engines stay with the table that they are in.
        if any(live.deletes for live in files.values()):
            continue
        if check_cold or not find_cold(warehouse, files):
            return source_id
    return ""
