"""What Airflow's OpenLineage provider sends of real runs, as a receiver on this machine gets it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perennial import openlineage
from perennial.openlineage import Volume, report_lineage
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox
from tests.airflow import RunDag
from tests.dags.receivers import HttpReceiver
from tests.rows import append_hot, interaction
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpReceiver]:
    """Switch the provider on, as its setting does when Airflow starts, and take what it sends."""
    from airflow.listeners import hookimpl
    from airflow.providers.common.compat.sdk import HookLineageReader
    from airflow.providers.openlineage.plugins.listener import OpenLineageListener
    from airflow.sdk import lineage, plugins_manager
    from airflow.sdk.listener import get_listener_manager

    class OneTaskAProcess:
        """Forgets what the task before has read and written: outside of tests each task is a process of its own."""

        @hookimpl
        def on_task_instance_running(self) -> None:
            lineage.get_hook_lineage_collector.cache_clear()

    with HttpReceiver() as opened:
        transport = {"type": "http", "url": opened.url, "endpoint": "api/v1/lineage"}
        monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", json.dumps(transport))
        # A fork of a process with this many threads might wait for ever.
        monkeypatch.setenv("AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD", "True")
        monkeypatch.setattr(plugins_manager, "get_hook_lineage_readers_plugins", lambda: [HookLineageReader])
        listeners, manager = [OpenLineageListener(), OneTaskAProcess()], get_listener_manager()
        for listener in listeners:
            manager.add_listener(listener)
        yield opened
        for listener in listeners:
            manager.pm.unregister(listener)
        lineage.get_hook_lineage_collector.cache_clear()


def completed(receiver: HttpReceiver, dag_id: str) -> dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return inputs and outputs of the tasks that have any, each a dataset by the name of its table."""
    found = {}
    for path, body in receiver.received:
        assert path == "/api/v1/lineage"
        event = json.loads(body)
        job = event["job"]["name"]
        if event["eventType"] == "COMPLETE" and job.startswith(f"{dag_id}.") and (event["inputs"] or event["outputs"]):
            named = [
                {each["facets"]["symlinks"]["identifiers"][0]["name"]: each for each in event[side]}
                for side in ("inputs", "outputs")
            ]
            found[job.removeprefix(f"{dag_id}.")] = (named[0], named[1])
    return found


def counts(dataset: Mapping[str, Any], facets: str, facet: str) -> tuple[Any, ...]:
    return tuple(dataset[facets][facet].get(key) for key in ("rowCount", "size", "fileCount"))


def test_a_lineage_server_sees_what_an_expiry_and_a_restore_have_moved(
    warehouse: Warehouse, run_dag: RunDag, mailbox: Mailbox, receiver: HttpReceiver
) -> None:
    workspace = Workspace(warehouse)
    workspace.source("old", "stopped", owner_email="owner@example.com")
    workspace.source("running", "active")
    append_hot(warehouse, [interaction(source, number) for source in workspace.sources for number in range(30)])
    workspace.sync()
    hot, archive = (warehouse.table(name).location() for name in ("interactions", "interactions_archive"))

    run_dag("expire_interactions", at=NOW)
    archived = warehouse.source_totals("interactions_archive")["old"]
    run_dag("restore_interactions", {"source_ids": ["old"], "notify": ["ann@example.com"]}, NOW + timedelta(hours=1))

    moved = (archived.row_count, archived.total_bytes, archived.file_count)
    expired, restored = completed(receiver, "expire_interactions"), completed(receiver, "restore_interactions")
    assert expired.keys() == {"decide", "move_files.split"}
    assert restored.keys() == {"move_files.split"}
    read, written = expired["move_files.split"]
    for dataset, location in (
        (read["messaging.interactions"], hot),
        (written["messaging.interactions_archive"], archive),
    ):
        assert (dataset["namespace"], dataset["name"]) == ("file", location.removeprefix("file://"))
    assert read.keys() == {"messaging.interactions"}
    assert counts(read["messaging.interactions"], "inputFacets", "inputStatistics") == moved
    assert counts(written["messaging.interactions_archive"], "outputFacets", "outputStatistics") == moved
    assert counts(written["messaging.lifecycle_events"], "outputFacets", "outputStatistics") == (1, None, None)
    read, written = restored["move_files.split"]
    assert counts(read["messaging.interactions_archive"], "inputFacets", "inputStatistics") == moved
    assert counts(written["messaging.interactions"], "outputFacets", "outputStatistics") == moved
    # The mails say the same.
    assert moved[0] == 30
    assert all("30" in mail.text for mail in mailbox.messages())
    _, decided = expired["decide"]
    assert counts(decided["messaging.expiry_decisions"], "outputFacets", "outputStatistics") == (2, None, None)


@pytest.mark.long
def test_with_the_lineage_server_down_an_expiry_moves_what_is_due(
    warehouse: Warehouse, run_dag: RunDag, receiver: HttpReceiver
) -> None:
    workspace = Workspace(warehouse)
    workspace.source("old", "stopped")
    append_hot(warehouse, [interaction("old", number) for number in range(3)])
    workspace.sync()
    receiver.stop()

    assert run_dag("expire_interactions", at=NOW).state == "success"
    assert warehouse.source_totals("interactions_archive").keys() == {"old"}


@pytest.mark.parametrize("is_installed", [True, False], ids=["not switched on", "not installed"])
def test_without_the_provider_nothing_is_collected(
    is_installed: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if not is_installed:
        monkeypatch.setitem(sys.modules, "airflow.providers.openlineage", None)

    class Untouched:
        def __getattr__(self, name: str) -> None:
            pytest.fail(f"The warehouse was asked for its {name}.")

    untouched: Any = Untouched()
    report_lineage(untouched, {"interactions": Volume(row_count=1)})
    assert not caplog.records


def test_what_cannot_be_collected_fails_no_task(
    warehouse: Warehouse, receiver: HttpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    report_lineage(warehouse, {"no such table": Volume(row_count=1)})
    assert "lineage of this task was not collected" in caplog.text


@pytest.mark.parametrize(
    ("location", "namespace", "name"),
    [
        ("file:///lake/messaging/interactions", "file", "/lake/messaging/interactions"),
        ("s3://lake/messaging/interactions/", "s3://lake", "messaging/interactions"),
    ],
)
def test_a_table_is_named_by_the_location_of_its_files(location: str, namespace: str, name: str) -> None:
    from airflow.sdk import Asset

    extra = {"role": "output", "location": location, "row_count": 7, "total_bytes": 8, "file_count": 9}
    dataset = openlineage.to_dataset(Asset(uri="iceberg://perennial/messaging/interactions", extra=extra))
    assert (dataset.namespace, dataset.name) == (namespace, name)
    (known_as,) = dataset.facets["symlinks"].identifiers
    assert (known_as.namespace, known_as.name) == ("iceberg://perennial", "messaging.interactions")
    assert dataset.outputFacets["outputStatistics"].rowCount == 7


def test_airflow_finds_the_converter(dags: Mapping[str, Any]) -> None:
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

    assert ProvidersManagerTaskRuntime().asset_to_openlineage_converters["iceberg"] is openlineage.to_dataset
