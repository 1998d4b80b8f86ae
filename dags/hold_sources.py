"""# Hold sources

Keeps a campaign or Canvas, or everything with a tag, from expiring; or lifts such a hold.

**What it does.** It records the hold with who triggered the run, why, and until when. The hold counts from that moment,
also against an expiry that is copying. The page triggers this DAG; `perennial hold` does the same without Airflow.

**What it never does.** It brings nothing back, hides nothing and moves nothing. When a hold ends or is lifted, no clock
restarts.

**Params.** Either `source_id` or `tag`, with `reason` and perhaps `until`; or `lift`, the id of a hold.

    {"source_id": "spring-sale", "until": "2026-10-01", "reason": "audit of the autumn campaign"}

**When it fails.** Nothing was recorded, and the run's log says what to give instead.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import Param, dag, task

from perennial.airflow import DEFAULT_ARGS, MAX_ACTIVE_RUNS, assets, current_params, current_run, step
from perennial.settings import dag_id


@dag(
    dag_id=dag_id("hold_sources"),
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=MAX_ACTIVE_RUNS,
    default_args=DEFAULT_ARGS,
    tags=["perennial", "lifecycle"],
    params={
        "source_id": Param(
            None, type=["null", "string"], title="Campaign or Canvas (one id)", description="What stays hot."
        ),
        "tag": Param(
            None, type=["null", "string"], title="Or a tag", description="Whatever carries it when a run decides."
        ),
        "until": Param(
            None,
            type=["null", "string"],
            title="Until",
            description="A day such as 2026-10-01, UTC; without one it is held until the hold is lifted.",
        ),
        "reason": Param(None, type=["null", "string"], title="Reason", description="Shown wherever the hold is named."),
        "lift": Param(
            None, type=["null", "string"], title="Or the id of a hold to lift", description="Nothing else is needed."
        ),
    },
)
def hold_sources() -> None:
    @task(outlets=assets("holds"))
    def record() -> str:
        from perennial.operations import wall_clock
        from perennial.policy.hold_requests import carry_out

        with step(first=True) as warehouse:
            run = current_run()
            return carry_out(warehouse, current_params(), run.requested_by or "unknown", wall_clock(), run.run_id)

    record()


the_dag = hold_sources()
