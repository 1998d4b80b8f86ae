"""The progress of a restore while it runs, and its outcome."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from perennial import text as formatting
from perennial.notify import DeliveryRecord, describe, run_url
from perennial.notify.deadline import WAITING
from perennial.notify.delivery import RESTORE
from perennial.statements import statement
from perennial.web.access import READ, RESTORE_DAG, may_cancel
from perennial.web.airflow_runs import (
    FAILED,
    OVER,
    QUEUED,
    SUCCESS,
    RestoreRun,
    find_canceller,
    find_obstacle,
    find_run,
    recent_runs,
    task_results,
    task_states,
)
from perennial.web.dependencies import PageContext, PageContextDep
from perennial.web.pages import render
from perennial.web.problems import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perennial.moves.requests import RequestedSource
    from perennial.moves.thaw_status import ThawStatus

router = APIRouter(dependencies=[READ], tags=["restores"])

State = Literal[
    "queued", "checking", "planning", "waiting", "thawing", "copying", "verifying", "committing", "stopping",
    "notifying", "done", "cancelled", "failed",
]  # fmt: skip
# The tasks of the DAG, in the order in which the page shows them.
_PHASES: tuple[tuple[State, tuple[str, ...]], ...] = (
    ("checking", ("check_request",)),
    ("planning", ("plan",)),
    ("thawing", ("thaw",)),
    ("copying", ("move_files.split", "move_files.copy")),
    ("verifying", ("move_files.verify",)),
    (
        "committing",
        (
            "move_files.commit_destination",
            "move_files.commit_origin",
            "move_files.replan",
            "move_files.again.split",
            "move_files.again.copy",
            "move_files.again.verify",
            "move_files.again.commit_destination",
            "move_files.again.commit_origin",
        ),
    ),
)
_FINISHED = ("success", "failed", "skipped", "upstream_failed", "removed")
# For copy tasks with at most this many files, each copied file counts; for larger ones, only whole tasks count.
_FILES_CHECKED_SINGLY = 2_000
_SHOWN_IDS = 100


class RunSource(BaseModel):
    """One source of a restore."""

    source_id: str
    name: str
    kind: str
    outcome: str = Field(description="Its outcome; while the run is under way, the intended outcome")
    row_count: int = Field(0, description="Restored interactions")
    expires_at: datetime | None = Field(None, description="When it expires again; null while something keeps it")
    detail: str = Field("", description="Why it failed")


class RestoreSummary(BaseModel):
    """One restore in a list."""

    run_id: str
    state: Literal["queued", "running", "success", "failed"] = Field(description="State of the run in Airflow")
    source_ids: tuple[str, ...] = Field(description=f"At most {_SHOWN_IDS} of the requested ids")
    source_id_count: int = Field(description="How many ids were requested")
    tags: tuple[str, ...] = Field(description="The requested tags")
    requested_by: str
    reason: str
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    took_seconds: float | None = Field(description="From its start until its end, or until now")
    airflow_url: str = Field(description="The run on Airflow's own page")


class RestoreProgress(RestoreSummary):
    """How far a restore is."""

    phase: State
    message: str = Field(description="The phase as a sentence")
    files_done: int = Field(description="Files copied so far")
    files_total: int = Field(description="Files to copy; 0 until that is known")
    source_count: int = Field(description="Requested sources; 0 until that is known")
    sources: list[RunSource] = Field(description=f"At most {_SHOWN_IDS} of them")
    error: str = Field(description="What went wrong, or why nothing starts; empty if all is well")
    cancelled: str = Field(description="Who has cancelled or rejected it, as a sentence; empty if nobody has")


RunId = Annotated[str, Query(alias="id", max_length=250, pattern=r"^[^\x00]*$", description="Id of the run")]


@router.get("/restores", response_class=HTMLResponse, include_in_schema=False)
def restores_page(request: Request, context: PageContextDep) -> HTMLResponse:
    """Show the latest restores."""
    runs, obstacle = restores(request, context), find_obstacle(context.session)
    names = _names(context, [run.source_ids[0] for run in runs if run.source_id_count == 1])
    return render(request, "restores.html.j2", runs=runs, names=names, obstacle=obstacle, duration=_duration)


@router.get("/restores/run", response_class=HTMLResponse, include_in_schema=False)
def run_page(request: Request, context: PageContextDep, run_id: RunId) -> HTMLResponse:
    """Show the progress of a restore."""
    run = restore(request, context, run_id)
    names = {} if run.sources else _names(context, run.source_ids)
    return render(
        request, "restore_run.html.j2", run=run, names=names, over=run.state in OVER, duration=_duration,
        may_cancel=may_cancel(context.user),
    )  # fmt: skip


@router.get("/api/restores", summary="The latest restores", response_model=list[RestoreSummary])
def restores(request: Request, context: PageContextDep) -> list[RestoreSummary]:
    """List the last 50 requested restores, latest first."""
    return [RestoreSummary(**_summary(request, run)) for run in recent_runs(context.session)]


@router.get(
    "/api/restores/run",
    summary="Progress of a restore",
    response_model=RestoreProgress,
    responses={404: {"description": "There is no such run"}},
)
def restore(request: Request, context: PageContextDep, run_id: RunId) -> RestoreProgress:
    """Return the progress of a restore; it can be polled every second or two."""
    return _progress(request, context, _known(context, run_id))


def _names(context: PageContext, source_ids: Sequence[str]) -> dict[str, str]:
    with context.snapshot.cursor() as cursor:
        return dict(cursor.execute(statement("web/find_known_sources"), {"source_ids": list(source_ids)}).fetchall())


def _duration(seconds: float) -> str:
    return formatting.duration(timedelta(seconds=seconds))


def _summary(request: Request, run: RestoreRun) -> dict[str, Any]:
    took = None if run.started_at is None else (run.ended_at or datetime.now(UTC)) - run.started_at
    return {
        "run_id": run.run_id,
        "state": run.state,
        "source_ids": run.asked("source_ids")[:_SHOWN_IDS],
        "source_id_count": len(run.asked("source_ids")),
        "tags": run.asked("tags"),
        "requested_by": run.requested_by,
        "reason": run.reason,
        "queued_at": run.queued_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "took_seconds": None if took is None else max(0.0, took.total_seconds()),
        # This app is mounted one segment below Airflow's own address.
        "airflow_url": run_url(request.scope.get("root_path", "").rpartition("/")[0], RESTORE_DAG, run.run_id),
    }


def _progress(request: Request, context: PageContext, run: RestoreRun) -> RestoreProgress:
    states = task_states(context.session, run.run_id)
    request_uri, plan_uris = (
        task_results(context.session, task_id, [run.run_id]).get(run.run_id) for task_id in ("check_request", "plan")
    )
    chunks = [chunk for uri in plan_uris or () for chunk in _chunks(uri)]
    cancelled = _cancelled(context, run)
    phase = phase_of(run, states, stopped=bool(cancelled))
    thawing = _thawing(context, run) if phase == "thawing" else None
    if phase == "thawing" and thawing is None:
        # The task looks at every archive; most have nothing to thaw.
        phase = "planning"
    total = sum(map(len, chunks))
    copied = count_copied(chunks, states.get("move_files.copy", {}), states.get("move_files.split", {}))
    sources = _sources(context, run, request_uri, plan_uris or ())
    return RestoreProgress(
        **_summary(request, run),
        phase=phase,
        message=describe_phase(phase, copied, total, thawing),
        files_done=copied,
        files_total=total,
        source_count=len(sources),
        sources=sources[:_SHOWN_IDS],
        error="" if phase in ("stopping", "cancelled") else _error(context, run, states),
        cancelled=cancelled,
    )


def running_restore(context: PageContext, run_id: str) -> RestoreRun | None:
    """Look up a run that can be cancelled; None if it is over.

    Raises:
        NotFoundError: There is no such run.
    """
    run = _known(context, run_id)
    return None if run.state in OVER else run


def _known(context: PageContext, run_id: str) -> RestoreRun:
    run = find_run(context.session, run_id)
    if run is None:
        raise NotFoundError(
            f"Airflow has no run {run_id!r} of {RESTORE_DAG}; it may have been removed. The list of restores has the "
            "latest ones."
        )
    return run


def _cancelled(context: PageContext, run: RestoreRun) -> str:
    from perennial.moves.cancellation import CANCELLED, Cancellation, find_cancellation

    if (recorded := find_cancellation(context.warehouse, run.run_id)) is not None:
        return str(recorded)
    by = find_canceller(context.session, run.run_id)
    return str(Cancellation(run.run_id, CANCELLED, by, "")) if by else ""


def phase_of(run: RestoreRun, states: Mapping[str, Mapping[int, str | None]], stopped: bool = False) -> State:
    """Return the progress of a restore.

    Args:
        run: The run.
        states: As `task_states` returned them.
        stopped: Whether somebody has cancelled it.
    """
    if run.state in OVER:
        if run.state == SUCCESS:
            return "done"
        return "cancelled" if stopped else "failed"
    if stopped:
        return "stopping"
    if run.state == QUEUED:
        return "queued"
    if states.get("plan", {}).get(-1) in WAITING:
        return "waiting"
    for phase, task_ids in _PHASES:
        if any(state not in _FINISHED for task_id in task_ids for state in states.get(task_id, {}).values()):
            return phase
    return "notifying"


def _thawing(context: PageContext, run: RestoreRun) -> ThawStatus | None:
    from perennial.moves.thaw_status import find_thaw_status

    return find_thaw_status(context.warehouse, run.run_id)


def describe_phase(phase: State, copied: int, total: int, thawing: ThawStatus | None = None) -> str:
    """Describe a phase for a person, with its progress if that is known."""
    if phase == "copying" and total:
        return f"Copying: {copied:,} of {formatting.pluralize(total, 'file')}"
    if thawing is not None:
        expected_at = formatting.moment(datetime.fromisoformat(thawing.expected_at))
        thawed = f"{thawing.thawed_count:,} of {formatting.pluralize(thawing.file_count, 'file')}"
        return f"Thawing: {thawed} can be read; all of them by {expected_at}, according to S3's documentation"
    return {
        "queued": "Queued: it starts when Airflow has room for it",
        "checking": "Checking the request",
        "planning": "Planning: listing the files that come back",
        "waiting": "Waiting for approval, because it is above its ceiling: see Required Actions in Airflow",
        "copying": "Copying",
        "verifying": "Verifying: comparing every copy with its original",
        "committing": "Committing: the data is shown when everything is back",
        "stopping": "Stopping: what is in the hot table already is finished, and nothing else is moved",
        "notifying": "Sending the e-mail",
        "done": "Done",
        "cancelled": "Cancelled: whatever was not in the hot table yet stays expired exactly as before",
        "failed": "Failed",
    }[phase]


def count_copied(
    chunks: Sequence[Sequence[str]], states: Mapping[int, str | None], split: Mapping[int, str | None]
) -> int:
    """Count the files that have been copied.

    Args:
        chunks: Target addresses of the files of each copy task.
        states: State of each of those tasks by its index; none before they are known.
        split: State of the task that splits the copies into tasks, and makes those of a single chunk itself.
    """
    from perennial.storage import storage_for

    copied = 0
    for index, uris in enumerate(chunks):
        state = states.get(index, split.get(-1) if len(chunks) == 1 else None)
        if state == "success":
            copied += len(uris)
        elif state is not None and len(uris) <= _FILES_CHECKED_SINGLY:
            copied += sum(storage_for(uri).stat(uri) is not None for uri in uris)
    return copied


# A plan is written once, and may be large.
@lru_cache(maxsize=8)
def _chunks(plan_uri: str) -> list[tuple[str, ...]]:
    """Where the files of each copy task of a plan go; nothing where the plan has been cleared away."""
    from perennial.moves.move_plan import find_plan

    plan = find_plan(plan_uri)
    if plan is None:
        return []
    chunks: list[list[str]] = [[] for _ in range(plan.chunk_count)]
    for step in plan.steps:
        chunks[step.chunk].append(step.copy_uri)
    return list(map(tuple, chunks))


def _sources(
    context: PageContext, run: RestoreRun, request_uri: str | None, plan_uris: list[str] | tuple[()]
) -> list[RunSource]:
    from perennial.moves import Run
    from perennial.moves.restore import restore_report

    if request_uri is None:
        return []
    try:
        if run.state not in OVER:
            return [_source(source) for source in _requested(request_uri)]
        ended_at = run.ended_at or run.now
        report = restore_report(context.warehouse, request_uri, Run(run.run_id, run.now), ended_at, plan_uris)
    except FileNotFoundError:
        # Results of tasks are deleted at some point; Airflow may keep the run for longer.
        return []
    return [_source(source) for source in report.sources]


def _source(source: Any) -> RunSource:
    return RunSource(**{field: getattr(source, field) for field in RunSource.model_fields if hasattr(source, field)})


@lru_cache(maxsize=8)
def _requested(request_uri: str) -> tuple[RequestedSource, ...]:
    from perennial.moves.requests import read_request

    return read_request(request_uri).sources


def _error(context: PageContext, run: RestoreRun, states: Mapping[str, Mapping[int, str | None]]) -> str:
    from perennial.airflow import kept_error_of

    if run.lies_ahead:
        return (
            f"The run is dated {formatting.moment(run.now)}, and Airflow begins it only then. If it was meant for now, "
            "cancel it here and request it again without a date."
        )
    if run.state == QUEUED:
        return find_obstacle(context.session)
    if run.state == SUCCESS:
        return ""
    kept = kept_error_of(context.warehouse, RESTORE_DAG, run.run_id)
    if run.state != FAILED:
        retried = any(state == "up_for_retry" for mapped in states.values() for state in mapped.values())
        return f"A step failed and is being retried: {kept or 'its log in Airflow says why.'}" if retried else ""
    notified = task_results(context.session, "notify_requesters", [run.run_id]).get(run.run_id) or {}
    undelivered = DeliveryRecord.of(context.warehouse, RESTORE, run.run_id).undelivered()
    wrong = [str(notified.get("error") or kept), describe(undelivered) if undelivered else ""]
    if any(wrong):
        return " ".join(filter(None, wrong))
    failed = [task_id for task_id, mapped in states.items() if "failed" in mapped.values()]
    where = f"The log of {', '.join(failed)}" if failed else "The page of the run"
    return f"{where} in Airflow says why."
