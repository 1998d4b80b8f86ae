"""All of Airflow with metrics and lineage switched on by its settings alone: each task is a process of its own."""

from __future__ import annotations

import json
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from perennial.settings import Settings
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox
from perennial_sample.ports import free_port
from perennial_sample.serve import running_airflow
from tests import PROJECT_ROOT
from tests.dags.receivers import HttpReceiver
from tests.rows import append_hot, interaction
from tests.workspace import Workspace

LONG_AGO = datetime.now(UTC) - timedelta(days=200)
PATIENCE_SECONDS = 900


def run(client: httpx.Client, dag_id: str, conf: dict[str, Any]) -> str:
    """Trigger a run and wait until it is over; returns its state."""
    runs = f"/api/v2/dags/{dag_id}/dagRuns"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (begun := client.post(runs, json={"logical_date": None, "conf": conf})).status_code == 404:
        # It is not parsed yet.
        assert time.monotonic() < deadline
        time.sleep(1)
    run_id = begun.json()["dag_run_id"]
    while (state := client.get(f"{runs}/{run_id}").json()["state"]) in ("queued", "running"):
        assert time.monotonic() < deadline
        time.sleep(1)
    return str(state)


@pytest.mark.long
def test_tasks_of_a_served_airflow_send_what_they_move(
    settings: Settings, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(warehouse)
    workspace.source("old", "stopped", stopped_at=LONG_AGO, last_sent_at=LONG_AGO, created_at=LONG_AGO)
    append_hot(warehouse, [interaction("old", number, occurred_at=LONG_AGO) for number in range(30)])
    workspace.sync()
    dags = tmp_path / "dags"
    dags.mkdir()
    for name in ("expire_interactions.py", "measure_warehouse.py", "restore_interactions.py"):
        # Whatever has a schedule would run at the first start.
        text = (PROJECT_ROOT / "dags" / name).read_text(encoding="utf-8").replace('"0 4 * * *"', "None")
        (dags / name).write_text(text, encoding="utf-8")

    received: dict[str, str] = {}
    with (
        HttpReceiver() as lineage,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd,
        Mailbox(tmp_path / "mail") as mailbox,
    ):
        statsd.bind(("127.0.0.1", 0))
        statsd.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(statsd.getsockname()[1]))
        # Airflow itself sends much more than the socket keeps.
        monkeypatch.setenv("AIRFLOW__METRICS__METRICS_ALLOW_LIST", "perennial,dag.expire")
        transport = {"type": "http", "url": lineage.url, "endpoint": "api/v1/lineage"}
        monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", json.dumps(transport))
        with (
            running_airflow(settings, free_port(), mailbox, dags) as airflow,
            httpx.Client(base_url=airflow.url, timeout=120) as client,
        ):
            login = {"username": "admin", "password": airflow.password}
            token = client.post("/auth/token", json=login).json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            assert run(client, "expire_interactions", {}) == "success"
            archived = warehouse.source_totals("interactions_archive")["old"]
            assert run(client, "measure_warehouse", {}) == "success"
            restore = {"source_ids": ["old"], "notify": ["ann@example.com"]}
            assert run(client, "restore_interactions", restore) == "success"
        statsd.setblocking(False)
        while True:
            try:
                name, _, value = statsd.recv(65_536).decode().partition(":")
            except BlockingIOError:
                break
            if value != "0|c":
                received[name] = value

    assert received["airflow.perennial.expired_rows_total"] == "30|c"
    assert received["airflow.perennial.restored_bytes_total"] == f"{archived.total_bytes}|c"
    assert received["airflow.perennial.archived_rows"] == "30|g"
    assert "airflow.dag.expire_interactions.move_files__split.duration" in received
    moved = {"rowCount": archived.row_count, "size": archived.total_bytes, "fileCount": archived.file_count}
    sent = {}
    for _, body in lineage.received:
        event = json.loads(body)
        for side in ("inputs", "outputs"):
            for dataset in event[side] if event["eventType"] == "COMPLETE" else ():
                counted = (dataset.get("inputFacets") or {}) | (dataset.get("outputFacets") or {})
                figures = {key: value for facet in counted.values() for key, value in facet.items() if key in moved}
                sent[event["job"]["name"], side, Path(dataset["name"]).name] = figures
    for dag_id, origin, destination in (
        ("expire_interactions", "interactions", "interactions_archive"),
        ("restore_interactions", "interactions_archive", "interactions"),
    ):
        assert sent[f"{dag_id}.move_files.split", "inputs", origin] == moved
        assert sent[f"{dag_id}.move_files.split", "outputs", destination] == moved
