"""M9: archived files of a cold storage class are thawed before a restore reads them.

Whether a file can be read is asked of its storage, every time: nothing but the time of the request and who was notified
is remembered, so every step here can be killed and run again. Which class a file lies in is asked likewise; the setting
says only where files go from now on.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from perennial.errors import TerminalRequestError, TransientError
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
# A look costs a request a file: first after this, then when a tenth more time has passed, at the latest after that.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 15.0, 900.0
# Of more files that are not ready so many are looked at each time; they tend to thaw in the order of asking.
LOOKED_AT = 1_000
# From so many files a listing, 1,000 files a request, is worth its requests: if it has at most so many others.
LISTED_FROM, LISTED_SHARE = 1_000, 20

Files = Mapping[str, tuple[str, int]]
"""Source and size of files, by address."""


@dataclass(frozen=True)
class ColdFiles:
    """The files of a plan that cannot be read yet; all of them have been asked for.

    Attributes:
        frozen_as: Address of each, and the class that it is frozen in.
        source_ids: Their sources.
        total_bytes: Their size as the plan has it.
        tier: The slowest that one of them is thawed in; Bulk where somebody else has asked before, in whatever tier.
    """

    frozen_as: dict[str, str]
    source_ids: frozenset[str]
    total_bytes: int
    tier: str


def request_thaw(warehouse: Warehouse, plan: MovePlan, tier: str) -> ColdFiles:
    """Ask for every file of a plan that cannot be read, once, and return at once."""
    return _request(warehouse, _planned_files(plan), tier)


def _request(warehouse: Warehouse, files: Files, tier: str) -> ColdFiles:
    states = _each(_perhaps_cold(warehouse, files), lambda storage, uri: storage.thaw(uri, tier, faster=True))
    cold = {uri: state.frozen_as for uri, state in states.items() if state.temperature is not Temperature.READABLE}
    slowest = _slowest([tier, *(states[uri].tier or BULK for uri in cold)])
    owners, sizes = zip(*(files[uri] for uri in cold), strict=True) if cold else ((), ())
    return ColdFiles(cold, frozenset(owners), sum(sizes), slowest)


def start_thaw(warehouse: Warehouse, run: Run, plan_uris: Sequence[str], tier: str) -> ThawStatus | None:
    """Request what a run's plans need, and write down how far that is.

    Returns:
        What has to be waited for; None when everything can be read.

    Raises:
        TerminalRequestError: Expedited was asked for, and a file lies in DEEP_ARCHIVE. Nothing was asked for.
    """
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
            storage_for(uri).write(_list_uri(uri), json.dumps(list(files.frozen_as), ensure_ascii=False).encode())
    before = find_thaw_status(warehouse, run.run_id)
    if not any(files.frozen_as for files in cold.values()):
        if before is not None:
            write_thaw_status(warehouse, replace(before, looked_at=_now(), thawed_count=before.file_count))
        return None
    thawing = _asked(run, cold.values(), tier)
    if before is not None and not before.ended:
        # Another try of the same run finds readable what an earlier one has asked for.
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
    """Let plans be carried out at once only if all their files can be read; the others are asked for.

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
    """Look until every file that a run waits for can be read; the hold on its sources stays alive meanwhile.

    Yields:
        Seconds to wait before the next look.
    """
    thawing = find_thaw_status(warehouse, run_id)
    if thawing is None:
        return
    waiting = _listed(plan_uris)
    started = datetime.fromisoformat(thawing.asked_at)
    while waiting:
        try:
            for record in pending_records(warehouse, RESTORE.name):
                # What has been given up stays so until its move goes on.
                if record.plan_uri in plan_uris:
                    heartbeat(warehouse, record)
            waiting = _still_cold(waiting, thawing.tier)
            count = max(thawing.file_count - len(waiting), thawing.thawed_count)
            thawing = replace(thawing, thawed_count=count, looked_at=_now())
            write_thaw_status(warehouse, thawing)
            log.info("%s: %s", run_id, thawing)
        except TransientError as error:
            log.warning("%s: not looked at for now: %s", run_id, error)
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
    """Ask and wait in this process, for hours if need be.

    Args:
        warehouse: Where.
        run: Who waits.
        plan_uris: Its plans.
        tier: How fast files are thawed.
        sleep: How to wait some seconds.
        asked: Called each time that files have been asked for.

    Raises:
        TerminalRequestError: Expedited was asked for, and a file lies in DEEP_ARCHIVE. Nothing was asked for.
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
    """What was cold when it was last asked for; nothing of plans that had no such file."""
    uris: list[str] = []
    for plan_uri in plan_uris:
        with suppress(FileNotFoundError):
            uris += OperationStore.get(_list_uri(plan_uri))
    return uris


def _planned_files(plan: MovePlan) -> dict[str, tuple[str, int]]:
    """Source and size of every file that a plan reads; of a step with many originals each counts an equal share."""
    files: dict[str, tuple[str, int]] = {}
    for step in plan.steps:
        files |= dict.fromkeys(step.deletes, (step.source_id, 0))
        files |= dict.fromkeys(step.originals, (step.source_id, step.file_bytes // len(step.originals)))
    return files


def _now() -> str:
    return wall_clock().isoformat()


def _still_cold(uris: Sequence[str], tier: str) -> list[str]:
    """Drop what can be read from the front of a list, as far as it is looked at."""
    waiting = list(uris)
    while waiting:
        looked_at, rest = waiting[:LOOKED_AT], waiting[LOOKED_AT:]
        # Asks again for what is frozen after all: thawed, and cold again before its turn came.
        states = _each(looked_at, lambda storage, uri: storage.thaw(uri, tier))
        cold = [uri for uri, state in states.items() if state.temperature is not Temperature.READABLE]
        waiting = cold + rest
        if cold:
            break
    return waiting


def _each(uris: Sequence[str], ask: Callable[[Storage, str], ColdState]) -> dict[str, ColdState]:
    """Ask something of many files at once; an absent one is left to the copy step, which names it as damaged."""
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
                log.info("thaw: %d of %s asked for, %.0f a second", len(states), asked_for, rate)
    return states


def _perhaps_cold(warehouse: Warehouse, uris: Collection[str]) -> list[str]:
    """Leave out what cannot be cold: on a disk everything, in a bucket what its listing says, where that is cheaper."""
    candidates = [uri for uri in uris if storage_for(uri).cold_classes]
    if len(candidates) < LISTED_FROM:
        return candidates
    archived = data_file_count(warehouse.table(RESTORE.origin))
    if archived is None or archived > len(candidates) * LISTED_SHARE:
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
                "which S3 does not thaw in that tier. Nothing was moved, and nothing was asked for. Ask again with "
                f"thaw_tier {STANDARD} (12 hours) or {BULK} (48 hours)."
            )
