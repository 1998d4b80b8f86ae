"""# Expire interactions

Moves the interactions of inactive sources from the hot table to long-term storage, every day at 04:00 UTC.

**What it does.** Recovers interrupted moves and decides about every source (`expiry_decisions` says why). Then it
plans, copies, verifies and commits: sources that are due and late rows of expired sources move to the archive, and
sources that are active again move back. Thaws that these need are requested, and a later run restores them.
Immediately before hot data is removed, the references are checked again. Each owner gets one digest per run.

**What it never does.** Delete interactions; touch an active source; remove a hot row that the archive does not list.

**Params.** `dry_run`: decide and report, but move nothing.

**When it fails.** Nothing is lost: every step can be repeated, by clearing the task or by tomorrow's run. See
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
from perennial.tasks import move_files


@dag(
    dag_id="expire_interactions",
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
    def recover_moves() -> int:
        from perennial.moves.recovery import recover_interrupted_moves

        with step(first=True) as warehouse:
            return 0 if current_params().get("dry_run") else recover_interrupted_moves(warehouse, current_run())

    @task(outlets=assets("expiry_decisions"))
    def decide() -> str:
        from perennial.moves.expire import decide_expiry

        with step() as warehouse:
            decided = decide_expiry(warehouse, current_run())
        unread = {"unread_referrers": decided.unread_referrers} if decided.unread_referrers else {}
        report_written(get_current_context(), {"expiry_decisions": {**decided.counts, **unread}})
        return decided.note_uri

    @task
    def plan(note_uri: str) -> list[str]:
        from perennial.moves.expire import plan_expiry

        with step() as warehouse:
            return [] if current_params().get("dry_run") else plan_expiry(warehouse, note_uri, current_run())

    @task(trigger_rule="none_failed")
    def notify_owners() -> int:
        from perennial.moves.notifications import notify_owners

        with step() as warehouse:
            return notify_owners(warehouse, current_run(), current_run_url(), current_page_url(), is_last_attempt())

    decided = decide()
    recover_moves() >> decided
    move_files(plan(decided)) >> notify_owners()


expire_interactions()
