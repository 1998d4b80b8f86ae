"""# Measure the warehouse

Sends the state of the warehouse as metrics, every five minutes, where Airflow sends metrics at all.

**What it does.** It reads how much is hot and archived, how old the platform's metadata is, which restores, expiries
and erasures wait or are late, what is proven of the archive, and which landing files are not loaded. It sends this by
Airflow's own StatsD or OpenTelemetry, with a zero for each counter, so that the first event counts as an increase.
`docs/monitoring.md` lists the metrics. Without `[metrics] statsd_on` or `otel_on` it has no schedule.

**What it never does.** It changes nothing, and no other DAG waits for it.

**Params.** None.

    {}

**When it fails.** Nothing but the metrics is missing, and the alert `PerennialMetricsAbsent` fires. The log says what
could not be read. The next run measures anew.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import dag, get_current_context, task

from perennial.airflow import DEFAULT_ARGS, MAX_ACTIVE_RUNS, step
from perennial.metrics import COUNTERS, are_sent, send
from perennial.operations import wall_clock
from perennial.settings import dag_id


@dag(
    dag_id=dag_id("measure_warehouse"),
    doc_md=__doc__,
    schedule="*/5 * * * *" if are_sent() else None,
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=MAX_ACTIVE_RUNS,
    default_args=DEFAULT_ARGS,
    tags=["perennial", "maintenance"],
)
def measure_warehouse() -> None:
    @task(max_active_tis_per_dag=1)
    def send_metrics() -> dict[str, float]:
        from perennial.measure import WaitingRuns, measure

        with step(first=True) as warehouse:
            waiting = WaitingRuns.of_airflow(get_current_context()["ti"])
            measured = measure(warehouse, waiting, wall_clock())
        send(dict.fromkeys(COUNTERS, 0) | measured)
        return measured

    send_metrics()


the_dag = measure_warehouse()
