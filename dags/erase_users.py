"""# Erase users

Removes everything that the warehouse holds of a person who is to be forgotten: on request, and every day at 02:00 UTC
whatever is due.

**What it does.** A run carries out every request that is approved, all in one pass: it finds the rows and files of the
people, rewrites the files without them, purges the earlier files that still reach their rows, and reads whatever could
hold the people to verify that nothing is left. Then each request gets a receipt, by e-mail and as a file. Archived
files in cold storage are retrieved together for all requests that wait for some; a later run goes on. What arrives
later for the people is not stored.

**When it asks.** A request of the messaging platform waits until somebody approves it, on the page or with
`perennial erase --approve`, unless `PERENNIAL_ERASE_ON_PLATFORM_REQUEST` is true. An e-mail says so, and warns before a
deadline (`PERENNIAL_ERASURE_DAYS`) is missed.

**What it never does.** It never loses or changes a row of anybody else, and it writes no id to a log, XCom, an e-mail
or a receipt.

**Params.** None for what is due. `request_id`, a request that `perennial erase` or the page has opened; with
`decision` (approve, refuse) one of the platform, which is approved, or refused for a `reason`. Or `user_ids`
and `external_user_ids`, which then stay in Airflow's own database: the receipt says how they are cleaned. `notify`: who
gets the receipt. `retrieve`: retrieve cold files now. `dry_run`: report what would be removed, and remove nothing.

    {"user_ids": ["5f0c…"], "notify": ["ann@example.com"], "reason": "ticket 4711"}

**When it fails.** Nothing of others is lost, and every step can be repeated: clear the task, or wait for the next run.
A run also fails if a request is late, or something was still found. See `docs/runbooks/erasure.md`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import Param, dag, task

from perennial.airflow import (
    DEFAULT_ARGS,
    MAX_ACTIVE_RUNS,
    AirflowFailException,
    AirflowSkipException,
    assets,
    current_page_url,
    current_params,
    current_run,
    current_run_url,
    is_last_attempt,
    step,
)
from perennial.notify import ADDRESS_PATTERN
from perennial.openlineage import Volume, report_lineage
from perennial.settings import dag_id

WRITTEN = ("interactions", "interactions_archive", "user_message_summary", "users", "rejected_events", "archived_files")


@dag(
    dag_id=dag_id("erase_users"),
    doc_md=__doc__,
    schedule="0 2 * * *",
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=MAX_ACTIVE_RUNS,
    default_args=DEFAULT_ARGS,
    tags=["perennial", "erasure"],
    params={
        "user_ids": Param(
            [],
            type=["null", "array"],
            items={"type": "string"},
            title="User ids (one per line)",
            description="The platform's ids. They stay in Airflow's database: `perennial erase` leaves none there.",
        ),
        "external_user_ids": Param(
            [],
            type=["null", "array"],
            items={"type": "string"},
            title="External user ids (one per line)",
            description="Your own ids of people. They stay in Airflow's database as well.",
        ),
        "request_id": Param(
            None,
            type=["null", "string"],
            title="Or the id of a request",
            description="As `perennial erase` prints it. Without it, and without ids, the run carries out what is due.",
        ),
        "decision": Param(
            None,
            type=["null", "string"],
            enum=["approve", "refuse", None],
            title="Decision about that request",
            description="For a request of the messaging platform. Refusing it takes a reason.",
        ),
        "notify": Param(
            [],
            type=["null", "array"],
            items={"type": "string", "pattern": f"^$|{ADDRESS_PATTERN}"},
            title="Notify (one address per line)",
            description="These people get the receipt, and a warning before the deadline is missed.",
        ),
        "reason": Param(
            "",
            type=["null", "string"],
            title="Reason",
            description="It is kept in the receipt, so it must not name the person: a ticket's number, for example.",
        ),
        "retrieve": Param(
            False,
            type=["null", "boolean"],
            title="Retrieve cold files now",
            description="Otherwise they are retrieved with those of later requests, in time for the first deadline.",
        ),
        "dry_run": Param(
            False,
            type=["null", "boolean"],
            title="Dry run (report only)",
            description="Reports what would be removed and what a retrieval costs, but opens and removes nothing.",
        ),
    },
)
def erase_users() -> None:
    @task(max_active_tis_per_dag=1, outlets=assets("erasures"))
    def open_requests() -> str:
        from perennial.erase import run

        with step(first=True) as warehouse:
            return run.begin(warehouse, current_params(), current_run())

    @task
    def locate(batch_uri: str) -> dict[str, int]:
        from perennial.erase import run
        from perennial.erase.retrieval import report_found

        with step() as warehouse:
            if not batch_uri:
                # A dry run: nothing is opened, so the other tasks have nothing to do.
                found = run.find_only(warehouse, current_params(), current_run(), current_run_url())
                report_found(warehouse, found, current_params().get("notify", ()))
                raise AirflowSkipException("A dry run removes nothing.")
            return run.locate(warehouse, batch_uri)

    @task
    def retrieve(batch_uri: str) -> int:
        from perennial.erase import run

        with step() as warehouse:
            return run.retrieve(warehouse, batch_uri, current_run(), current_run_url())

    @task(outlets=assets(*WRITTEN))
    def remove(batch_uri: str) -> dict[str, int]:
        from perennial.erase import run

        with step() as warehouse:
            removed = run.remove(warehouse, batch_uri)
            # How many rows were rewritten for them is not counted.
            touched = {table: Volume() for table, row_count in removed.items() if row_count}
            report_lineage(warehouse, touched, touched)
            return removed

    @task
    def purge(batch_uri: str) -> dict[str, int]:
        from perennial.erase import run

        with step() as warehouse:
            return run.purge(warehouse, batch_uri)

    @task
    def verify(batch_uri: str) -> int:
        from perennial.erase import run

        with step() as warehouse:
            return run.verify(warehouse, batch_uri)

    @task(outlets=assets("erasures"))
    def send_receipts(batch_uri: str) -> int:
        from perennial.erase import run

        with step() as warehouse:
            return run.send_receipts(warehouse, batch_uri, current_run(), current_run_url(), is_last_attempt())

    # Whatever has become of the run: a deadline that is near is the more urgent the more goes wrong.
    @task(trigger_rule="all_done")
    def warn() -> list[str]:
        from perennial.erase.concerns import give_warning

        if current_params().get("dry_run"):
            return []
        with step() as warehouse:
            concerns = give_warning(warehouse, current_run(), current_run_url(), current_page_url(), is_last_attempt())
        return [concern.request_id for concern in concerns if concern.is_late]

    @task(trigger_rule="none_failed")
    def conclude(remaining: int | None, late: list[str]) -> None:
        if remaining:
            raise AirflowFailException(
                f"{remaining:,} of what was removed was found again; the log of `verify` names it, and the next run "
                "removes it."
            )
        if late:
            raise AirflowFailException(f"The deadline of {', '.join(late)} has passed: see docs/runbooks/erasure.md.")

    batch_uri = open_requests()
    remaining, sent, late = verify(batch_uri), send_receipts(batch_uri), warn()
    locate(batch_uri) >> retrieve(batch_uri) >> remove(batch_uri) >> purge(batch_uri) >> remaining >> sent >> late
    conclude(remaining, late)


the_dag = erase_users()
