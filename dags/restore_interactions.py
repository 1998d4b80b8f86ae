"""# Restore interactions

Brings the interactions of expired sources back from long-term storage: one source, many, or all with a tag.

**What it does.** Checks the whole request first: if an id or a tag is unknown, the error names all of them and nothing
moves. Then it plans, copies, verifies and commits, and shows the data when all of it is back. The clock of every
restored source starts again: after another three months without activity it expires again. Files in cold storage are
thawed first: an e-mail says how long that takes, and the run waits for it without occupying a worker.

**What it never does.** Lose or double a row; show half a source; send one e-mail per source: a request gets one e-mail,
when it has finished or failed.

**Params.** `source_ids` and `tags`, at least one of either; `notify`, at least one e-mail address; `reason`;
`thaw_tier`, how fast files in cold storage are thawed: `Expedited` (1 to 5 minutes, GLACIER only, expensive),
`Standard` (3 to 5 hours; DEEP_ARCHIVE up to 12), `Bulk` (5 to 12 hours; up to 48; cheapest); `dry_run`.

**When it fails.** Nothing is lost, and no source is half visible. The e-mail says what went wrong; run it again once
that is fixed. See `docs/runbooks/restore.md`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import (
    AsyncCallback,
    DeadlineAlert,
    DeadlineReference,
    Param,
    dag,
    task,
)
from airflow.sdk.exceptions import AirflowFailException

from perennial.airflow import (
    DEFAULT_ARGS,
    MAX_ACTIVE_RUNS,
    current_page_url,
    current_params,
    current_run,
    current_run_url,
    kept_error,
    step,
    testable,
)
from perennial.notify import ADDRESS_PATTERN
from perennial.reports import STANDARD, THAW_TIERS
from perennial.tasks import move_files
from perennial.thaw import LATE_AFTER, ThawFiles, warn_when_late


@dag(
    dag_id="restore_interactions",
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
            return check_request(warehouse, current_params())

    @task
    def plan(request_uri: str) -> list[str]:
        from perennial.moves.restore import plan_restore

        with step() as warehouse:
            return [] if current_params().get("dry_run") else plan_restore(warehouse, request_uri, current_run())

    @task(trigger_rule="all_done")
    def notify_requesters(request_uri: str | None = None, plan_uris: list[str] | None = None) -> dict[str, str]:
        from perennial.moves.notifications import Attempt, notify_requesters

        with step() as warehouse:
            attempt = Attempt(
                request_uri, tuple(plan_uris or ()), kept_error(warehouse), current_run_url(), current_page_url()
            )
            report = notify_requesters(warehouse, current_run(), current_params(), attempt)
        return {"state": report.state, "error": report.error}

    @task
    def conclude(outcome: dict[str, str]) -> None:
        # A run that has sent its e-mail still fails if not everything that was requested was restored.
        if outcome["state"] != "finished":
            raise AirflowFailException(f"{outcome['state']}: {outcome['error']}")

    request_uri = check_request()
    plan_uris = plan(request_uri)
    outcome = notify_requesters(request_uri, plan_uris)
    thaw = ThawFiles(task_id="thaw", request_uri=request_uri, plan_uris=plan_uris)
    thaw >> move_files(plan_uris) >> outcome
    conclude(outcome)


testable(restore_interactions())
