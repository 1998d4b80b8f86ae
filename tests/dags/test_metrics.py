"""What runs send through Airflow's own StatsD and OpenTelemetry, as receivers on this machine get it."""

from __future__ import annotations

import atexit
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from perennial import metrics
from perennial.metrics import COUNTERS, GAUGES
from perennial.notify.deadline import WAITING
from perennial.warehouse import Warehouse
from tests.airflow import RunDag
from tests.dags.receivers import HttpReceiver
from tests.rows import append_hot, interaction
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)


@pytest.fixture
def workspace(warehouse: Warehouse) -> Workspace:
    workspace = Workspace(warehouse)
    workspace.source("old", "stopped")
    workspace.source("running", "active")
    append_hot(warehouse, [interaction(source, number) for source in workspace.sources for number in range(30)])
    workspace.sync()
    return workspace


@contextmanager
def sending() -> Iterator[None]:
    """Send metrics as a task's own process does, which begins with this call."""
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils

    logger = stats_utils.get_stats_factory()()
    stats.initialize(factory=lambda: logger, export_legacy_names=True)
    try:
        yield
    finally:
        stats.initialize(factory=stats_utils.NoStatsLogger, export_legacy_names=False)
        if hasattr(logger, "statsd"):
            logger.statsd.close()


@pytest.fixture
def statsd() -> Iterator[Callable[[], dict[str, list[str]]]]:
    """Return what a StatsD server has received, by name; it forgets that then."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, pytest.MonkeyPatch.context() as patch:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        patch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        patch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(server.getsockname()[1]))

        def received() -> dict[str, list[str]]:
            found: dict[str, list[str]] = {}
            while True:
                try:
                    name, _, value = server.recv(65_536).decode().partition(":")
                except BlockingIOError:
                    return found
                found.setdefault(name, []).append(value)

        with sending():
            yield received


def test_statsd_gets_what_moved_how_long_tasks_took_and_the_state_of_the_warehouse(
    workspace: Workspace, run_dag: RunDag, statsd: Callable[[], dict[str, list[str]]]
) -> None:
    from airflow.models import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    hot = workspace.warehouse.source_totals("interactions")["old"]

    run = run_dag("expire_interactions", at=NOW)

    sent = statsd()
    assert sent["airflow.perennial.expired_sources_total"] == ["1|c"]
    assert sent["airflow.perennial.expired_rows_total"] == ["30|c"]
    assert sent["airflow.perennial.expired_bytes_total"] == [f"{hot.total_bytes}|c"]
    assert "airflow.dag.expire_interactions.move_files__split.duration" in sent

    append_hot(workspace.warehouse, [interaction("old", number) for number in range(30, 34)])
    # As it is while a person is asked, of this run alone: tests before this one may have left runs that wait.
    with create_session() as session:
        for task in session.scalars(select(TaskInstance).where(TaskInstance.state.in_(WAITING))):
            task.state = "failed"
        (approve,) = (task for task in run.get_task_instances(session=session) if task.task_id == "approve")
        approve.state = "deferred"
    assert run_dag("measure_warehouse", at=NOW).state == "success"

    sent = statsd()
    assert {name.removeprefix("airflow.perennial.") for name in sent if "perennial" in name} == {*COUNTERS, *GAUGES}
    assert {value for name in COUNTERS for value in sent[f"airflow.perennial.{name}"]} == {"0|c"}
    gauges = {name: float(sent[f"airflow.perennial.{name}"][0].removesuffix("|g")) for name in GAUGES}
    archived = workspace.warehouse.source_totals("interactions_archive")["old"]
    assert (gauges["archived_rows"], gauges["archived_bytes"]) == (30, archived.total_bytes)
    assert (gauges["available_sources"], gauges["expired_sources"]) == (1, 1)
    assert (gauges["hot_rows"], gauges["late_rows"]) == (34, 4)
    assert gauges["expiry_timestamp_seconds"] == pytest.approx(run.logical_date.timestamp())
    synced_at = workspace.warehouse.committed_at("sources")
    assert synced_at is not None
    assert gauges["metadata_synced_timestamp_seconds"] == pytest.approx(synced_at.timestamp(), abs=60)
    assert (gauges["expiries_to_approve"], gauges["restores_to_approve"], gauges["thawing_restores"]) == (1, 0, 0)


@pytest.mark.long
def test_a_task_that_fails_for_good_is_counted(
    workspace: Workspace, run_dag: RunDag, statsd: Callable[[], dict[str, list[str]]]
) -> None:
    request = {"source_ids": ["nobody"], "notify": ["ann@example.com"]}
    assert run_dag("restore_interactions", request, at=NOW).state == "failed"

    assert statsd()["airflow.perennial.restore_interactions_failures_total"] == ["1|c"]


def test_opentelemetry_gets_the_same_names(
    workspace: Workspace, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk._shared.observability.metrics.otel_logger import flush_otel_metrics
    from opentelemetry import metrics as otel
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    with HttpReceiver() as receiver:
        monkeypatch.setenv("AIRFLOW__METRICS__OTEL_ON", "True")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        with sending():
            metrics.send({"expired_rows_total": 30})
            run_dag("measure_warehouse", at=NOW)
            provider: Any = otel.get_meter_provider()
            provider.shutdown()
            # Airflow flushes at the end of the process, too.
            atexit.unregister(flush_otel_metrics)

    found = {}
    for path, body in receiver.received:
        assert path == "/v1/metrics"
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for scope in resource.scope_metrics:
                found |= {metric.name: metric for metric in scope.metrics}
    assert {f"airflow.perennial.{name}" for name in metrics.METRICS} <= found.keys()
    (moved,) = found["airflow.perennial.expired_rows_total"].sum.data_points
    assert moved.as_int == 30
    assert found["airflow.perennial.expired_rows_total"].sum.is_monotonic
    (hot,) = found["airflow.perennial.hot_rows"].gauge.data_points
    assert (hot.as_int or hot.as_double) == 60
    assert "airflow.task.duration" in found


def test_nothing_is_measured_on_a_schedule_unless_airflow_sends_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not metrics.are_sent()
    monkeypatch.setenv("AIRFLOW__METRICS__OTEL_ON", "True")
    assert metrics.are_sent()


def test_a_metric_that_cannot_be_sent_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Any:
        raise OSError("no route")

    monkeypatch.setattr(metrics, "_airflow_stats", broken)
    metrics.send({"expired_rows_total": 1})
    assert "expired_rows_total was not sent" in caplog.text
