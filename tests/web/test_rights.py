"""Each role at its work, with what deploy/ is configured with: what it asks of S3 and Glue is what docs/iam.md gives it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest

import perennial
from perennial.audiences.lint import write_findings
from perennial.currents import load_interactions
from perennial.drills.check import check_chunk, plan_check, request_cold
from perennial.drills.rehearsal import rehearse_restore
from perennial.drills.report import report_check
from perennial.exports.user_data import UserDataRequest, write_user_data
from perennial.maintenance.bucket_rules import BucketRules, find_harmful_rules
from perennial.measure import WaitingRuns, measure
from perennial.moves import Run, expire_sources, restore_sources
from perennial.moves.notifications import notify_owners
from perennial.platform import sync_sources
from perennial.settings import Settings
from perennial.statements import statement
from perennial.storage.s3 import s3_storage
from perennial.warehouse import Warehouse
from perennial.web.dependencies import _open
from tests.aws import KEY, REGION, SECRET, Aws
from tests.maintenance.maintain import maintain_warehouse
from tests.rights import Right, enforced
from tests.rows import append_hot, interaction, multiset, visible
from tests.test_deploy import airflow_values, example
from tests.test_iam import BUCKETS, POLICIES, may
from tests.web.conftest import As

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
CATALOG = "PYICEBERG_CATALOG__PERENNIAL__"
LANDED = "currents/event_type=users.messages.email.Send/date=2026-01-31-23"
ME = ("ann@example.com",)
ADDRESSES = (
    "/overview",
    "/forecast?audiences=true",
    "/sources",
    "/source?id=old",
    "/api/source?id=old",
    "/restore?id=old",
    "/restores",
    "/users?q=u1",
    "/erasures",
)


@pytest.fixture
def settings(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The example's, but for what is another server's: keys, addresses, the platform's database."""
    ours = {name: value for name, value in example().items() if name.startswith(("PERENNIAL_", "PYICEBERG_"))}
    del ours["PERENNIAL_PLATFORM_URL"]
    ours |= {
        "AIRFLOW_CONN_AWS_DEFAULT": aws.connection,
        "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID": "aws_default",
        "PERENNIAL_HOME": str(tmp_path / "home"),
        "PERENNIAL_LANDING_SETTLE_SECONDS": "0",
        "PERENNIAL_ERASURE_KEY": "0123456789abcdef0123456789abcdef",
        # The one that is thawed.
        "PERENNIAL_ARCHIVE_STORAGE_CLASS": "GLACIER",
        f"{CATALOG}GLUE__ENDPOINT": aws.url,
        f"{CATALOG}CLIENT__REGION": REGION,
        f"{CATALOG}CLIENT__ACCESS_KEY_ID": KEY,
        f"{CATALOG}CLIENT__SECRET_ACCESS_KEY": SECRET,
    }
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    for bucket in BUCKETS:
        aws.client().create_bucket(Bucket=bucket)
    (tmp_path / "home").mkdir()
    s3_storage.cache_clear()
    yield Settings.from_environment()
    s3_storage.cache_clear()
    _open.cache_clear()


@pytest.fixture
def asked(aws: Aws, settings: Settings, page: As, tmp_path: Path) -> dict[str, set[Right]]:
    """What each role has asked for at its work: by the functions that tasks, page and command line call."""
    rights: dict[str, set[Right]] = {role: set() for role in POLICIES}

    @contextmanager
    def at_work(role: str) -> Iterator[Warehouse]:
        # As in a process of its own.
        s3_storage.cache_clear()
        with enforced(partial(may, role)) as seen:
            yield Warehouse(settings)
        rights[role] |= seen

    with at_work("installer") as warehouse:
        warehouse.create_tables()
    keep_little_metadata(warehouse)
    put_platform(settings)
    land(aws)
    with at_work("loader") as warehouse:
        sync_sources(warehouse, "sync")
        write_findings(warehouse, "sync", NOW)
        assert load_interactions(warehouse, NOW).interactions == 6
    append_hot(warehouse, *([interaction("running", number)] for number in range(12)))
    before = multiset(warehouse, "interactions", ["old", "running"])
    with at_work("mover") as warehouse:
        expire_sources(warehouse, Run("expiry", NOW))
        notify_owners(warehouse, Run("expiry", NOW), "")
    with at_work("analyst") as warehouse:
        assert find_harmful_rules(warehouse) == BucketRules((), {})
        session = perennial.connect()
        assert session.execute("SELECT count(*) FROM available_interactions").fetchone() == (14,)
        with pytest.raises(duckdb.Error, match=r"interactions_archive cannot be read: .*ACCESS_DENIED"):
            session.execute("SELECT * FROM interactions_archive")
    with at_work("page"):
        for address in ADDRESSES:
            assert page("ann").get(f"/perennial{address}").status_code == 200, address
        assert page("ann").post("/perennial/users/delete", json={"external_ids": ["e1"]}).status_code == 202
    with at_work("exporter") as warehouse:
        write_user_data(warehouse, UserDataRequest(source_id="running", notify=ME), "export", NOW)
    request = {"source_ids": ["old"], "notify": list(ME)}
    with at_work("mover") as warehouse:
        run = Run("drill", NOW)
        check = plan_check(warehouse, 100, check_cold=True)
        assert request_cold(warehouse, run, check) is not None
        assert request_cold(warehouse, run, check) is None
        assert check_chunk(warehouse, run, check, 0) == {"sound": 2}
        drill = rehearse_restore(warehouse, run, check.rehearsed_source)
        assert drill is not None
        assert report_check(warehouse, run, drill).is_sound
        assert restore_sources(warehouse, request, Run("restore", NOW)).state == "finished"
    with at_work("maintainer") as warehouse:
        done = maintain_warehouse(warehouse, datetime.now(UTC) + timedelta(days=9), retain_days=1)
    assert done.compacted["interactions"].files_after == 1
    assert done.purged.file_count > done.compacted["interactions"].files_before
    assert visible(warehouse) == multiset(warehouse, "interactions") == before
    # The statements are the same for all who write logs.
    with at_work("loader") as warehouse:
        write_log(tmp_path)
        assert measure(warehouse, WaitingRuns(), NOW)["checked_files"] > 0
    with at_work("page"):
        assert remote_logs(tmp_path).read("dag_id=x/attempt=1.log", None)[1]
    return rights


@pytest.mark.long
def test_what_each_role_asks_for_is_what_its_policy_allows(asked: dict[str, set[Right]]) -> None:
    denied = {role: {right for right in rights if not may(role, *right)} for role, rights in asked.items()}
    archived = denied.pop("analyst")
    assert not any(denied.values())
    # A session looks whether archived files are there. It goes on without, and says so to who asks for them.
    assert {(action, resource.rpartition("/")[0]) for action, resource in archived} == {
        ("s3:GetObject", "arn:aws:s3:::example-archive/interactions")
    }
    actions = {role: {action for action, _ in rights} for role, rights in asked.items()}
    assert {role for role in POLICIES if "s3:DeleteObject" in actions[role]} == {"loader", "mover", "maintainer"}
    assert {role for role in POLICIES if "s3:RestoreObject" in actions[role]} == {"mover"}
    assert {role for role in POLICIES if "glue:CreateTable" in actions[role]} == {"installer"}
    readers = {"loader", "mover", "maintainer", "exporter", "analyst", "page"}
    assert readers <= {role for role in POLICIES if "s3:GetObject" in actions[role]}


def keep_little_metadata(warehouse: Warehouse) -> None:
    """So that the oldest goes soon."""
    for name in ("sources", "interactions", "interactions_archive"):
        with warehouse.table(name).transaction() as change:
            change.set_properties({"write.metadata.previous-versions-max": "1"})


def put_platform(settings: Settings) -> None:
    with sqlite3.connect(settings.home / "platform.db") as platform:
        platform.executescript(statement("platform/create_platform"))
        for source, status in (("old", "stopped"), ("older", "stopped"), ("running", "active")):
            platform.execute(
                "INSERT INTO sources (source_id, kind, name, status, created_at, stopped_at) VALUES (?, 'campaign', ?, ?, ?, ?)",
                [source, source, status, "2025-01-01", None if status == "active" else "2025-02-01"],
            )


def land(aws: Aws) -> None:
    events = [
        {"id": f"{source}-{row}", "user_id": f"u{row}", "time": 1_769_900_400 + row, "campaign_id": source}
        for source in ("old", "older", "running")
        for row in range(2)
    ]
    body = "\n".join(json.dumps(event) for event in events).encode()
    aws.client().put_object(Bucket="example-landing", Key=f"{LANDED}/0.json", Body=body)


def write_log(folder: Path) -> None:
    log = folder / "dag_id=x" / "attempt=1.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("it went well")
    # Once more, for it is appended to.
    for _ in range(2):
        remote_logs(folder).upload(log)


def remote_logs(folder: Path) -> Any:
    from airflow.providers.amazon.aws.log.s3_task_handler import S3RemoteLogIO

    return S3RemoteLogIO(
        remote_base=airflow_values()["config"]["logging"]["remote_base_log_folder"],
        base_log_folder=folder,
        delete_local_copy=False,
    )
