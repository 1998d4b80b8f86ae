"""# Check the archive

Proves every week, on Sundays at 06:00 UTC, that a sample of the archive can be restored.

**What it does.** It reads a sample of the archived files in full: the size and the checksum that were recorded when
each was archived, its columns, every row, and the number of rows. Files that nobody has checked come first, then the
longest unchecked; files that were damaged are checked again each time. Then one source goes the whole way of a restore
into scratch tables and back, and its rows are compared each time. Every outcome is a row of `archive_checks`. If
anything is wrong, the owners of the sources and the people in `notify` get an e-mail that says what to do, and the run
fails.

**What it never does.** It never changes or deletes an archived file, and never touches a table that features read: the
scratch tables are in no catalog, and only their own copies, below `operations/drills/`, are deleted. Files in a cold
storage class are counted and not thawed, unless `check_cold` says so.

**Params.** `sample_percent`: how much of the archive's files is read, above 0 and at most 100. `check_cold`: thaw the
cold files of the sample first, in tier Bulk, which costs money and takes up to two days. `notify`: who gets the e-mail,
besides the owners.

    {"sample_percent": 5, "check_cold": false, "notify": ["ann@example.com"]}

**When it fails.** The error and the e-mail name every file that is damaged or missing. See
`docs/runbooks/damaged-archive.md`. If storage could not be reached, clear the task; what a killed run has left is
removed by the next.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

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
    step,
)
from perennial.notify import ADDRESS_PATTERN
from perennial.openlineage import Volume, report_lineage
from perennial.reports import RestoreDrill
from perennial.settings import Settings, dag_id
from perennial.thaw import ThawSample

SAMPLE_PERCENT = 5


@dag(
    dag_id=dag_id("check_archive"),
    doc_md=__doc__,
    schedule="0 6 * * 0",
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=MAX_ACTIVE_RUNS,
    default_args=DEFAULT_ARGS,
    tags=["perennial", "maintenance"],
    params={
        "sample_percent": Param(
            SAMPLE_PERCENT,
            type=["null", "number"],
            exclusiveMinimum=0,
            maximum=100,
            title="Sample (percent of archived files)",
            description="How many of the archived files are read in full, the longest unchecked first.",
        ),
        "check_cold": Param(
            False,
            type=["null", "boolean"],
            title="Thaw cold files",
            description="Thaws the sample's files in GLACIER and DEEP_ARCHIVE (tier Bulk), and checks them too.",
        ),
        "notify": Param(
            [],
            type=["null", "array"],
            items={"type": "string", "pattern": f"^$|{ADDRESS_PATTERN}"},
            title="Notify (one address per line)",
            description="These people and the owners of the sources get an e-mail if something is wrong.",
        ),
    },
)
def check_archive() -> None:
    @task(max_active_tis_per_dag=1)
    def plan() -> str:
        from perennial.drills.check import plan_check

        with step(first=True) as warehouse:
            params = current_params()
            return plan_check(
                warehouse, params.get("sample_percent", SAMPLE_PERCENT), params.get("check_cold", False)
            ).uri

    @task
    def split(check_uri: str) -> list[dict[str, Any]]:
        from perennial.drills.check import read_check

        with step():
            return [{"check_uri": check_uri, "chunk": chunk} for chunk in range(read_check(check_uri).chunk_count)]

    @task(pool=Settings.from_environment().copy_pool, outlets=assets("archive_checks"))
    def check_files(check_uri: str, chunk: int) -> dict[str, int]:
        from perennial.drills.check import check_chunk, read_check

        with step() as warehouse:
            checked = check_chunk(warehouse, current_run(), read_check(check_uri), chunk)
            file_count = sum(checked.values())
            report_lineage(
                warehouse,
                {"interactions_archive": Volume(file_count=file_count)},
                {"archive_checks": Volume(row_count=file_count)},
            )
            return checked

    @task(pool=Settings.from_environment().copy_pool)
    def rehearse_restore(check_uri: str) -> dict[str, Any]:
        from perennial.drills.check import read_check
        from perennial.drills.rehearsal import rehearse_restore

        with step() as warehouse:
            drill = rehearse_restore(warehouse, current_run(), read_check(check_uri).rehearsed_source)
            return vars(drill) if drill else {}

    @task(trigger_rule="all_done")
    def report(check_uri: str | None = None, drill: dict[str, Any] | None = None) -> str:
        from perennial.drills.report import notify_of_damage, report_check

        if check_uri is None:
            raise AirflowSkipException("Nothing was planned, so nothing was checked.")
        with step() as warehouse:
            rehearsed = RestoreDrill(**drill) if drill else None
            found = report_check(warehouse, current_run(), rehearsed, current_run_url(), current_page_url())
            notify_of_damage(warehouse, found, current_params().get("notify", ()))
            return "" if found.is_sound else found.summary

    @task(trigger_rule="none_failed")
    def conclude(wrong: str) -> None:
        if wrong:
            raise AirflowFailException(wrong)

    check_uri = plan()
    thawed = ThawSample(task_id="thaw", check_uri=check_uri)
    checked = check_files.expand_kwargs(split(check_uri))
    drill = rehearse_restore(check_uri)
    thawed >> [checked, drill]
    reported = report(check_uri, drill)
    checked >> reported
    [checked, drill] >> conclude(reported)


the_dag = check_archive()
