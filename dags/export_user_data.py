"""# Export user data

Writes the *User data* file of a campaign or Canvas, a CSV with one line per user who has interactions with it, and
sends an e-mail that says where the file is.

**What it does.** Checks the request, writes the file beside the warehouse and puts it whole into
`PERENNIAL_EXPORTS_URI`; a retried task replaces the file and never adds a second one. `docs/analysts.md` describes
the columns.

**What it never does.** Write an incomplete file: if interactions of the source are expired or were deleted under the
previous policy, the run fails, and the e-mail says how to restore them, if that is possible.

**Params.** `source_id`, one campaign or Canvas; `notify`, at least one e-mail address; `all_recipients`.

**When it fails.** Nothing was written. The e-mail says what went wrong, and how to request the file again.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Param, dag, task
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
)
from perennial.notify import ADDRESS_PATTERN


@dag(
    dag_id="export_user_data",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=MAX_ACTIVE_RUNS,
    default_args=DEFAULT_ARGS,
    tags=["perennial", "features"],
    params={
        "source_id": Param(
            type="string", minLength=1, title="Campaign or Canvas (one id)", description="Each run exports one source."
        ),
        "notify": Param(
            type="array",
            minItems=1,
            # The form also sends the empty line after the last address.
            items={"type": "string", "pattern": f"^$|{ADDRESS_PATTERN}"},
            title="Notify (one address per line)",
            description="These people get one e-mail, which says where the file is or why there is none.",
        ),
        "all_recipients": Param(
            False,
            type=["null", "boolean"],
            title="Include users without a profile",
            description="Everybody who received it, also users who have no profile now: their profile columns are "
            "empty.",
        ),
    },
)
def export_user_data() -> None:
    @task
    def check_request() -> None:
        from perennial.exports.user_data import check_request

        with step(first=True) as warehouse:
            check_request(warehouse, current_params())

    # Over all runs, as many at a time as a worker has memory for.
    @task(max_active_tis_per_dag=4)
    def write_csv() -> dict[str, Any]:
        from perennial.exports.user_data import ExportRequest, write_user_data

        with step() as warehouse:
            run = current_run()
            return asdict(write_user_data(warehouse, ExportRequest.from_params(current_params()), run.run_id, run.now))

    @task(trigger_rule="all_done")
    def notify_requesters(written: dict[str, Any] | None = None) -> dict[str, str | None]:
        from perennial.exports.user_data import UserDataFile
        from perennial.exports.user_data_notification import ExportAttempt, notify_requesters

        with step() as warehouse:
            run = current_run()
            attempt = ExportAttempt(
                run_id=run.run_id,
                requested_by=run.requested_by,
                written=UserDataFile(**written) if written else None,
                error=kept_error(warehouse),
                run_url=current_run_url(),
                page_url=current_page_url(),
            )
            report = notify_requesters(warehouse, current_params(), attempt)
        return {"file_uri": report.file_uri, "error": report.error}

    @task
    def conclude(outcome: dict[str, str | None]) -> None:
        # A run that has sent its e-mail still fails if there is no file.
        if outcome["file_uri"] is None:
            raise AirflowFailException(outcome["error"])

    written = write_csv()
    check_request() >> written
    conclude(notify_requesters(written))


export_user_data()
