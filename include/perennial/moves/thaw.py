"""M9: archived files of a cold storage class are thawed before a restore reads them.

Whether a file can be read is asked of its storage, every time: nothing but the time of the request and who was notified
is remembered, so every step here can be killed and run again. Which class a file lies in is asked likewise; the setting
says only where files go from now on.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from perennial.errors import TerminalRequestError, TransientError
from perennial.moves.cancellation import refuse_cancelled_run
from perennial.moves.move_plan import RESTORE, MovePlan, read_plan
from perennial.moves.thaw_status import ThawStatus, find_thaw_status, write_thaw_status
from perennial.operations import OperationStore, Run, heartbeat, pending_records, wall_clock
from perennial.reports import BULK, EXPEDITED, STANDARD, THAW_TIERS, longest_thaw
from perennial.storage import ColdState, Storage, Temperature, storage_for
from perennial.text import pluralize
from perennial.warehouse import Warehouse
from perennial.warehouse.files import data_file_count

log = logging.getLogger(__name__)

LOG_EVERY_SECONDS = 10.0
# A check costs a request per file, so the pauses grow: each is a tenth of the time waited so far, within these bounds.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 15.0, 900.0
# How many of the files that are not ready are checked each time. Files tend to thaw in the order of the requests.
MAX_FILES_PER_LOOK = 1_000
# A request lists 1,000 files or checks one: listing is cheaper for many files, unless it finds many more than wanted.
MIN_FILES_TO_LIST, MAX_LISTED_PER_FILE = 1_000, 20

Files = Mapping[str, tuple[str, int]]
"""Source and size of files, by address."""


@dataclass(frozen=True)
class ColdFiles:
    """The files of a plan that cannot be read yet; the thaw of all of them has been requested.

    Attributes:
        frozen_as: The storage class of each file, by address.
        source_ids: Their sources.
        total_bytes: Their size according to the plan.
        tier: The slowest retrieval tier of any of them; Bulk for files that somebody else has requested before.
    """

    frozen_as: dict[str, str]
    source_ids: frozenset[str]
    total_bytes: int
    tier: str


def request_thaw(warehouse: Warehouse, plan: MovePlan, tier: str) -> ColdFiles:
    """Request the thaw of every file of a plan that cannot be read, once, and do not wait."""
    return _request(warehouse, _planned_files(plan), tier)


def _request(warehouse: Warehouse, files: Files, tier: str) -> ColdFiles:
    states = _each(_perhaps_cold(warehouse, files), lambda storage, uri: storage.thaw(uri, tier, faster=True))
    cold = {uri: state.frozen_as for uri, state in states.items() if state.temperature is not Temperature.READABLE}
    slowest = _slowest([tier, *(states[uri].tier or BULK for uri in cold)])
    owners, sizes = zip(*(files[uri] for uri in cold), strict=True) if cold else ((), ())
    return ColdFiles(cold, frozenset(owners), sum(sizes), slowest)


def start_thaw(warehouse: Warehouse, run: Run, plan_uris: Sequence[str], tier: str) -> ThawStatus | None:
    """Request the thaw of what a run's plans need, and record its status.

    Returns:
        The status of the thaw to wait for; None if everything can be read.

    Raises:
        TerminalCancelledError: The run was cancelled (R23).
        TerminalRequestError: The tier is Expedited, and a file is in DEEP_ARCHIVE. No thaw was requested.
    """
    refuse_cancelled_run(warehouse, run.run_id)
    if tier == EXPEDITED:
        # Before anything is requested, so each plan is read twice.
        _refuse_expedited(warehouse, plan_uris)
    return thaw_files(warehouse, run, ((uri, _planned_files(read_plan(uri))) for uri in plan_uris), tier)


def thaw_files(warehouse: Warehouse, run: Run, wanted: Iterable[tuple[str, Files]], tier: str) -> ThawStatus | None:
    """Request files for a run, and write down how far that is; as `start_thaw`, for the files of any documents.

    Args:
        warehouse: Where.
        run: Who waits.
        wanted: The files, by the address of the directory that names them; `thaw_looks` takes the same addresses.
        tier: How fast.
    """
    cold = {uri: _request(warehouse, files, tier) for uri, files in wanted}
    for uri, files in cold.items():
        if files.frozen_as:
            OperationStore.write(_list_uri(uri), list(files.frozen_as))
    before = find_thaw_status(warehouse, run.run_id)
    if not any(files.frozen_as for files in cold.values()):
        if before is not None:
            write_thaw_status(warehouse, replace(before, looked_at=_now(), thawed_count=before.file_count))
        return None
    thawing = _asked(run, cold.values(), tier)
    if before is not None and not before.ended:
        # A retry of the same run finds files readable that an earlier attempt has requested.
        count = max(before.file_count, thawing.file_count)
        thawing = replace(before, looked_at=_now(), file_count=count, thawed_count=count - thawing.file_count)
    write_thaw_status(warehouse, thawing)
    log.info("%s: %s, by %s (%s)", run.run_id, thawing, thawing.expected_at, tier)
    return thawing


def _asked(run: Run, cold: Collection[ColdFiles], tier: str) -> ThawStatus:
    frozen_as = Counter(name for files in cold for name in files.frozen_as.values())
    now = wall_clock()
    expected_tier = _slowest(files.tier for files in cold if files.frozen_as)
    return ThawStatus(
        run_id=run.run_id,
        tier=tier,
        expected_tier=expected_tier,
        asked_at=now.isoformat(),
        expected_at=(now + longest_thaw(frozen_as, expected_tier)).isoformat(),
        looked_at=now.isoformat(),
        file_count=frozen_as.total(),
        total_bytes=sum(files.total_bytes for files in cold),
        frozen_as=dict(frozen_as),
    )


def find_cold(warehouse: Warehouse, uris: Collection[str]) -> dict[str, ColdState]:
    """Look which files cannot be read now, and request nothing; an absent one counts as readable."""
    states = _each(_perhaps_cold(warehouse, uris), lambda storage, uri: storage.look_cold(uri))
    return {uri: state for uri, state in states.items() if state.temperature is not Temperature.READABLE}


def refuse_cold(warehouse: Warehouse, plan_uris: Iterable[str]) -> None:
    """Refuse plans with files that cannot be read yet, and request the thaw of those files.

    Raises:
        TransientError: Says how long to wait.
    """
    for plan_uri in plan_uris:
        plan = read_plan(plan_uri)
        if plan.direction is not RESTORE:
            continue
        asked = request_thaw(warehouse, plan, STANDARD)
        if cold := asked.frozen_as:
            hours = longest_thaw(cold.values(), asked.tier).total_seconds() / 3600
            raise TransientError(
                f"{pluralize(len(cold), 'file')} that entered the archive meanwhile must be thawed, {min(cold)} among "
                "them. "
                f"Run the restore again in {hours:.0f} hours. Nothing was lost."
            )


def thaw_looks(warehouse: Warehouse, run_id: str, plan_uris: Sequence[str]) -> Iterator[float]:
    """Check until every file that a run waits for can be read; heartbeats keep its restore lock meanwhile.

    Yields:
        Seconds to wait before the next check.
    """
    thawing = find_thaw_status(warehouse, run_id)
    if thawing is None:
        return
    waiting = _listed(plan_uris)
    started = datetime.fromisoformat(thawing.asked_at)
    while waiting:
        refuse_cancelled_run(warehouse, run_id)
        try:
            for record in pending_records(warehouse, RESTORE.name):
                # A restore that was given up stays so until its move continues.
                if record.plan_uri in plan_uris:
                    heartbeat(warehouse, record)
            waiting = _still_cold(waiting, thawing.tier)
            count = max(thawing.file_count - len(waiting), thawing.thawed_count)
            thawing = replace(thawing, thawed_count=count, looked_at=_now())
            write_thaw_status(warehouse, thawing)
            log.info("%s: %s", run_id, thawing)
        except TransientError as error:
            log.warning("%s: the thawing files cannot be checked at the moment: %s", run_id, error)
        if waiting:
            elapsed = (wall_clock() - started).total_seconds()
            yield min(max(elapsed / 10, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)


def wait_for_thaw(
    warehouse: Warehouse,
    run: Run,
    plan_uris: Sequence[str],
    tier: str,
    sleep: Callable[[float], object] = time.sleep,
    asked: Callable[[ThawStatus], object] = lambda _: None,
) -> None:
    """Request the thaw and wait in this process, which may take hours.

    Args:
        warehouse: The warehouse.
        run: The run that waits.
        plan_uris: Its plans.
        tier: The retrieval tier.
        sleep: Waits the given seconds.
        asked: Called each time that a thaw has been requested.

    Raises:
        TerminalRequestError: The tier is Expedited, and a file is in DEEP_ARCHIVE. No thaw was requested.
    """
    while (thawing := start_thaw(warehouse, run, plan_uris, tier)) is not None:
        asked(thawing)
        for pause in thaw_looks(warehouse, run.run_id, plan_uris):
            sleep(pause)


def _slowest(tiers: Iterable[str]) -> str:
    return max(tiers, key=THAW_TIERS.index)


def _list_uri(plan_uri: str) -> str:
    return f"{plan_uri}/cold.json"


def _listed(plan_uris: Iterable[str]) -> list[str]:
    """The files that were cold at the last request; none for plans without such files."""
    uris: list[str] = []
    for plan_uri in plan_uris:
        with suppress(FileNotFoundError):
            uris += OperationStore.get(_list_uri(plan_uri))
    return uris


def _planned_files(plan: MovePlan) -> dict[str, tuple[str, int]]:
    """Source and size of every file that a plan reads; the originals of one step share its size equally."""
    files: dict[str, tuple[str, int]] = {}
    for step in plan.steps:
        files |= dict.fromkeys(step.deletes, (step.source_id, 0))
        files |= dict.fromkeys(step.originals, (step.source_id, step.file_bytes // len(step.originals)))
    return files


def _now() -> str:
    return wall_clock().isoformat()


def _still_cold(uris: Sequence[str], tier: str) -> list[str]:
    """Remove readable files from the front of a list, up to the first that are still cold."""
    waiting = list(uris)
    while waiting:
        looked_at, rest = waiting[:MAX_FILES_PER_LOOK], waiting[MAX_FILES_PER_LOOK:]
        # Requests files again that were thawed and are cold again before they were read.
        states = _each(looked_at, lambda storage, uri: storage.thaw(uri, tier))
        cold = [uri for uri, state in states.items() if state.temperature is not Temperature.READABLE]
        waiting = cold + rest
        if cold:
            break
    return waiting


def _each(uris: Sequence[str], ask: Callable[[Storage, str], ColdState]) -> dict[str, ColdState]:
    """Ask the storage about many files at once; the copy step reports missing files as damaged."""
    if not uris:
        return {}
    storage = storage_for(uris[0])

    def asked(uri: str) -> ColdState:
        try:
            return ask(storage, uri)
        except FileNotFoundError:
            return ColdState(Temperature.READABLE)

    states: dict[str, ColdState] = {}
    started = logged = time.monotonic()
    with ThreadPoolExecutor(storage.in_flight) as pool:
        for uri, state in zip(uris, pool.map(asked, uris), strict=True):
            states[uri] = state
            if time.monotonic() - logged > LOG_EVERY_SECONDS:
                logged = time.monotonic()
                rate = len(states) / (logged - started)
                asked_for = pluralize(len(uris), "file")
                log.info("thaw: %d of %s checked, %.0f a second", len(states), asked_for, rate)
    return states


def _perhaps_cold(warehouse: Warehouse, uris: Collection[str]) -> list[str]:
    """Leave out files that cannot be cold: all on a disk; in a bucket, what a listing rules out if that is cheaper."""
    candidates = [uri for uri in uris if storage_for(uri).cold_classes]
    if len(candidates) < MIN_FILES_TO_LIST:
        return candidates
    archived = data_file_count(warehouse.table(RESTORE.origin))
    if archived is None or archived > len(candidates) * MAX_LISTED_PER_FILE:
        return candidates
    asked = set(candidates)
    found = []
    for directory in {uri.rpartition("/")[0] for uri in candidates}:
        storage = storage_for(directory)
        found += [
            stored.uri
            for stored in storage.list_files(directory)
            if stored.uri in asked and stored.storage_class in storage.cold_classes
        ]
    return found


def _refuse_expedited(warehouse: Warehouse, plan_uris: Iterable[str]) -> None:
    for plan_uri in plan_uris:
        frozen = find_cold(warehouse, _planned_files(read_plan(plan_uri)))
        deep = [uri for uri, state in frozen.items() if state.frozen_as == "DEEP_ARCHIVE"]
        if deep:
            raise TerminalRequestError(
                f"thaw_tier is {EXPEDITED}, and {len(deep):,} of the files lie in DEEP_ARCHIVE, {deep[0]} among them, "
                "which S3 does not thaw in that tier. Nothing was moved, and no thaw was requested. Request it again "
                f"with thaw_tier {STANDARD} (12 hours) or {BULK} (48 hours)."
            )
