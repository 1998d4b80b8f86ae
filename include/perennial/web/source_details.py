"""Details of one source: its decision, its history, its daily counts, who keeps it."""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from perennial.audiences.resume import ResumeCheck, check_resume
from perennial.errors import TerminalMetadataError, TerminalRequestError
from perennial.platform.vanished import nearest_source, unknown_source
from perennial.policy.decisions import Explanation, explain
from perennial.settings import dag_id
from perennial.statements import statement
from perennial.tables import LIFECYCLE_EVENTS, SOURCE_DAILY_STATS, SOURCES, VANISHED_SOURCES
from perennial.web.access import RESTORE_DAG
from perennial.web.airflow_runs import brief
from perennial.web.dependencies import PageContext, restoring_sources
from perennial.web.listing import ListedSource, find_source
from perennial.web.problems import NotFoundError
from perennial.web.source_index import SourceSnapshot

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

EXPIRE_DAG = dag_id("expire_interactions")


@dataclass(frozen=True)
class LifecycleEvent:
    """Something that happened to a source; the columns of `lifecycle_events`."""

    occurred_at: datetime
    event: str
    row_count: int
    file_count: int
    total_bytes: int
    requested_by: str | None
    reason: str | None
    run_id: str

    def dag_in(self, runs: Container[tuple[str, str]]) -> str | None:
        """The DAG whose run did it; None if Airflow has no such run."""
        # An expiry also restores sources that are active again (R10).
        dags = (RESTORE_DAG, EXPIRE_DAG) if self.event == "restored" else (EXPIRE_DAG,)
        return next((dag_id for dag_id in dags if (dag_id, self.run_id) in runs), None)


@dataclass(frozen=True)
class DailyCount:
    """How often an interaction happened on a day."""

    stat_date: date
    interaction: str
    event_count: int


@dataclass(frozen=True)
class Referrer:
    """A referrer that keeps a source (R4).

    Attributes:
        kind: campaign, canvas, content_card or segment.
        id: Of the referrer.
        name: Its name if it is a source; otherwise, or without a name, empty.
        known: Whether it is a source that has a page.
        way: The segments in between and the filter, as written in `referenced_by`.
    """

    kind: str
    id: str
    name: str
    known: bool
    way: str


@dataclass(frozen=True)
class SourceDetails:
    """What the page and the JSON both show of a source.

    Attributes:
        restoring_run: The run that is bringing it back; empty if it is not one of Airflow's.
        undecided: Why there is no explanation; empty if there is one.
    """

    source: ListedSource
    restoring_run: str
    explanation: Explanation | None
    undecided: str
    history: tuple[LifecycleEvent, ...]
    daily: tuple[DailyCount, ...]
    resume: ResumeCheck


def load_source_details(context: PageContext, source_id: str) -> SourceDetails:
    """Find out everything about a source.

    Raises:
        NotFoundError: No such source is known.
    """
    restoring = restoring_sources(context)
    source = known_source(context.snapshot, source_id, restoring)
    explanation, undecided = None, ""
    try:
        explanation = explain(context.warehouse, source_id, datetime.now(UTC), restoring, source.hot_rows)
    except TerminalMetadataError as error:
        undecided = str(error)
    except TerminalRequestError as error:
        raise NotFoundError(str(error)) from error
    resume = check_resume(context.warehouse, source_id)
    history, daily = recorded(context.warehouse, source_id)
    return SourceDetails(source, restoring.get(source_id, ""), explanation, undecided, history, daily, resume)


def known_source(snapshot: SourceSnapshot, source_id: str, restoring: Collection[str] = ()) -> ListedSource:
    """Find a source as shown in lists.

    Raises:
        NotFoundError: No such source is known.
    """
    source = find_source(snapshot.now(), source_id, restoring)
    if source is None:
        with snapshot.cursor() as cursor:
            unseen = dict(cursor.execute(statement("cli/list_unseen_sources")).fetchall())
            nearest = nearest_source(cursor, source_id)
        raise NotFoundError(str(unknown_source(source_id, unseen.get(source_id, 0), nearest)))
    return source


def recorded(warehouse: Warehouse, source_id: str) -> tuple[tuple[LifecycleEvent, ...], tuple[DailyCount, ...]]:
    """Read what has happened to a source, the latest first, and its daily counts (R15)."""
    from perennial.engines.duckdb import KNOWN_VIEWS, create_views, open_session

    binds = {"source_id": source_id}
    tables = (LIFECYCLE_EVENTS, SOURCE_DAILY_STATS, SOURCES, VANISHED_SOURCES)
    with open_session(warehouse, [table.name for table in tables]) as session:
        events = session.execute(statement("cli/list_lifecycle_events"), binds).fetchall()
        create_views(session, (*KNOWN_VIEWS, "source_analytics"))
        counts = session.execute(statement("web/list_daily_counts"), binds).fetchall()
    return tuple(LifecycleEvent(*row) for row in events), tuple(DailyCount(*row) for row in counts)


@brief
def airflow_runs(session: Any, run_ids: Collection[str]) -> dict[tuple[str, str], datetime]:
    """Find which runs Airflow still has, and when they were asked for, by DAG and run id."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    query = select(DagRun).where(DagRun.dag_id.in_((RESTORE_DAG, EXPIRE_DAG)), DagRun.run_id.in_(run_ids))
    return {
        (run.dag_id, run.run_id): run.queued_at or run.start_date or run.run_after for run in session.scalars(query)
    }


def find_referrers(context: PageContext, paths: Sequence[str]) -> list[Referrer]:
    """Read the paths of `referenced_by`."""
    # An id may itself contain the separator of a path; the ids that exist show where the first one ends.
    heads = {path: _heads(path) for path in paths}
    candidates = [source_id for found in heads.values() for source_id in found]
    with context.snapshot.cursor() as cursor:
        rows = cursor.execute(statement("web/find_known_sources"), {"source_ids": candidates}).fetchall()
    known = dict(rows)
    referrers = []
    for path, found in heads.items():
        kind = path.partition(":")[0]
        head = next((source_id for source_id in found if source_id in known), found[0])
        is_source = kind in ("campaign", "canvas") and head in known
        referrers.append(Referrer(kind, head, known.get(head, ""), is_source, path[len(f"{kind}:{head}") :]))
    return referrers


def _heads(path: str) -> list[str]:
    body = path.partition(":")[2].rpartition(" > ")[0]
    parts = body.split(" > segment:")
    return [" > segment:".join(parts[:count]) for count in range(1, len(parts) + 1)]
