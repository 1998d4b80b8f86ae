"""What the gauges say: the state of the warehouse and of what is under way, read by each run of `measure_warehouse`."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from perennial.currents.landing import list_landing, select_new
from perennial.drills.report import latest_report
from perennial.engines.duckdb import open_status_session
from perennial.erase.concerns import is_late, is_urgent
from perennial.erase.open_requests import request_states
from perennial.moves.move_plan import DIRECTIONS, RESTORE
from perennial.moves.thaw_status import find_thaw_status
from perennial.notify.deadline import WAITING
from perennial.operations import pending_records, turns
from perennial.settings import dag_id
from perennial.statements import statement
from perennial.tables import AUDIENCES, INTERACTIONS, INTERACTIONS_ARCHIVE, SOURCES

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

# Each file that is copied or committed is a sign of life.
INTERRUPTED_SECONDS = 60 * 60


@dataclass(frozen=True)
class WaitingRuns:
    """Ids of the runs that wait without a worker.

    Attributes:
        expiries_to_approve: Expiry runs that wait for a person.
        restores_to_approve: Restores that wait for a person.
        thawing: Restores that wait for cold storage.
    """

    expiries_to_approve: Set[str] = frozenset()
    restores_to_approve: Set[str] = frozenset()
    thawing: Set[str] = frozenset()

    @classmethod
    def of_airflow(cls, instance: Any) -> WaitingRuns:
        """Ask Airflow as the task that is running may."""

        def waiting(dag: str, task: str) -> frozenset[str]:
            states: Mapping[str, Mapping[str, str]] = instance.get_task_states(dag_id=dag_id(dag), task_ids=[task])
            return frozenset(run_id for run_id, tasks in states.items() if not set(WAITING).isdisjoint(tasks.values()))

        return cls(
            expiries_to_approve=waiting("expire_interactions", "approve"),
            restores_to_approve=waiting("restore_interactions", "plan"),
            thawing=waiting("restore_interactions", "thaw"),
        )


def measure(warehouse: Warehouse, waiting: WaitingRuns, now: datetime) -> dict[str, float]:
    """Return the value of every gauge.

    Args:
        warehouse: Whose state it is.
        waiting: What Airflow says of runs.
        now: The wall clock, for what is late does not follow a replayed date.
    """
    return {
        "measured_timestamp_seconds": now.timestamp(),
        "expiries_to_approve": len(waiting.expiries_to_approve),
        "restores_to_approve": len(waiting.restores_to_approve),
        "thawing_restores": len(waiting.thawing),
        **_sources(warehouse),
        **_moves(warehouse, waiting, now),
        **_erasures(warehouse, now),
        **_archive(warehouse),
        **_landing(warehouse, now),
    }


def _sources(warehouse: Warehouse) -> dict[str, float]:
    tables = {"hot": INTERACTIONS.name, "archived": INTERACTIONS_ARCHIVE.name}
    totals = {name: warehouse.source_totals(table).values() for name, table in tables.items()}
    with open_status_session(warehouse) as session:
        available, expired, late = session.execute(statement("metrics/sum_source_states")).fetchall()[0]
    synced = [warehouse.committed_at(name) for name in (SOURCES.name, AUDIENCES.name)]
    return {
        "available_sources": available,
        "expired_sources": expired,
        "late_rows": late,
        **{f"{name}_rows": sum(total.row_count for total in found) for name, found in totals.items()},
        **{f"{name}_bytes": sum(total.total_bytes for total in found) for name, found in totals.items()},
        "metadata_synced_timestamp_seconds": min(at.timestamp() if at else 0 for at in synced),
    }


def _moves(warehouse: Warehouse, waiting: WaitingRuns, now: datetime) -> dict[str, float]:
    records = [
        record for name in DIRECTIONS for record in pending_records(warehouse, name)
        if record.run_id not in waiting.thawing
    ]  # fmt: skip
    restores = [record for record in records if record.kind == RESTORE.name]
    begun = [_could_begin(warehouse, record.run_id, record.created_at) for record in restores]
    runs = [turn.now for turn in turns(warehouse, dag_id("expire_interactions"))]
    return {
        "expiry_timestamp_seconds": datetime.fromisoformat(max(runs)).timestamp() if runs else 0,
        "interrupted_moves": sum(record.age_seconds(now) > INTERRUPTED_SECONDS for record in records),
        "oldest_restore_seconds": max(((now - at).total_seconds() for at in begun), default=0),
    }


def _could_begin(warehouse: Warehouse, run_id: str, planned_at: str) -> datetime:
    """Return since when a restore can copy: since its files are thawed, where they had to be."""
    thaw = find_thaw_status(warehouse, run_id) if run_id else None
    return datetime.fromisoformat(thaw.looked_at if thaw else planned_at)


def _erasures(warehouse: Warehouse, now: datetime) -> dict[str, float]:
    states = [state for state in request_states(warehouse) if not state.is_over]
    return {
        "open_erasures": len(states),
        "erasures_to_approve": sum(state.needs_decision for state in states),
        "urgent_erasures": sum(is_urgent(state, now) for state in states),
        "late_erasures": sum(is_late(state, now) for state in states),
    }


def _archive(warehouse: Warehouse) -> dict[str, float]:
    report = latest_report(warehouse)
    return {
        "archived_files": report.archived_count if report else 0,
        "checked_files": report.checked_count if report else 0,
        "damaged_files": len(report.damaged) if report else 0,
        "failed_drills": int(bool(report and report.drill and report.drill.error)),
        "archive_checked_timestamp_seconds": report.checked_at.timestamp() if report else 0,
    }


def _landing(warehouse: Warehouse, now: datetime) -> dict[str, float]:
    files = select_new(warehouse, list_landing(warehouse.settings))
    oldest = max(((now - file.stored.modified_at).total_seconds() for file in files), default=0)
    return {"waiting_files": len(files), "oldest_waiting_file_seconds": max(oldest, 0)}
