"""`deploy/compose.yaml`: as its specification has it, and running: a load, an expiry and a restore by its worker."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psutil
import pytest
import yaml
from scripts.environments import MissingError

from perennial.settings import Settings
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox
from perennial_sample.workspace import advance_workspace, create_workspace
from tests.deployed.conftest import Tools
from tests.deployed.image import Container
from tests.deployed.stack import Stack, running_databases
from tests.lake import ARCHIVE, Lake
from tests.rows import multiset
from tests.test_deploy import compose, read

SERVICES = ("api-server", "scheduler", "dag-processor", "triggerer", "worker")


def interpolated(text: str) -> Any:
    """The file with its variables replaced, as `docker compose config` has it."""
    return yaml.safe_load(
        re.sub(r"\$\{(\w+)(?::([-?])([^}]*))?\}", lambda found: found[3] if found[2] == "-" else "x", text)
    )


def test_compose_is_what_the_specification_allows(tools: Tools) -> None:
    text = read("compose.yaml")
    assert set(tools("read_compose", document=interpolated(text))["services"]) == compose()["services"].keys()
    for right, wrong in (
        ("condition: service_healthy", "condition: service_well"),
        ("stop_grace_period: 10m", "stop_grace: 10m"),
        ("restart: unless-stopped", "restart: unless-needed"),
        ("127.0.0.1:8080:8080", "127.0.0.1:80800:8080"),
    ):
        assert right in text
        assert "error" in tools("read_compose", document=interpolated(text.replace(right, wrong))), wrong


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailbox]:
    with Mailbox(tmp_path_factory.mktemp("mail")) as opened:
        yield opened


@pytest.fixture(scope="module")
def settings(
    container: Container, lake: Lake, mailbox: Mailbox, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What a deployment is configured with, over the sample workspace: its files on S3, its platform's database in /srv."""
    home = tmp_path_factory.mktemp("sample")
    local = Settings.from_environment({"PERENNIAL_HOME": str(home)})
    workspace = create_workspace(local, 3_000, now=datetime.now(UTC).replace(microsecond=0))
    advance_workspace(workspace)
    for path in workspace.landing.rglob("*"):
        if path.is_file():
            lake.client().upload_file(str(path), ARCHIVE, f"landing/{path.relative_to(workspace.landing)}")
    (container.root / "srv" / "platform.db").write_bytes(workspace.platform.read_bytes())
    return lake.environment("deployed") | {
        "PERENNIAL_PLATFORM_URL": "sqlite:////srv/platform.db",
        "PERENNIAL_LANDING_URI": f"s3://{ARCHIVE}/landing",
        "PERENNIAL_OPERATIONS_URI": f"s3://{ARCHIVE}/operations",
        "PERENNIAL_EXPORTS_URI": f"s3://{ARCHIVE}/exports",
        "PERENNIAL_ARCHIVE_STORAGE_CLASS": "STANDARD_IA",
        "PERENNIAL_APPROVE_ABOVE_SHARE": "none",
        "PERENNIAL_APPROVE_ABOVE_SURPRISES": "none",
        "AIRFLOW_CONN_SMTP_DEFAULT": mailbox.airflow_connection(),
    }


@pytest.fixture(scope="module")
def stack(container: Container, settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    try:
        with running_databases(container, folder, settings) as made:
            for _ in range(2):
                done = subprocess.run(made.command("init"), capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stdout + done.stderr
            for service in SERVICES:
                made.start(service, made.command(service))
            check = compose()["services"]["api-server"]["healthcheck"]["test"][1:]
            words = [word.replace(":8080", f":{made.ports['api-server']}") for word in check]
            made.wait(lambda: not container.run(*words).returncode, "the API server's health check")
            made.log_in()
            yield made
    except MissingError as missing:
        pytest.exit(f"The tests of compose.yaml need {missing}", returncode=1)


def warehouse_of(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return Warehouse(Settings.from_environment(settings))


def test_a_load_an_expiry_and_a_restore_run_on_the_worker(
    stack: Stack, settings: dict[str, str], mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    health = stack.ask("/api/v2/monitor/health")
    assert {part: health[part]["status"] for part in health} == dict.fromkeys(health, "healthy")
    assert stack.ask("/api/v2/importErrors")["total_entries"] == 0
    assert {pool["name"]: pool["slots"] for pool in stack.ask("/api/v2/pools")["pools"]}["perennial_copies"] == 16

    stack.run_dag("sync_sources")
    run = stack.run_dag("load_interactions")
    warehouse = warehouse_of(settings, monkeypatch)
    loaded = multiset(warehouse, "interactions")
    assert loaded
    stack.run_dag("expire_interactions")
    hot, archived = multiset(warehouse, "interactions"), multiset(warehouse, "interactions_archive")
    assert archived
    assert hot + archived == loaded

    sources = Counter(json.loads(row)["source_id"] for row in archived.elements())
    source = min(sources)
    conf = {"source_ids": [source], "notify": ["ann@example.com"], "reason": "A test of the deployment"}
    stack.run_dag("restore_interactions", conf)
    back = multiset(warehouse, "interactions_archive", [source])
    assert not back
    assert multiset(warehouse, "interactions").total() == hot.total() + sources[source]
    assert multiset(warehouse, "interactions") + multiset(warehouse, "interactions_archive") == loaded
    assert ("ann@example.com",) in [mail.recipients for mail in mailbox.messages()]

    # The worker's disk is its own: the API server fetched this from it, and both have the same secret.
    log = json.dumps(stack.ask(f"/api/v2/dags/load_interactions/dagRuns/{run}/taskInstances/load_files/logs/1"))
    assert "Could not read served logs" not in log
    assert "perennial" in log
    page = stack.ask("/perennial/sources")
    assert "<html" in page
    assert [each for each in sources if each in page]
    taken = subprocess.run(
        ["redis-cli", "-p", str(stack.ports["redis"]), "keys", "_kombu*"], capture_output=True, check=True
    )
    assert b"_kombu.binding" in taken.stdout


def test_a_worker_that_is_told_to_stop_ends_by_itself(stack: Stack) -> None:
    worker = stack.processes["worker"]
    [first] = psutil.Process(worker.pid).children()
    first.send_signal(signal.SIGTERM)
    assert worker.wait(120) == 0
