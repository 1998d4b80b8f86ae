"""# Load interactions

Loads the files that the platform's Currents connection has put into the landing directory, every 15 minutes.

**What it does.** It reads new Avro and JSON files and adds their interactions to the hot table and their counts to
`user_message_summary` and `source_daily_stats`. Each event is added exactly once, however often it is delivered.
Records that cannot be read are kept in `rejected_events` with file, line and reason; the rest of their file is
loaded. What arrives for people who were erased is left out. `users.UserDeleteRequest` opens a request to erase a
person, which waits for approval.

**What it never does.** It never loads half of a file that is still being written, never loses or repeats a row when
it is interrupted, and never changes anything in the landing directory.

**Params.** None.

    {}

**When it fails.** Nothing is lost. The next run finishes what this one began, and goes on.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from airflow.sdk import dag, get_current_context, task

from perennial.airflow import DEFAULT_ARGS, MAX_ACTIVE_RUNS, assets, current_run, report_written, step
from perennial.openlineage import Volume, report_lineage
from perennial.settings import dag_id

WRITTEN = ("interactions", "user_message_summary", "source_daily_stats", "loaded_files", "rejected_events")


@dag(
    dag_id=dag_id("load_interactions"),
    doc_md=__doc__,
    schedule="*/15 * * * *",
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=MAX_ACTIVE_RUNS,
    default_args=DEFAULT_ARGS,
    tags=["perennial", "load"],
)
def load_interactions() -> None:
    @task(outlets=assets(*WRITTEN), max_active_tis_per_dag=1)
    def load_files() -> dict[str, int]:
        from perennial.currents.landing import landing_place
        from perennial.currents.load import load_interactions, quality_gate

        with step(first=True) as warehouse:
            loaded = load_interactions(warehouse, current_run().now, check=quality_gate(warehouse))
            if loaded.files:
                counted = {"interactions": loaded.interactions, "loaded_files": loaded.files}
                counted["rejected_events"] = loaded.rejected
                written = {table: Volume(row_count=counted.get(table)) for table in WRITTEN}
                report_lineage(warehouse, outputs=written, input_uri=landing_place(warehouse.settings))
        report_written(get_current_context(), dict.fromkeys(WRITTEN, asdict(loaded)))
        return asdict(loaded)

    load_files()


the_dag = load_interactions()
