"""Shared inputs of routes: the warehouse, the sources as lists show them, and what restores are bringing back now.

The warehouse is opened once per process, and again when its catalog has been replaced.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import Depends, Query
from fastapi.concurrency import run_in_threadpool

from perennial.audiences.completeness import MISSING_LIMIT, MISSING_LIMIT_MOST, MissingPage
from perennial.errors import TransientError
from perennial.settings import Settings
from perennial.statements import statement
from perennial.web.access import HOLD_DAG, RESTORE_DAG, may_trigger
from perennial.web.airflow_runs import OVER, QUEUED, RUNNING, RestoreRun, find_obstacle, recent_runs, task_results
from perennial.web.source_index import SourceSnapshot

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

_Identity = tuple[int, int] | None

# Airflow's API server has 40 threads and 15 connections to its database for everything, its tasks' reports included.
_REQUESTS_AT_ONCE = 6
_WAIT_SECONDS = 30
_GATE = anyio.Semaphore(_REQUESTS_AT_ONCE)
_MAX_SKIPPED_SOURCES = 10**9


@dataclass(frozen=True)
class _Opened:
    warehouse: Warehouse
    snapshot: SourceSnapshot


# Only the last one: an open connection to a replaced catalog would keep its file, and its old answers.
@lru_cache(maxsize=1)
def _open(settings: Settings, _catalog: _Identity) -> _Opened:
    from perennial.warehouse import Warehouse

    warehouse = Warehouse(settings)
    return _Opened(warehouse, SourceSnapshot(warehouse))


async def _opened() -> AsyncIterator[_Opened]:
    """Admit a few requests at a time; one that waits takes neither a thread nor a connection from Airflow."""
    with anyio.move_on_after(_WAIT_SECONDS) as waited:
        await _GATE.acquire()
    if waited.cancelled_caught:
        raise TransientError("Too many people are reading interaction data at the moment; try again in a minute.")
    try:
        yield await run_in_threadpool(_configured)
    finally:
        _GATE.release()


def _configured() -> _Opened:
    settings = Settings.from_environment()
    return _open(settings, _catalog_identity(settings))


def _catalog_identity(settings: Settings) -> _Identity:
    from perennial.warehouse import catalog_file

    file = catalog_file(settings)
    if file is None:
        return None
    try:
        found = file.stat()
    except FileNotFoundError:
        # Opening it would create an empty one in its place.
        raise TransientError(
            f"The catalog is missing: PERENNIAL_HOME has no {file.name}. Put it back, or run `perennial init` if "
            "the workspace is new; this page works again as soon as it is there."
        ) from None
    return found.st_dev, found.st_ino


# FastAPI 0.117 and before, which Airflow 3.1 has, knows no scope and keeps nothing longer.
_SCOPE: dict[str, Any] = {"scope": "function"} if "scope" in signature(Depends).parameters else {}


def until_answered(dependency: Callable[..., Any]) -> Any:
    """Declare a dependency that is given back when the answer is made, and not when it has been sent."""
    return Depends(dependency, **_SCOPE)


_OpenedDep = Annotated[Any, until_answered(_opened)]


async def _opened_warehouse(opened: _OpenedDep) -> Warehouse:
    """Return the configured warehouse.

    A setting that cannot be used, or a catalog that is not there, is an error of the request, not of the server.
    """
    warehouse: Warehouse = opened.warehouse
    return warehouse


async def _source_snapshot(opened: _OpenedDep) -> SourceSnapshot:
    """Return the index that lists of sources are made from."""
    snapshot: SourceSnapshot = opened.snapshot
    return snapshot


# FastAPI reads annotations at run time, when the class is not imported.
WarehouseDep = Annotated[Any, Depends(_opened_warehouse)]
SnapshotDep = Annotated[SourceSnapshot, Depends(_source_snapshot)]


def _missing_page(
    missing_from: Annotated[
        int,
        Query(
            ge=0,
            le=_MAX_SKIPPED_SOURCES,
            description="How many of the sources that are left out to skip before the first one is named",
        ),
    ] = 0,
    missing_limit: Annotated[
        int, Query(ge=1, le=MISSING_LIMIT_MOST, description="How many of them to name at most")
    ] = MISSING_LIMIT,
) -> MissingPage:
    """Read which of the left-out sources an answer names (R16)."""
    return MissingPage(missing_from, missing_limit)


MissingPageDep = Annotated[MissingPage, Depends(_missing_page)]


@dataclass(frozen=True)
class PageContext:
    """The inputs of every route about restores.

    Attributes:
        warehouse: The warehouse.
        snapshot: The sources as lists show them.
        session: Airflow's database.
        user: The user, as Airflow's auth manager knows them.
    """

    warehouse: Any
    snapshot: SourceSnapshot
    session: Any
    user: Any

    @property
    def obstacle(self) -> str:
        """Why the user cannot start any restore at the moment, and who can fix that; empty if they can."""
        if obstacle := find_obstacle(self.session):
            return obstacle
        if not may_trigger(self.user, RESTORE_DAG):
            return (
                "Your role in Airflow lets you look, but not restore: for that it needs the right to trigger the DAG "
                f"{RESTORE_DAG}. Ask somebody who has it."
            )
        return ""

    @property
    def hold_obstacle(self) -> str:
        """Why the user cannot place or lift a hold at the moment; empty if they can."""
        if obstacle := find_obstacle(self.session, HOLD_DAG, "hold"):
            return obstacle
        if not may_trigger(self.user, HOLD_DAG):
            return (
                "Your role in Airflow lets you look, but not hold: for that it needs the right to trigger the DAG "
                f"{HOLD_DAG}. Ask somebody who has it."
            )
        return ""


async def _page_context(
    warehouse: WarehouseDep, snapshot: SnapshotDep, session: SessionDep, user: GetUserDep
) -> PageContext:
    return PageContext(warehouse, snapshot, session, user)


# As long as Airflow's session: until the answer is made.
PageContextDep = Annotated[PageContext, until_answered(_page_context)]


def restoring_sources(context: PageContext, at_once: bool = False) -> dict[str, str]:
    """Find the sources that restores are bringing back or are queued to bring back.

    Args:
        context: The request's context.
        at_once: Whether to count a restore outside Airflow that began less than two seconds ago.

    Returns:
        The id of the run by source; empty text if the restore is not a run of Airflow.
    """
    runs = [run for run in recent_runs(context.session, (QUEUED, RUNNING), limit=None) if not run.lies_ahead]
    found = dict.fromkeys(_moving_sources(context, at_once), "")
    found |= {source_id: run.run_id for run, source_ids in _wanted(context, runs) for source_id in source_ids}
    return found


def _moving_sources(context: PageContext, at_once: bool) -> Iterator[str]:
    from perennial.moves.move_plan import RESTORE
    from perennial.moves.recovery import RESTORE_SILENT_SECONDS
    from perennial.operations import pending_records, wall_clock

    records = [
        record
        for record in (pending_records(context.warehouse, RESTORE.name) if at_once else context.snapshot.restores)
        if record.age_seconds(wall_clock()) < RESTORE_SILENT_SECONDS
    ]
    if records:
        # The remains of a run that is over do not block a new request, because a new request repairs them.
        over = [run.run_id for run in recent_runs(context.session, OVER)]
        planned = [task_results(context.session, task_id, over) for task_id in ("plan", "move_files.replan")]
        dead = {uri for results in planned for uris in results.values() for uri in uris}
        for record in records:
            if record.plan_uri not in dead:
                yield from record.source_ids


def _wanted(context: PageContext, runs: list[RestoreRun]) -> Iterator[tuple[RestoreRun, Iterable[str]]]:
    runs = [run for run in runs if run.conf.get("dry_run") is not True]
    if not runs:
        return
    checked = task_results(context.session, "check_request", [run.run_id for run in runs])
    with context.snapshot.cursor() as cursor:
        for run in runs:
            if run.run_id in checked:
                # Results of tasks are deleted at some point; then the request itself has to do.
                with suppress(FileNotFoundError):
                    yield run, _to_restore(checked[run.run_id])
                    continue
            tagged = cursor.execute(statement("web/list_tagged_sources"), {"tags": list(run.asked("tags"))}).fetchall()
            yield run, [*run.asked("source_ids"), *(source_id for (source_id,) in tagged)]


@lru_cache(maxsize=16)
def _to_restore(request_uri: str) -> tuple[str, ...]:
    from perennial.moves.requests import read_request

    return tuple(source.source_id for source in read_request(request_uri).coming)
