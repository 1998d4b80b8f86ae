"""# Maintain the warehouse

Keeps tables fast and storage tidy, every day at 05:30 UTC.

**What it does.** Merges small files of the hot table and of the append-only tables, and applies other engines'
delete files. Removes snapshots older than `retain_days`. Deletes physically the files that no retained snapshot of any
table and no operation under way refers to, and the plans, records and reports of operations that are over.

**What it never does.** Change a row; merge files in the archive, or of a source that is being expired or restored;
delete a file that any retained snapshot lists, or that this workspace is not known to have written. In the archive's
location, which others may use too, only files that `archived_files` or a move's plan names are deleted.

**Params.** `retain_days`: how many days replaced snapshots and unreachable files are kept, at least 1.

**When it fails.** Nothing is lost: every step can be killed and repeated, beside loads, expiries and restores. A failed
merge does not keep the other two steps from running. A purge that finds metadata unknown to the catalog names it and
deletes nothing: the catalog was created anew or restored from an old backup, and a person has to investigate. Every
step also stops while a table is set back; `perennial repair` reports what is missing.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import Param, dag, get_current_context, task

from perennial.airflow import DEFAULT_ARGS, MAX_ACTIVE_RUNS, assets, current_params, report_written, step

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
)


@dag(
    dag_id="maintain_warehouse",
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
            description="Replaced snapshots, and files that no snapshot lists any more, are kept for this many days.",
        ),
    },
)
def maintain_warehouse() -> None:
    @task(outlets=assets(*COMPACTED), max_active_tis_per_dag=1)
    def compact() -> dict[str, int]:
        from perennial.maintenance import compact_tables

        with step(first=True) as warehouse:
            outcomes = compact_tables(warehouse)
        report_written(get_current_context(), {name: vars(outcome) for name, outcome in outcomes.items()})
        return {name: outcome.files_before - outcome.files_after for name, outcome in outcomes.items()}

    @task(max_active_tis_per_dag=1)
    def expire_snapshots() -> dict[str, int]:
        from perennial.maintenance import expire_old_snapshots
        from perennial.moves.runs import wall_clock

        with step(first=True) as warehouse:
            return expire_old_snapshots(warehouse, wall_clock(), current_params().get("retain_days", RETAIN_DAYS))

    @task
    def purge() -> dict[str, int]:
        from perennial.maintenance import purge_files
        from perennial.moves.runs import wall_clock

        with step() as warehouse:
            return vars(purge_files(warehouse, wall_clock(), current_params().get("retain_days", RETAIN_DAYS)))

    compact()
    expire_snapshots() >> purge()


maintain_warehouse()
