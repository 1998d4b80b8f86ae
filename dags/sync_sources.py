"""# Sync sources

Copies campaigns, Canvases, their tags, variants and steps, audiences and users from the platform's database, hourly.

**What it does.** It reads the six tables with one SELECT each, from `PERENNIAL_PLATFORM_SQL` where that names one,
otherwise the packaged one, and checks every row. Only then does it replace each table of the warehouse, in one commit
per table; what `perennial adopt` has marked is applied to `sources`. What was last known of a source that has
vanished from the platform is kept in `vanished_sources`, and the source is treated like a stopped one from then on.
Finally every audience is checked, and `audience_violations` is replaced by what is wrong: filters that name a
deleted, expired or unknown source, and definitions that cannot be read.

**What it never does.** It never writes to the platform, never leaves half of a table, and never accepts a row that
would make a decision wrong. It refuses a sync in which more than a tenth of the known sources or audiences (and at
least ten) are missing.

**Params.** `allow_vanishing`: accept that so many sources or audiences are missing, because they are really gone.

    {"allow_vanishing": true}

**When it fails.** The error names table, row, column, value and remedy, and the previous metadata stays in place;
`perennial check --platform` lists everything that does not fit. An expiry refuses to decide from metadata that is
older than `PERENNIAL_MAX_METADATA_AGE_HOURS`. A wrong audience fails nothing: it is listed, and if it cannot be read
it keeps every source that it could name. Invalid values that no decision uses are read as null; the log and the asset
events count them.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import Param, dag, get_current_context, task

from perennial.airflow import (
    DEFAULT_ARGS,
    MAX_ACTIVE_RUNS,
    assets,
    current_params,
    current_run,
    report_written,
    step,
)
from perennial.openlineage import Volume, report_lineage
from perennial.settings import dag_id
from perennial.tables import AUDIENCE_VIOLATIONS, SYNCED, VANISHED_SOURCES

TABLES = [table.name for table in SYNCED]


@dag(
    dag_id=dag_id("sync_sources"),
    doc_md=__doc__,
    schedule="@hourly",
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=MAX_ACTIVE_RUNS,
    default_args=DEFAULT_ARGS,
    tags=["perennial", "metadata"],
    params={
        "allow_vanishing": Param(
            False,
            type=["null", "boolean"],
            title="Allow many sources or audiences to be missing",
            description="Accepts that more than a tenth of the known sources or audiences are gone from the platform.",
        ),
    },
)
def sync_sources() -> None:
    @task(outlets=assets(*TABLES, VANISHED_SOURCES.name), max_active_tis_per_dag=1)
    def replace_tables() -> dict[str, int]:
        from perennial.platform import sync_sources

        with step(first=True) as warehouse:
            outcome = sync_sources(warehouse, current_run().run_id, current_params().get("allow_vanishing", False))
            written = {table: Volume(row_count=number) for table, number in outcome.row_counts.items()}
            report_lineage(warehouse, outputs=written)
        counts = {table: {"row_count": n, **outcome.remarks(table)} for table, n in outcome.row_counts.items()}
        if outcome.erased_count:
            counts["users"]["erased"] = outcome.erased_count
        report_written(get_current_context(), counts)
        return dict(outcome.row_counts)

    @task(outlets=assets(AUDIENCE_VIOLATIONS.name))
    def check_audiences() -> dict[str, int]:
        from perennial.audiences.lint import write_findings

        with step() as warehouse:
            run = current_run()
            counts = write_findings(warehouse, run.run_id, run.now)
        report_written(get_current_context(), {AUDIENCE_VIOLATIONS.name: counts})
        return counts

    replace_tables() >> check_audiences()


the_dag = sync_sources()
