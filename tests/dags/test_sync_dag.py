"""The sync through Airflow: what the platform has, and what is wrong with its audiences."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from perennial.settings import Settings
from perennial.statements import statement
from perennial.warehouse import Warehouse
from tests.airflow import RunDag
from tests.workspace import received

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)


def test_a_sync_lists_what_is_wrong_with_the_audiences_it_brought_and_forgets_what_is_right_again(
    warehouse: Warehouse, settings: Settings, run_dag: RunDag
) -> None:
    with sqlite3.connect(settings.home / "platform.db") as platform:
        platform.executescript(statement("platform/create_platform"))
        platform.execute(
            "INSERT INTO sources VALUES ('it''s gone', 'campaign', 'Gone', 'archived', '2020-01-01', NULL, NULL, NULL, '2023-05-01')"
        )
        definition = json.dumps(received("it's gone"))
        platform.execute(
            "INSERT INTO audiences VALUES ('canvas', 'c1', 'Spring', 'stopped', 'audience', ?)", [definition]
        )
        platform.execute(
            "INSERT INTO audiences VALUES ('canvas', 'c0', NULL, 'draft', 'audience', '{\"filter\": \"likes_cats\"}')"
        )
        platform.execute(
            "INSERT INTO users (user_id, created_at, invalid_phone, feature_flags) VALUES ('u', '1970-01-01', false, '[]')"
        )

    first = run_dag("sync_sources", at=NOW)

    assert first.state == "success"
    assert warehouse.read("sources").num_rows == 1
    assert warehouse.read("users")["created_at"].to_pylist() == [None]
    unreadable, *others = sorted(warehouse.read("audience_violations").to_pylist(), key=lambda row: row["owner_id"])
    assert (unreadable["owner_id"], unreadable["violation"], unreadable["path"]) == ("c0", "unreadable", "$.filter")
    assert others == [
        {
            "checked_at": first.logical_date,
            "owner_kind": "canvas",
            "owner_id": "c1",
            "owner_name": "Spring",
            "owner_status": "stopped",
            "part": "audience",
            "violation": "forbidden",
            "filter": "received_message_from_campaign",
            "path": "$",
            "named_id": "it's gone",
            "detail": 'The previous policy deleted the interactions of campaign "it\'s gone" on 2023-05-01.',
            "remedy": "Remove the filter, or name another campaign: what was deleted cannot be restored.",
        }
    ]

    with sqlite3.connect(settings.home / "platform.db") as platform:
        platform.execute("DELETE FROM audiences")
    assert run_dag("sync_sources", at=NOW + timedelta(hours=1)).state == "success"
    assert warehouse.read("audience_violations").num_rows == 0


@pytest.mark.long
def test_a_sync_that_misses_too_much_fails_until_somebody_says_that_it_is_meant(
    warehouse: Warehouse, settings: Settings, run_dag: RunDag
) -> None:
    with sqlite3.connect(settings.home / "platform.db") as platform:
        platform.executescript(statement("platform/create_platform"))
        for number in range(20):
            platform.execute(
                f"INSERT INTO sources VALUES ('s{number}', 'campaign', 'S', 'active', '2020-01-01', NULL, NULL, NULL, NULL)"
            )
    assert run_dag("sync_sources", at=NOW).state == "success"
    with sqlite3.connect(settings.home / "platform.db") as platform:
        platform.execute("DELETE FROM sources")

    assert run_dag("sync_sources", at=NOW).state == "failed"
    assert warehouse.read("sources").num_rows == 20
    assert run_dag("sync_sources", {"allow_vanishing": True}, at=NOW).state == "success"
    assert warehouse.read("sources").num_rows == 0
    assert warehouse.read("vanished_sources").num_rows == 20
    assert run_dag("sync_sources", at=NOW).state == "success"
