"""# Restore interactions

Brings the interactions of expired sources back from long-term storage: one source, several, or all that have a tag.

**What it does.** It checks the whole request first. If it contains unknown ids or tags, the run names all of them and
moves nothing. Then it plans, copies, verifies and commits. Nothing is shown until everything is back. If another
program changes archived files meanwhile, they are planned once more. A restored source expires again after another
three months without activity. Files in a cold storage class are thawed first: an e-mail says how long that takes, and
the run waits without occupying a worker.

**When it asks.** If a restore is above its `max_cost` or `max_bytes`, nothing moves: it waits for up to seven days in
*Required Actions*, and an e-mail says so. A rejection, or no answer, ends it with nothing moved.

**Cancelling.** Cancel it on its page, mark the run failed, or use `perennial cancel RUN_ID`. Until its data is in the
hot table, nothing of it remains, and the sources stay expired as they were. After that, the restore is finished. The
e-mail says which.

**What it never does.** It never loses or doubles a row, and never shows half a source. It sends one e-mail per
request, not one per source, when the restore has finished or failed.

**Params.** Name at least one source in `source_ids` or one tag in `tags`, and at least one e-mail address in
`notify`. `reason` is optional. `thaw_tier` is the retrieval tier of files in GLACIER or DEEP_ARCHIVE: `Expedited` (1
to 5 minutes, expensive, GLACIER only), `Standard` (3 to 5 hours; up to 12 hours from DEEP_ARCHIVE) or `Bulk` (5 to 12
hours; up to 48 hours; cheapest). `max_cost` (USD) and `max_bytes` are its ceiling. `dry_run` reports what would come
back and moves nothing.

    {"source_ids": ["spring-sale"], "tags": ["promo"],
     "notify": ["ann@example.com"], "reason": "Audit", "thaw_tier": "Bulk"}

**When it fails.** Nothing is lost, and nothing is half visible. The e-mail says what went wrong; run the restore
again once that is fixed. See `docs/runbooks/restore.md`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import Param, dag, task, teardown

# Airflow 3.1 has them nowhere else.
from airflow.sdk.definitions.deadline import AsyncCallback, DeadlineAlert, DeadlineReference

from perennial.airflow import (
    DEFAULT_ARGS,
    MAX_ACTIVE_RUNS,
    AirflowFailException,
    current_page_url,
    current_params,
    current_run,
    current_run_url,
    kept_error,
    marked_failed_by,
    step,
    testable,
)
from perennial.approve_restore import PlanRestore
from perennial.notify import ADDRESS_PATTERN
from perennial.reports import STANDARD, THAW_TIERS
from perennial.settings import dag_id
from perennial.tasks import move_files
from perennial.thaw import LATE_AFTER, ThawFiles, warn_when_late


@dag(
    dag_id=dag_id("restore_interactions"),
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=MAX_ACTIVE_RUNS,
    default_args=DEFAULT_ARGS,
    tags=["perennial", "lifecycle"],
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=LATE_AFTER, callback=AsyncCallback(warn_when_late)
    ),
    params={
        "source_ids": Param(
            [],
            type=["null", "array"],
            items={"type": "string"},
            title="Campaigns and Canvases (one id per line)",
            description="The sources to restore.",
        ),
        "tags": Param(
            [],
            type=["null", "array"],
            items={"type": "string"},
            title="Tags (one per line)",
            description="Every expired source that has one of these tags when the run starts is restored.",
        ),
        "notify": Param(
            type="array",
            minItems=1,
            # The form also sends the empty line after the last address.
            items={"type": "string", "pattern": f"^$|{ADDRESS_PATTERN}"},
            title="Notify (one address per line)",
            description="These people get one e-mail when the restore has finished or failed.",
        ),
        "reason": Param(
            "", type=["null", "string"], title="Reason", description="It is shown in the history and in the e-mail."
        ),
        "thaw_tier": Param(
            STANDARD,
            type=["null", "string"],
            enum=[*THAW_TIERS, None],
            values_display={**{tier: tier for tier in THAW_TIERS}, "None": f"Default ({STANDARD})"},
            title="Retrieval tier",
            description="How fast files in GLACIER or DEEP_ARCHIVE become readable; DEEP_ARCHIVE has no Expedited.",
        ),
        "max_cost": Param(
            None,
            type=["null", "number"],
            minimum=0,
            title="Ask above this cost (USD)",
            description="Above it the restore waits for approval; the cost is that of bringing the data back and of "
            "having it hot until it expires again.",
        ),
        "max_bytes": Param(
            None,
            type=["null", "integer"],
            minimum=0,
            title="Ask above this size (bytes)",
            description="Above it the restore waits for approval.",
        ),
        "dry_run": Param(
            False,
            type=["null", "boolean"],
            title="Dry run (report only)",
            description="Reports what would be restored, but moves nothing.",
        ),
    },
)
def restore_interactions() -> None:
    @task
    def check_request() -> str:
        from perennial.moves.restore import check_request

        with step(first=True) as warehouse:
            return check_request(warehouse, current_params(), current_run().run_id)

    # Tasks of a teardown run when the run is marked failed, too: then the restore is cancelled.
    @teardown(on_failure_fail_dagrun=True)
    def notify_requesters(request_uri: str | None = None, plan_uris: list[str] | None = None) -> dict[str, str]:
        from perennial.moves.inline import end_stopped_run
        from perennial.moves.notifications import Attempt, notify_requesters

        with step() as warehouse:
            end_stopped_run(warehouse, current_run(), marked_failed_by(), planned=plan_uris is not None)
            attempt = Attempt(
                request_uri, tuple(plan_uris or ()), kept_error(warehouse), current_run_url(), current_page_url()
            )
            report = notify_requesters(warehouse, current_run(), current_params(), attempt)
        return {"state": report.state, "error": report.error}

    @teardown(on_failure_fail_dagrun=True)
    def conclude(notified: dict[str, str] | None = None) -> None:
        # A run whose mail has gone out is still failed if not everything that was asked for came back.
        if notified is None:
            raise AirflowFailException("The requesters could not be notified; the task notify_requesters says why.")
        if notified["state"] != "finished":
            raise AirflowFailException(f"{notified['state']}: {notified['error']}")

    request_uri = check_request()
    plan_uris = PlanRestore(task_id="plan", request_uri=request_uri).output
    notified = notify_requesters(request_uri, plan_uris)
    thaw = ThawFiles(task_id="thaw", request_uri=request_uri, plan_uris=plan_uris)
    thaw >> move_files(plan_uris) >> notified
    conclude(notified)


the_dag = testable(restore_interactions())
