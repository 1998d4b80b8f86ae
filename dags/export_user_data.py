"""# Export user data

Writes the *User data* file of a campaign or Canvas, a CSV with one line per user, and e-mails its address.

**What it does.** It checks the request, writes the file beside the warehouse, and then puts the complete file into
`PERENNIAL_EXPORTS_URI`. A task that is tried again replaces the file; it never adds a second one. `docs/analysts.md`
describes the columns.

**What it never does.** It never writes an incomplete file. If interactions of the source have expired or were deleted
under the previous policy, the run refuses, and the e-mail names the command that restores them.

**Params.** `source_id`, one campaign or Canvas; `notify`, at least one e-mail address; `all_recipients`, to include
users who have no profile now.

    {"source_id": "spring-sale", "notify": ["ann@example.com"], "all_recipients": true}

**When it fails.** No file was written. The e-mail says what went wrong, and which command requests the file again.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Param, dag, task

from perennial.airflow import (
    DEFAULT_ARGS,
    MAX_ACTIVE_RUNS,
    AirflowFailException,
    current_page_url,
    current_params,
    current_run,
    current_run_url,
    kept_error,
    kept_error_details,
    step,
)
from perennial.notify import ADDRESS_PATTERN
from perennial.openlineage import Volume, report_lineage
from perennial.settings import dag_id


@dag(
    dag_id=dag_id("export_user_data"),
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
        from perennial.exports.user_data import UserDataRequest, write_user_data

        with step() as warehouse:
            run = current_run()
            written = write_user_data(warehouse, UserDataRequest.from_params(current_params()), run.run_id, run.now)
            report_lineage(warehouse, {"interactions": Volume(), "users": Volume()}, output_uri=written.file_uri)
            return asdict(written)

    @task(trigger_rule="all_done")
    def notify_requesters(written: dict[str, Any] | None = None) -> dict[str, str | None]:
        from perennial.exports.user_data import ExportAttempt, UserDataFile, notify_requesters

        with step() as warehouse:
            run = current_run()
            attempt = ExportAttempt(
                run_id=run.run_id,
                requested_by=run.requested_by,
                written=UserDataFile(**written) if written else None,
                error=kept_error(warehouse),
                error_details=kept_error_details(warehouse),
                run_url=current_run_url(),
                page_url=current_page_url(),
            )
            report = notify_requesters(warehouse, current_params(), attempt)
        return {"file_uri": report.file_uri, "error": report.error}

    @task
    def conclude(notified: dict[str, str | None]) -> None:
        # A run whose mail has gone out is still failed if there is no file.
        if notified["file_uri"] is None:
            raise AirflowFailException(notified["error"])

    written = write_csv()
    check_request() >> written
    conclude(notify_requesters(written))


the_dag = export_user_data()
