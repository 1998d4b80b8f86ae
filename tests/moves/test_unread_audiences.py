"""Audiences that cannot be read, through a real sync and a real expiry: they keep what they could name, and stop nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from perennial.audiences.definitions import TerminalDefinitionError
from perennial.audiences.evaluate import open_audience, segment_definition
from perennial.audiences.resume import check_resume
from perennial.cli import app
from perennial.exports.models import parse_segment_request
from perennial.exports.users import open_segment_export
from perennial.moves import Run, expire_sources, inline
from perennial.moves.expire import decide_expiry
from perennial.moves.move_plan import MovePlan
from perennial.platform import sync_sources
from perennial.policy.referrers import KeptSources, kept_sources
from perennial.statements import statement
from perennial.warehouse import Warehouse
from tests.kill import Point, run_and_kill
from tests.rows import append_hot, hot_and_archive, interaction, multiset, visible

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
NONSENSE = "{no JSON"
NAMES_A = json.dumps({"filter": "newer_than_this_product", "campaign_id": "a"})
AUDIENCE = "INSERT INTO audiences VALUES (?, ?, NULL, ?, 'audience', ?)"


def on_platform(warehouse: Warehouse, sql: str, *values: Any) -> None:
    with closing(sqlite3.connect(warehouse.settings.home / "platform.db")) as platform, platform:
        platform.execute(sql, values)


def say(warehouse: Warehouse, owner: str, definition: str, status: str = "active") -> None:
    kind, owner_id = owner.split(":")
    on_platform(warehouse, AUDIENCE, kind, owner_id, status, definition)


def stop(warehouse: Warehouse, source_id: str) -> None:
    on_platform(
        warehouse,
        "INSERT INTO sources VALUES (?, 'campaign', 'Name', 'stopped', '2025-01-01', '2025-06-01', NULL, NULL, NULL)",
        source_id,
    )


@pytest.fixture
def warehouse(local_warehouse: Warehouse) -> Warehouse:
    """Two sources that are due and one that runs, on the platform and in the hot table."""
    with closing(sqlite3.connect(local_warehouse.settings.home / "platform.db")) as platform:
        platform.executescript(statement("platform/create_platform"))
    for source_id in ("a", "b", "running"):
        stop(local_warehouse, source_id)
    on_platform(local_warehouse, "UPDATE sources SET status = 'active' WHERE source_id = 'running'")
    append_hot(local_warehouse, [interaction(name, n) for name in ("a", "b", "running") for n in range(20)])
    sync_sources(local_warehouse, "sync-1")
    return local_warehouse


def expire(warehouse: Warehouse, run_id: str = "r1", days: int = 0) -> None:
    expire_sources(warehouse, Run(run_id, NOW + timedelta(days=days)))


def hot(warehouse: Warehouse) -> set[str]:
    return set(warehouse.source_totals("interactions"))


@pytest.mark.long(but="^canvas:c-archived$")
@pytest.mark.parametrize(
    ("owner", "status"),
    [("campaign:c", "draft"), ("canvas:c", "stopped"), ("canvas:c", "archived"), ("segment:alone", "active")],
)
def test_r4_an_audience_that_keeps_nothing_stops_nothing(warehouse: Warehouse, owner: str, status: str) -> None:
    before = hot_and_archive(warehouse)
    say(warehouse, owner, NONSENSE, status)

    sync_sources(warehouse, "sync-2")
    expire(warehouse)

    assert hot(warehouse) == {"running"}
    assert hot_and_archive(warehouse) == before


@pytest.mark.long
@pytest.mark.parametrize(("definition", "kept"), [(NAMES_A, {"a"}), (NONSENSE, {"a", "b"})], ids=["an id", "no JSON"])
def test_r4_an_audience_that_could_name_a_source_keeps_it_and_the_rest_of_the_run_goes_on(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture, definition: str, kept: set[str]
) -> None:
    """A source that expired before has late rows, and another is active again."""
    for source_id in ("late", "back"):
        stop(warehouse, source_id)
        append_hot(warehouse, [interaction(source_id, n) for n in range(5)])
    on_platform(warehouse, "UPDATE sources SET status = 'active' WHERE source_id IN ('a', 'b')")
    sync_sources(warehouse, "sync-2")
    expire(warehouse)
    assert hot(warehouse) == {"a", "b", "running"}
    append_hot(warehouse, [interaction("late", 6)])
    everything = hot_and_archive(warehouse)
    on_platform(warehouse, "UPDATE sources SET status = 'stopped' WHERE source_id IN ('a', 'b')")
    on_platform(warehouse, "UPDATE sources SET status = 'active' WHERE source_id = 'back'")
    say(warehouse, "campaign:running", definition)
    sync_sources(warehouse, "sync-3")

    decided = decide_expiry(warehouse, Run("looks", NOW + timedelta(days=1)))
    expire(warehouse, "r2", days=1)

    assert decided.unread_referrers == (definition == NONSENSE)
    assert ("could name any source" in caplog.text) == (definition == NONSENSE)
    assert hot(warehouse) == {*kept, "running", "back"}
    assert hot_and_archive(warehouse) == everything
    rows = [row for row in warehouse.read("expiry_decisions").to_pylist() if row["run_id"] == "r2"]
    decisions = {row["source_id"]: row["decision"] for row in rows}
    assert decisions == {
        "a": "referenced", "b": "referenced" if "b" in kept else "expire",
        "back": "reactivated", "late": "late", "running": "active",
    }  # fmt: skip


def test_why_nothing_expires_is_said_wherever_a_person_asks(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERENNIAL_HOME", str(warehouse.settings.home))
    say(warehouse, "campaign:running", json.dumps({"filter": "segment_membership", "segment_id": "s"}))
    say(warehouse, "segment:s", NONSENSE, "archived")
    say(warehouse, "content_card:card", NONSENSE)
    sync_sources(warehouse, "sync-2")
    path = "campaign:running > segment:s > unreadable definition"

    status, explained, checked = (CliRunner().invoke(app, words) for words in (["status"], ["explain", "a"], ["check"]))

    assert kept_sources(warehouse) == KeptSources(frozenset({"a", "b", "running"}), (path,))
    assert "could name any source, so none expires" in status.stderr
    assert path in status.stderr
    assert "what cannot be read might" in explained.stdout
    assert f"kept by   {path}" in explained.stdout
    assert checked.exit_code == 1
    assert "segment:s $" in checked.stdout
    asked = {"segment_id": "s", "fields_to_export": ["email"]}
    for refused in (
        lambda: open_audience(warehouse, segment_definition("s"), NOW),
        lambda: open_segment_export(warehouse, parse_segment_request(asked), NOW),
    ):
        with pytest.raises(TerminalDefinitionError, match=r"segment:s \$: not JSON"), refused():
            pass
    [problem] = check_resume(warehouse, "running").problems
    assert (problem.part, problem.path) == ("audience", "segment:s $")


@pytest.mark.long(but="an id")
@pytest.mark.parametrize(("definition", "kept"), [(NAMES_A, {"a"}), (NONSENSE, {"a", "b"})], ids=["an id", "no JSON"])
def test_r7_an_audience_that_cannot_be_read_at_the_second_look_keeps_what_it_could_name(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, definition: str, kept: set[str]
) -> None:
    before = hot_and_archive(warehouse)
    monkeypatch.setattr(inline, "commit_destination", saving(definition))

    expire(warehouse)

    assert hot(warehouse) == {*kept, "running"}
    assert set(warehouse.source_totals("interactions_archive")) == {"a", "b"} - kept
    assert hot_and_archive(warehouse) == before
    assert visible(warehouse) == multiset(warehouse, "interactions")


def saving(definition: str) -> Callable[[Warehouse, MovePlan], int]:
    """Have somebody save an audience after the copies have arrived and before the second look."""
    really_add = inline.commit_destination

    def add(warehouse: Warehouse, plan: MovePlan) -> int:
        added = really_add(warehouse, plan)
        say(warehouse, "campaign:running", definition)
        return added

    return add


def expire_while_somebody_saves(warehouse: Warehouse, definition: str) -> None:
    inline.commit_destination = saving(definition)
    expire(warehouse)


POINTS = [
    Point("before", "perennial.moves.finish:read_metadata"),
    Point("before", "perennial.moves.finish:withdraw_kept"),
    Point("after", "perennial.moves.finish:withdraw_kept"),
    Point("before", "perennial.moves.finish:commit_origin"),
    Point("before", "perennial.moves.finish:remove_pending"),
]


@pytest.mark.long(but="an id-after-withdraw_kept")
@pytest.mark.parametrize("point", POINTS, ids=str)
@pytest.mark.parametrize(("definition", "kept"), [(NAMES_A, {"a"}), (NONSENSE, {"a", "b"})], ids=["an id", "no JSON"])
def test_r7_a_run_killed_around_such_a_second_look_loses_and_doubles_nothing(
    warehouse: Warehouse, definition: str, kept: set[str], point: Point
) -> None:
    before = multiset(warehouse, "interactions")
    run_and_kill(warehouse.settings, point, expire_while_somebody_saves, definition)
    assert hot_and_archive(warehouse).keys() == before.keys()
    assert not visible(warehouse) - before

    expire(warehouse, "tomorrow", days=1)

    assert hot_and_archive(warehouse) == before
    assert hot(warehouse) == {*kept, "running"}
    assert visible(warehouse) == multiset(warehouse, "interactions")

    # Corrected, it keeps nothing any more.
    on_platform(warehouse, "DELETE FROM audiences")
    sync_sources(warehouse, "sync-2")
    expire(warehouse, "later", days=2)
    assert hot(warehouse) == {"running"}
    assert hot_and_archive(warehouse) == before
