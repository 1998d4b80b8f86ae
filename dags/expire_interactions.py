"""# Expire interactions

Moves the interactions of inactive sources from the hot table to long-term storage, every day at 04:00 UTC.

**What it does.** It first finishes what an interrupted run has left behind. Then it decides about every source; the
table `expiry_decisions` says why. It plans, copies, verifies and commits three kinds of moves: sources that have been
inactive for the whole retention period, rows that arrived late for sources that have expired already, and the return
of sources that are active again. Where such a source has to be thawed first, the thaw is requested, and the next run
restores it. Immediately before hot rows are removed, the run checks once more whether anything needs them. If another
program changes files while they are moved, they are planned once more. Each owner gets one digest per run.

**When it asks.** A run that would move unusually much (`PERENNIAL_APPROVE_ABOVE_*`) first moves what came late and
brings back what is active again, then waits in *Required Actions* until somebody approves the rest. Exactly what was
shown then moves, less what is not due any more. A rejection, or no answer before the next daily run, moves nothing.

**What it never does.** It never deletes interactions, never moves an active source, and never removes a hot row that
the archive does not list.

**Params.** `dry_run`: decide and report, but move nothing and notify nobody.

    {"dry_run": true}

**When it fails.** Nothing is lost. Every step can be repeated: clear the task, or wait for tomorrow's run. See
`docs/runbooks/failed-expiry.md`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import Param, dag, get_current_context, task

from perennial.airflow import (
    DEFAULT_ARGS,
    MAX_ACTIVE_RUNS,
    assets,
    current_page_url,
    current_params,
    current_run,
    current_run_url,
    is_last_attempt,
    report_written,
    step,
)
from perennial.approve import ApproveExpiry
from perennial.openlineage import Volume, report_lineage
from perennial.settings import dag_id
from perennial.tasks import move_files


@dag(
    dag_id=dag_id("expire_interactions"),
    doc_md=__doc__,
    schedule="0 4 * * *",
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=MAX_ACTIVE_RUNS,
    default_args=DEFAULT_ARGS,
    tags=["perennial", "lifecycle"],
    params={
        "dry_run": Param(
            False,
            type=["null", "boolean"],
            title="Dry run (report only)",
            description="Decides and reports, but moves nothing and notifies nobody.",
        ),
    },
)
def expire_interactions() -> None:
    @task(max_active_tis_per_dag=1)
    def recover() -> list[str]:
        from perennial.moves.recovery import recover_interrupted_moves

        with step(first=True) as warehouse:
            return [] if current_params().get("dry_run") else recover_interrupted_moves(warehouse, current_run())

    @task(outlets=assets("expiry_decisions"))
    def decide() -> str:
        from perennial.moves.expire import decide_expiry

        with step() as warehouse:
            decided = decide_expiry(warehouse, current_run(), ask=True)
            read = dict.fromkeys(("sources", "source_tags", "audiences", "holds"), Volume())
            report_lineage(warehouse, read, {"expiry_decisions": Volume(row_count=sum(decided.counts.values()))})
        unread = {"unread_referrers": decided.unread_referrers} if decided.unread_referrers else {}
        report_written(get_current_context(), {"expiry_decisions": {**decided.counts, **unread}})
        return decided.uri

    @task
    def plan(decided_uri: str, unfinished: list[str]) -> list[str]:
        from perennial.moves.expire import plan_expiry

        if current_params().get("dry_run"):
            return []
        with step() as warehouse:
            return plan_expiry(warehouse, decided_uri, current_run(), unfinished)

    # It waits in line again, because other runs went first while this one waited for a person.
    @task(max_active_tis_per_dag=1)
    def plan_approved(decided_uri: str) -> list[str]:
        from perennial.moves.expire import plan_approved

        with step(first=True) as warehouse:
            return plan_approved(warehouse, decided_uri, current_run())

    @task(trigger_rule="none_failed")
    def notify_owners() -> int:
        from perennial.moves.notifications import notify_owners

        with step() as warehouse:
            return notify_owners(warehouse, current_run(), current_run_url(), current_page_url(), is_last_attempt())

    @task(trigger_rule="none_failed")
    def give_notice() -> int:
        from perennial.moves.notices import give_notice

        if current_params().get("dry_run"):
            return 0
        with step() as warehouse:
            return give_notice(warehouse, current_run(), current_run_url(), current_page_url(), is_last_attempt())

    unfinished = recover()
    decided = decide()
    # What a dead run has moved is recorded before it is decided what is to move.
    unfinished >> decided >> give_notice()
    # What came late, and what is active again, does not wait for a person.
    moved = move_files(plan(decided, unfinished))
    approve = ApproveExpiry(task_id="approve", decided_uri=decided, trigger_rule="none_failed")
    planned = plan_approved(decided)
    moved >> approve >> planned
    approved = move_files.override(group_id="move_approved_files")(planned)
    [moved, approved] >> notify_owners()


the_dag = expire_interactions()
