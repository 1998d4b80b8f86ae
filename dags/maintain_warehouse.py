"""# Maintain the warehouse

Keeps tables fast and storage tidy, every day at 05:30 UTC.

**What it does.** It merges small files of the hot table and of the append-only tables, and applies the delete files
that other engines have written. It removes snapshots that are older than the retention window, and of those older than
a day that only added files all but one an hour. It deletes files that no retained snapshot of any table and no
operation in progress refers to, and the plans and reports of operations that are over.

**What it never does.** It never changes a row. It never merges files in the archive, or of a source that is being
expired or restored. It never deletes a file that a retained snapshot lists, or that may belong to somebody else: in
the archive's location, which others may use too, it only deletes files that `archived_files` or the plan of a move
names.

**Params.** `retain_days`: how many days replaced snapshots and unreachable files are kept, at least 1.

    {"retain_days": 30}

**When it fails.** Nothing is lost. Every step can be interrupted and repeated, while loads, expiries and restores are
running. If merging fails, the other two steps still run. If the purge finds metadata that the catalog does not know,
it names it and deletes nothing: the catalog was set up anew or restored from an old backup, and somebody has to look.
Each step also stops while a table is set back; `perennial repair` says what is missing.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import Param, dag, get_current_context, task

from perennial.airflow import DEFAULT_ARGS, MAX_ACTIVE_RUNS, assets, current_params, report_written, step
from perennial.openlineage import Volume, report_lineage
from perennial.operations import wall_clock
from perennial.settings import dag_id

RETAIN_DAYS = 7
COMPACTED = (
    "interactions",
    "user_message_summary",
    "source_daily_stats",
    "loaded_events",
    "lifecycle_events",
    "expiry_decisions",
    "loaded_files",
    "rejected_events",
    "archived_files",
    "archive_checks",
)


@dag(
    dag_id=dag_id("maintain_warehouse"),
    doc_md=__doc__,
    schedule="30 5 * * *",
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=MAX_ACTIVE_RUNS,
    default_args=DEFAULT_ARGS,
    tags=["perennial", "maintenance"],
    params={
        "retain_days": Param(
            RETAIN_DAYS,
            type=["null", "integer"],
            minimum=1,
            maximum=36_500,
            title="Days to keep replaced snapshots and files",
            description="How long replaced snapshots, and files that no snapshot lists any more, are kept.",
        ),
    },
)
def maintain_warehouse() -> None:
    @task(outlets=assets(*COMPACTED), max_active_tis_per_dag=1)
    def compact() -> dict[str, int]:
        from perennial.maintenance import compact_tables

        with step(first=True) as warehouse:
            outcomes = compact_tables(warehouse)
            report_lineage(
                warehouse,
                {
                    name: Volume(row_count=done.row_count, total_bytes=done.total_bytes, file_count=done.files_before)
                    for name, done in outcomes.items()
                },
                {
                    name: Volume(row_count=done.row_count, file_count=done.files_after)
                    for name, done in outcomes.items()
                },
            )
        report_written(get_current_context(), {name: vars(outcome) for name, outcome in outcomes.items()})
        return {name: outcome.files_before - outcome.files_after for name, outcome in outcomes.items()}

    @task(max_active_tis_per_dag=1)
    def expire_snapshots() -> dict[str, int]:
        from perennial.maintenance import expire_old_snapshots

        with step(first=True) as warehouse:
            return expire_old_snapshots(warehouse, wall_clock(), current_params().get("retain_days", RETAIN_DAYS))

    @task
    def purge() -> dict[str, int]:
        from perennial.maintenance import purge_files

        with step() as warehouse:
            return vars(purge_files(warehouse, wall_clock(), current_params().get("retain_days", RETAIN_DAYS)))

    compact()
    expire_snapshots() >> purge()


the_dag = maintain_warehouse()
