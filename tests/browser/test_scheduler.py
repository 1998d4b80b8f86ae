"""A real scheduler: runs that are dated in the future never start in Airflow 3.3, and hold up nobody (R24)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests import PROJECT_ROOT
from tests.browser.conftest import Running, token, until

DAG = "expire_interactions"
FUTURE = [datetime.now(UTC) + timedelta(days=365 + number) for number in range(3)]


@pytest.fixture(scope="module")
def airflow(running: Running) -> Iterator[httpx.Client]:
    """Airflow's API, with the expiry beside the DAGs that the other tests need."""
    link = running.warehouse.settings.home / "dags" / f"{DAG}.py"
    link.symlink_to(PROJECT_ROOT / "dags" / link.name)
    headers = {"Authorization": f"Bearer {token(running)}"}
    with httpx.Client(base_url=f"{running.url}/api/v2/dags/", headers=headers, timeout=60) as client:
        until(lambda: client.get(DAG).status_code == 200)
        yield client
        for run in runs(client):
            if run["logical_date"] and datetime.fromisoformat(run["logical_date"]) >= FUTURE[0]:
                client.patch(f"{DAG}/dagRuns/{run['dag_run_id']}", json={"state": "failed"})
        # A server whose tasks are at work takes a minute to stop.
        until(lambda: all(run["end_date"] for run in runs(client)))
        client.patch(DAG, json={"is_paused": True}).raise_for_status()
        link.unlink()


def runs(airflow: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = airflow.get(f"{DAG}/dagRuns").raise_for_status().json()["dag_runs"]
    return found


def trigger(airflow: httpx.Client, at: datetime | None, **conf: Any) -> str:
    body = {"logical_date": at and at.isoformat(), "conf": conf}
    # Airflow's own SQLite database answers "database is locked" while its scheduler writes; nothing was made then.
    answer = until(lambda: (given := airflow.post(f"{DAG}/dagRuns", json=body)).status_code != 500 and given)
    return str(answer.raise_for_status().json()["dag_run_id"])


def states(airflow: httpx.Client, run_id: str) -> list[str | None]:
    answer = airflow.get(f"{DAG}/dagRuns/{run_id}/taskInstances").raise_for_status().json()
    return [task["state"] for task in answer["task_instances"]]


@pytest.mark.long
def test_runs_dated_in_the_future_do_not_hold_up_the_runs_of_every_day(running: Running, airflow: httpx.Client) -> None:
    # `perennial up` wants its DAGs to run; nobody has unpaused this one.
    assert airflow.get(DAG).json()["is_paused"] is False
    hung = [trigger(airflow, at) for at in FUTURE]
    until(lambda: {run["dag_run_id"] for run in runs(airflow) if run["state"] == "running"} >= set(hung))

    normal = trigger(airflow, None)

    ended = until(lambda: [r for r in runs(airflow) if r["dag_run_id"] == normal and r["end_date"]])
    assert ended[0]["state"] == "success"
    decided = running.warehouse.read("expiry_decisions").to_pylist()
    assert {row["decision"] for row in decided if row["run_id"] == normal} >= {"active", "recent", "referenced"}
    assert {run["dag_run_id"]: run["state"] for run in runs(airflow)}.items() >= dict.fromkeys(hung, "running").items()
    assert {state for run_id in hung for state in states(airflow, run_id)} == {None}


@pytest.mark.long
@pytest.mark.parametrize("conf", [{"dry_run": "yes"}, {"dry_run": 0}], ids=["text", "number"])
def test_airflow_takes_no_value_of_the_wrong_type(airflow: httpx.Client, conf: dict[str, Any]) -> None:
    answer = airflow.post(f"{DAG}/dagRuns", json={"logical_date": None, "conf": conf})

    assert answer.status_code == 400
    assert "dry_run" in answer.text
