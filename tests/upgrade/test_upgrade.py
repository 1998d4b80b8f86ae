"""A warehouse that an earlier version has left in the middle of everything is opened by this one, and nothing is missing.

Only what stays from version to version is used: commands, DAG ids, tables and views. What fails here is a format that
has changed without a migration; CONTRIBUTING.md lists them.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.module_loading import import_string
from fastapi.testclient import TestClient
from typer.testing import CliRunner

import perennial
from perennial.cli import app
from perennial.currents import load_interactions
from perennial.moves import Run, expire_sources
from perennial.platform import sync_sources
from perennial.settings import Settings
from perennial.storage.s3 import s3_storage
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox
from tests.airflow import RunDag
from tests.lake import Lake
from tests.upgrade.airflow_runs import go_on, hand_on
from tests.upgrade.kept import (
    ARCHIVE,
    EXPECTED,
    QUESTIONS,
    answers,
    counted,
    environment,
    keys,
    read_archive,
    rows_of,
    unpack,
)

FIXTURE = Path(__file__).with_name("made_by_9a0886b.tar.xz")
# The history of the warehouse ends on 7 June 2026.
NOW = datetime(2026, 6, 10, 4, tzinfo=UTC)
# What has come back, or had never left; "due" and what begins with it is due, and archived in the end.
HOT = {"running", "kept", "returned", "back-added", "back-removed"}
WAITING = {"back-planned", "back-copied", "back-frozen"}
ARCHIVED = {"archived", "tiny-archived", "vanished", "due", "due-planned", "due-tiny"}

Open = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def left_behind() -> dict[str, dict[str, bytes]]:
    return read_archive(FIXTURE)


@pytest.fixture
def opened(
    left_behind: dict[str, dict[str, bytes]], lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Open]:
    """Return a function that puts the warehouse in place as one depth of the last expiry left it.

    It returns what is expected, and what Airflow knew of the restores.
    """

    def opened(depth: str) -> dict[str, Any]:
        unpack(lake.client(), tmp_path / "old", left_behind[depth])
        for name, value in environment(lake.connection, lake.s3_url, tmp_path / "old").items():
            monkeypatch.setenv(name, value)
        s3_storage.cache_clear()
        # As the changelog has it: the tables that the new version adds come first.
        Warehouse(Settings.from_environment()).create_tables()
        expected: dict[str, Any] = json.loads(left_behind["kept"][EXPECTED])
        return expected

    yield opened
    s3_storage.cache_clear()


def perennial_command(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def sources(table: str) -> set[str]:
    return set(perennial.query(f"SELECT DISTINCT source_id FROM {table}")["source_id"].to_pylist())


def pending(lake: Lake) -> set[str]:
    """What is recorded as under way."""
    found = (key.partition("/pending/")[2] for key in keys(lake.client(), ARCHIVE))
    return {name.removesuffix(".json") for name in found if name}


def assert_whole(seen: Counter[str], expected: Counter[str]) -> None:
    """What is seen is there once, and of a source either everything or nothing; what a load has not done comes later."""
    assert not seen - expected
    whole = Counter(json.loads(row)["source_id"] for row in expected.elements())
    found = Counter(json.loads(row)["source_id"] for row in seen.elements())
    assert {source_id: count for source_id, count in found.items() if count != whole[source_id]}.keys() <= {"running"}


def assert_trails_alternate() -> None:
    """Expired, restored, expired, … of every source."""
    trails = perennial.query(
        "SELECT source_id, list(event ORDER BY recorded_at) AS events FROM lifecycle_events "
        "WHERE event <> 'late_archived' GROUP BY source_id"
    ).to_pylist()
    for trail in trails:
        events = trail["events"]
        assert events == (["expired", "restored"] * len(events))[: len(events)], trail


@pytest.mark.long(but="recorded")
@pytest.mark.parametrize("depth", ["copied", "recorded", "removed"])
def test_the_daily_runs_finish_what_the_earlier_version_had_begun(opened: Open, depth: str) -> None:
    expected = opened(depth)
    warehouse = Warehouse(Settings.from_environment())
    # Nothing is doubled for those who ask before anything was done, and no source is half visible.
    assert_whole(rows_of("FROM available_interactions"), counted(expected["rows"]))

    load_interactions(warehouse, NOW)
    sync_sources(warehouse, "sync", False, lambda: NOW)
    expire_sources(warehouse, Run("daily", NOW))

    found = answers(QUESTIONS)
    for question in QUESTIONS:
        assert found[question] == counted(expected[question]), question
    assert sources("interactions") == HOT
    assert sources("interactions_archive") == ARCHIVED | WAITING
    assert_trails_alternate()


@pytest.mark.long
def test_an_operator_goes_on_with_everything_and_every_row_comes_back(
    opened: Open, run_dag: RunDag, lake: Lake
) -> None:
    left_behind = opened("added")
    expected = counted(left_behind["rows"])
    perennial_command("init")
    for dag_id in ("load_interactions", "sync_sources", "expire_interactions"):
        assert run_dag(dag_id, at=NOW).state == "success"
    # What this version does not do at once is asked for again.
    perennial_command("restore", *WAITING, "--notify", "ann@example.com")
    for dag_id in ("expire_interactions", "maintain_warehouse"):
        assert run_dag(dag_id, at=NOW + timedelta(days=1)).state == "success"

    perennial_command("check")
    # Whatever had not been verified is forgotten when it is a day old.
    unverified = {
        uri.rpartition("/")[2] for name in ("copied", "frozen") for uri in left_behind["restores"][name]["plan_uris"]
    }
    assert pending(lake) <= unverified
    assert rows_of("FROM interactions UNION ALL BY NAME FROM interactions_archive") == expected
    assert sources("interactions") == HOT | WAITING
    assert "no address" in perennial_command("status")
    states = perennial.query("SELECT source_id, state, vanished_at IS NOT NULL AS gone FROM source_availability")
    found = {row["source_id"]: (row["state"], row["gone"]) for row in states.to_pylist()}
    assert found["deleted"] == found["adopted"] == ("deleted", False)
    assert found["vanished"] == ("expired", True)

    perennial_command("restore", "vanished", "--tag", "spring", "--notify", "ann@example.com")

    assert rows_of("FROM available_interactions") == rows_of("FROM interactions") == expected
    assert_trails_alternate()


@pytest.mark.long
@pytest.mark.parametrize("name", ["copied", "frozen"])
def test_a_restore_that_airflow_had_half_done_goes_on_from_what_its_tasks_handed_on(
    opened: Open,
    dags: Mapping[str, Any],
    airflow: TestClient,
    mailbox: Mailbox,
    name: str,
) -> None:
    known = opened("added")["restores"][name]
    # A run that had to wait for cold storage waits in the triggerer, which has its trigger by this path.
    trigger = import_string("perennial.thaw.ThawTrigger")(run_id=known["run_id"], plan_uris=known["plan_uris"])
    assert asyncio.run(anext(trigger.run())).payload == {"error": ""}
    conf = {"source_ids": [f"back-{name}"], "notify": ["ann@example.com"], "reason": "Needed again"}
    body = {"dag_run_id": known["run_id"], "logical_date": None, "run_after": NOW.isoformat(), "conf": conf}
    airflow.post("/api/v2/dags/restore_interactions/dagRuns", json=body).raise_for_status()
    hand_on("restore_interactions", known["run_id"], check_request=known["request_uri"], plan=known["plan_uris"])

    assert go_on(dags["restore_interactions"], known["run_id"]) == "success"

    assert f"back-{name}" in sources("interactions")
    assert f"back-{name}" not in sources("interactions_archive")
    (mail,) = mailbox.messages()
    assert mail.subject == f"Restored: Name of back-{name}, 3 interactions"
