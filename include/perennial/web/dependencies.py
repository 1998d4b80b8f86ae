"""Shared inputs of routes about restores, and which sources a restore is bringing back at the moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep

from perennial.sql import statement
from perennial.web.access import RESTORE_DAG, may_trigger
from perennial.web.airflow_runs import OVER, QUEUED, RUNNING, RestoreRun, find_obstacle, recent_runs, task_results
from perennial.web.source_index import SourceSnapshot
from perennial.web.warehouse import SnapshotDep, WarehouseDep, until_answered


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
    from perennial.moves.requests import TO_RESTORE, read_resolution
    from perennial.operations import OperationStore

    _, sources = read_resolution(OperationStore.get(request_uri))
    return tuple(source.source_id for source in sources if source.outcome == TO_RESTORE)
