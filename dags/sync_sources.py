"""# Sync sources

Copies campaigns, Canvases, their tags, variants and steps, audiences and users from the platform's database, hourly.

**What it does.** Reads the six tables with one SELECT each, those of `PERENNIAL_PLATFORM_SQL` before the packaged ones,
checks every row of all of them, and only then replaces each table of the warehouse in one commit; the marks of
`perennial adopt` are applied to `sources`. A source that the platform no longer has is kept in `vanished_sources` as it
was last known, and from then on is treated like a stopped one. Then it checks every audience and replaces
`audience_violations` with the findings: filters that name a deleted, expired or unknown source, and definitions that
cannot be read.

**What it never does.** Write to the platform; replace a table only in part; accept a row that would lead to a wrong
decision, or that more than a tenth of the known sources or audiences (and at least ten) are missing at once.

**Params.** `allow_vanishing`: accept that they are really gone.

**When it fails.** The error names table, row, column, value and remedy, and the previous metadata stays in place;
`perennial check --platform` lists everything that does not fit at once.
Expiries refuse to decide from metadata older than `PERENNIAL_MAX_METADATA_AGE_HOURS`. A faulty audience does not fail
the run: it is listed, and an audience that cannot be read keeps every source that it might name. Impossible values
that no decision uses are read as null; the log and the asset events count them.
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
from perennial.tables import AUDIENCE_VIOLATIONS, SYNCED, VANISHED_SOURCES

TABLES = [table.name for table in SYNCED]


@dag(
    dag_id="sync_sources",
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
        counts = {table: {"row_count": n, **outcome.remarks(table)} for table, n in outcome.row_counts.items()}
        report_written(get_current_context(), counts)
        return dict(outcome.row_counts)

    @task(outlets=assets(AUDIENCE_VIOLATIONS.name))
    def check_audiences() -> dict[str, int]:
        from perennial.audiences.lint import write_violations

        with step() as warehouse:
            run = current_run()
            counts = write_violations(warehouse, run.run_id, run.now)
        report_written(get_current_context(), {AUDIENCE_VIOLATIONS.name: counts})
        return counts

    replace_tables() >> check_audiences()


sync_sources()
