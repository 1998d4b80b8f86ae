"""Sources that vanish from the platform: decided about like stopped ones, never lost, and never gone by mistake."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perennial.audiences.completeness import TerminalIncompleteError
from perennial.audiences.evaluate import open_audience
from perennial.audiences.lint import lint_audiences
from perennial.engines.duckdb import open_session, open_status_session
from perennial.errors import TerminalMetadataError
from perennial.exports.user_data import check_request as check_export
from perennial.moves import Run, expire_sources, restore_sources
from perennial.moves.expire import decide_expiry, plan_expiry
from perennial.notify import digests_by_owner
from perennial.platform import sync as sync_module
from perennial.platform import sync_sources
from perennial.platform.vanished import keep_missed
from perennial.policy.decisions import Explanation, explain
from perennial.storage import storage_for
from perennial.tables import VANISHED_SOURCES
from perennial.warehouse import Warehouse
from tests.kill import Point, run_and_kill
from tests.moves.steps import add_copies, chunk_count, copy_files, finish_move, verify_copies
from tests.rows import append_hot, hot_and_archive, interaction, multiset, visible
from tests.workspace import LONG_AGO, PlatformWorkspace, received

MISSED = datetime(2025, 6, 1, 12, tzinfo=UTC)
DUE = datetime(2025, 9, 1, 12, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
NOTIFY = {"notify": ["ann@example.com"]}


@pytest.fixture
def workspace(warehouse: Warehouse) -> PlatformWorkspace:
    """One active source beside those of a test, so that there is always something that stays."""
    workspace = PlatformWorkspace(warehouse)
    workspace.source("stays", "active")
    return workspace


def fill(workspace: PlatformWorkspace) -> None:
    append_hot(workspace.warehouse, [interaction(name, number) for name in workspace.sources for number in range(20)])
    workspace.sync()


def vanish(workspace: PlatformWorkspace, *source_ids: str, at: datetime = MISSED, **given: Any) -> dict[str, Any]:
    """Sync without some sources; returns what the platform had of them."""
    gone = {source_id: workspace.sources.pop(source_id) for source_id in source_ids}
    workspace.sync(at, **given)
    return gone


def expire(workspace: PlatformWorkspace, now: datetime, run_id: str = "expiry") -> list[str]:
    report = expire_sources(workspace.warehouse, Run(run_id, now))
    return [source.source_id for source in report.sources]


def explained(workspace: PlatformWorkspace, source_id: str, at: datetime = DUE) -> Explanation:
    return explain(workspace.warehouse, source_id, at)


def absent(warehouse: Warehouse) -> dict[str, Any]:
    """What is known of the sources that the platform has no longer: their tags and since when."""
    with open_status_session(warehouse) as session:
        rows = session.execute("SELECT source_id, list_sort(tags), vanished_at FROM absent_sources").fetchall()
    return {source_id: (tags, at) for source_id, tags, at in rows}


# R2, R3, R4: its clock


@pytest.mark.long
def test_r3_what_vanished_expires_three_months_after_a_sync_first_missed_it(workspace: PlatformWorkspace) -> None:
    warehouse = workspace.warehouse
    workspace.source("active until it's gone", "active", last_sent_at=LONG_AGO)
    workspace.source("due for long")
    workspace.source("never stopped", "draft", stopped_at=None)
    workspace.source("its own clock is later", last_sent_at=MISSED + timedelta(days=14))
    fill(workspace)
    before, gone = hot_and_archive(warehouse), set(workspace.sources) - {"stays"}
    vanish(workspace, *gone)
    # They are missed again and again; their clocks start once.
    workspace.sync(MISSED + timedelta(hours=1))

    assert expire(workspace, DUE - MOMENT, "too early") == []
    assert {explained(workspace, name, DUE - MOMENT).decision.decision for name in gone} == {"recent"}
    assert set(expire(workspace, DUE)) == gone - {"its own clock is later"}
    assert expire(workspace, DUE + timedelta(days=14) - MOMENT, "early") == []
    assert expire(workspace, DUE + timedelta(days=14), "later") == ["its own clock is later"]

    assert hot_and_archive(warehouse) == before
    assert multiset(warehouse, "interactions") == multiset(warehouse, "interactions", ["stays"]) == visible(warehouse)
    for name in gone:
        assert "It is no longer in the platform, as of 2025-06-01." in explained(workspace, name).decision.reason


def test_r4_an_active_referrer_keeps_what_vanished(workspace: PlatformWorkspace) -> None:
    workspace.source("gone", "active")
    workspace.audience("campaign:stays", received("gone"))
    fill(workspace)
    vanish(workspace, "gone")

    assert expire(workspace, DUE) == []
    found = explained(workspace, "gone")
    assert found.decision.decision == "referenced"
    assert found.decision.reason.startswith("No longer in the platform as of 2025-06-01: the 3 months ended")
    assert found.clock_started_by == "vanished"


# If it returns, it is as if it had never been gone


@pytest.mark.long
@pytest.mark.parametrize("allowed", [False, True], ids=["refused", "allowed"])
def test_half_of_the_sources_vanish_and_return_and_nothing_moves(workspace: PlatformWorkspace, allowed: bool) -> None:
    warehouse = workspace.warehouse
    names = [f"s{number}" for number in range(20)]
    for name in names:
        workspace.source(name, "active" if name < "s15" else "stopped", "tag", stopped_at=DUE - timedelta(days=1))
        workspace.audience(f"campaign:{name}", received(f"{name} of another"))
    fill(workspace)
    before, hot = hot_and_archive(warehouse), multiset(warehouse, "interactions")
    metadata = {name: warehouse.read(name).to_pylist() for name in ("sources", "source_tags", "audiences")}
    gone = {name: workspace.sources.pop(name) for name in names[::2]}
    audiences, workspace.audiences = workspace.audiences, workspace.audiences[::2]

    if allowed:
        workspace.sync(MISSED, allow_vanishing=True)
        assert absent(warehouse) == dict.fromkeys(gone, (["tag"], MISSED))
    else:
        with pytest.raises(TerminalMetadataError) as refused:
            workspace.sync(MISSED)
        said = str(refused.value)
        assert said.startswith("The platform's database lacks 10 of 21 known sources and 10 of 20 known audiences: ")
        assert '{"allow_vanishing": true}' in said
        assert {name: warehouse.read(name).to_pylist() for name in metadata} == metadata
    assert expire(workspace, MISSED + timedelta(days=80), "while they are gone") == []

    workspace.sources |= gone
    workspace.audiences = audiences
    workspace.sync(MISSED + timedelta(days=81))

    assert absent(warehouse) == {}
    assert expire(workspace, DUE) == []
    assert all(explained(workspace, name).vanished_at is None for name in names)
    assert multiset(warehouse, "interactions") == hot == before == visible(warehouse)


def under_way(workspace: PlatformWorkspace, now: datetime = DUE) -> tuple[Callable[[], int], Run]:
    """Copy what is due, up to where the references are looked at once more (R7); returns what goes on from there."""
    run = Run("expiry", now)
    (plan_uri,) = plan_expiry(workspace.warehouse, decide_expiry(workspace.warehouse, run).uri, run)
    for chunk in range(chunk_count(plan_uri)):
        copy_files(workspace.warehouse, plan_uri, chunk)
    verify_copies(workspace.warehouse, plan_uri)
    add_copies(workspace.warehouse, plan_uri)
    return lambda: finish_move(workspace.warehouse, plan_uri, run).source_count, run


def test_r7_what_has_returned_at_the_second_look_stays(workspace: PlatformWorkspace) -> None:
    workspace.source("gone", "active")
    fill(workspace)
    before = multiset(workspace.warehouse, "interactions")
    gone = vanish(workspace, "gone")
    finish, _ = under_way(workspace)
    workspace.sources |= gone
    workspace.write()

    assert finish() == 0
    assert multiset(workspace.warehouse, "interactions") == hot_and_archive(workspace.warehouse) == before


@pytest.mark.long(but="^never gone before$")
@pytest.mark.parametrize("earlier", [False, True], ids=["never gone before", "gone and back before"])
def test_r7_what_vanishes_between_sync_and_second_look_is_judged_by_the_last_sync(
    workspace: PlatformWorkspace, earlier: bool
) -> None:
    workspace.source("due", stopped_at=MISSED)
    workspace.source("restarted", "active")
    fill(workspace)
    if earlier:
        workspace.sources |= vanish(workspace, "due", "restarted", at=LONG_AGO)
        workspace.sync()
    finish, run = under_way(workspace)
    del workspace.sources["due"], workspace.sources["restarted"]
    workspace.write()

    assert explained(workspace, "due").decision.clock_started_at == MISSED
    assert finish() == 1
    assert set(multiset(workspace.warehouse, "interactions_archive")) == set(
        multiset(workspace.warehouse, "interactions_archive", ["due"])
    )
    assert expire(workspace, run.now, "again") == []


@pytest.mark.long(but="sources")
@pytest.mark.parametrize("table", ["sources", "audiences"])
def test_r7_nothing_leaves_hot_where_half_of_the_platform_is_missing_at_the_second_look(
    workspace: PlatformWorkspace, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(12):
        workspace.source(f"s{number}", "active")
        workspace.audience(f"campaign:s{number}", received("stays"))
    workspace.source("due", stopped_at=LONG_AGO)
    fill(workspace)
    before = multiset(workspace.warehouse, "interactions")
    finish, run = under_way(workspace)
    with closing(sqlite3.connect(workspace.warehouse.settings.home / "platform.db")) as database, database:
        database.execute(f"DELETE FROM {table}")

    assert finish() == 0
    assert multiset(workspace.warehouse, "interactions") == hot_and_archive(workspace.warehouse) == before
    assert f"known {table}, as if it were broken" in caplog.text
    workspace.write()
    assert expire(workspace, run.now, "again") == ["due"]


def test_a_tenth_may_vanish_and_nine_may_whatever_share_they_are(workspace: PlatformWorkspace) -> None:
    names = [f"s{number}" for number in range(99)]
    for name in names:
        workspace.source(name)
    fill(workspace)
    assert len(vanish(workspace, *names[:10])) == 10
    with pytest.raises(TerminalMetadataError, match="lacks 10 of 90 known sources"):
        vanish(workspace, *names[10:20])
    assert len(workspace.warehouse.read("sources")) == 90
    workspace.sync(allow_vanishing=True)
    vanish(workspace, *names[20:90], allow_vanishing=True)
    vanish(workspace, *names[90:])
    assert len(absent(workspace.warehouse)) == 99


# Expired, restored, late, back


def test_r8_r12_r13_what_vanished_is_announced_comes_back_by_id_and_tag_and_its_clock_restarts(
    workspace: PlatformWorkspace,
) -> None:
    warehouse = workspace.warehouse
    workspace.source("one", "active", "season", owner_email="mia@example.com", kind="canvas", name="Spring")
    workspace.source("two", "active", "season")
    workspace.source("three", "active")
    fill(workspace)
    before = multiset(warehouse, "interactions")
    vanish(workspace, "one", "two", "three")
    report = expire_sources(warehouse, Run("expiry", DUE))
    assert [source.name for source in digests_by_owner(report)["mia@example.com"].sources] == ["Spring"]
    assert multiset(warehouse, "interactions") == multiset(warehouse, "interactions", ["stays"]) == visible(warehouse)

    by_tag = restore_sources(warehouse, {"tags": ["season"], **NOTIFY}, Run("by tag", DUE + timedelta(days=1)))
    assert [(s.source_id, s.kind, s.name, s.outcome) for s in by_tag.sources] == [
        ("one", "canvas", "Spring", "restored"),
        ("two", "campaign", "Name of two", "restored"),
    ]
    by_id = restore_sources(warehouse, {"source_ids": ["three"], **NOTIFY}, Run("by id", DUE + timedelta(days=1)))
    assert by_id.state == "finished"
    assert by_id.sources[0].expires_at == datetime(2025, 12, 2, 12, tzinfo=UTC)
    assert multiset(warehouse, "interactions") == visible(warehouse) == before

    assert expire(workspace, datetime(2025, 12, 2, 12, tzinfo=UTC) - MOMENT, "too early") == []
    assert sorted(expire(workspace, datetime(2025, 12, 2, 12, tzinfo=UTC), "again")) == ["one", "three", "two"]
    assert hot_and_archive(warehouse) == before


@pytest.mark.long
def test_r9_r10_late_rows_of_what_vanished_follow_and_all_come_back_when_it_is_active_again(
    workspace: PlatformWorkspace,
) -> None:
    warehouse = workspace.warehouse
    workspace.source("gone", "active")
    fill(workspace)
    gone = vanish(workspace, "gone")
    expire(workspace, DUE)
    append_hot(warehouse, [interaction("gone", number) for number in range(100, 120)])
    everything = hot_and_archive(warehouse)
    assert explained(workspace, "gone").decision.decision == "late"
    assert visible(warehouse) == multiset(warehouse, "interactions", ["stays"])

    expire(workspace, DUE + timedelta(days=1), "late")
    assert multiset(warehouse, "interactions") == multiset(warehouse, "interactions", ["stays"])
    assert explained(workspace, "gone").decision.reason.endswith("It is no longer in the platform, as of 2025-06-01.")

    workspace.sources |= gone
    workspace.sync()
    expire(workspace, DUE + timedelta(days=2), "back")
    assert multiset(warehouse, "interactions") == visible(warehouse) == everything


@pytest.mark.long
def test_r14_r16_features_answer_from_what_vanished_until_it_expires_and_then_name_it(
    workspace: PlatformWorkspace,
) -> None:
    warehouse = workspace.warehouse
    workspace.source("gone", "active", "season")
    workspace.source("journey", "active", kind="canvas")
    workspace.audience("campaign:stays", received("gone"), status="stopped")
    fill(workspace)
    append_hot(warehouse, [interaction("journey", 99, source_kind="canvas", canvas_step_id="step")])
    workspace.replace(
        "users", [{"user_id": f"user-{n}", "invalid_phone": False, "feature_flags": []} for n in range(7)]
    )
    users = warehouse.read("users").to_pylist()
    workspace.replace("canvas_steps", [{"step_id": "step", "source_id": "journey", "name": "Step"}])
    definitions = [
        received("gone"),
        {"filter": "received_message_with_tag", "tag": "season"},
        {"filter": "received_message_from_canvas_step", "canvas_id": "journey", "step_id": "step"},
    ]

    def answers() -> list[tuple[int, list[tuple[str, str, str]]]]:
        found = []
        for definition in definitions:
            with open_audience(warehouse, json.dumps(definition), DUE) as audience:
                missing = [(source.source_id, source.kind, source.name) for source in audience.completeness.missing]
                found.append((audience.count(), missing))
        return found

    before = answers()
    vanish(workspace, "gone", "journey")
    workspace.replace("users", users)
    assert answers() == before == [(7, []), (7, []), (1, [])]
    with open_session(warehouse) as session:
        named = "SELECT DISTINCT source_id, source_name FROM campaign_interactions ORDER BY source_id"
        assert session.execute(named).fetchall() == [(n, f"Name of {n}") for n in ("gone", "journey", "stays")]
    assert check_export(warehouse, {"source_id": "gone", **NOTIFY}).source_id == "gone"
    assert [(found.finding.kind, found.finding.named_id) for found in lint_audiences(warehouse)] == [
        ("unknown", "gone")
    ]

    expire(workspace, DUE)
    gone, journey = ("gone", "campaign", "Name of gone"), ("journey", "canvas", "Name of journey")
    assert answers() == [(0, [gone]), (0, [gone]), (0, [journey])]
    with pytest.raises(TerminalIncompleteError, match="20 expired interactions of campaign 'gone'"):
        check_export(warehouse, {"source_id": "gone", **NOTIFY})


# Nothing is forgotten


@pytest.mark.parametrize(
    "point",
    [
        Point("before", f"commit:{VANISHED_SOURCES.name}"),
        Point("after", f"commit:{VANISHED_SOURCES.name}"),
        Point("after", "commit:sources"),
    ],
    ids=str,
)
def test_a_sync_killed_between_its_commits_forgets_no_source(workspace: PlatformWorkspace, point: Point) -> None:
    workspace.source("gone", "active", "season", "sale", owner_email="mia@example.com")
    fill(workspace)
    del workspace.sources["gone"]
    workspace.write()
    run_and_kill(workspace.warehouse.settings, point, sync_sources, "killed")

    seen = {row["source_id"] for row in workspace.warehouse.read("sources").to_pylist()}
    assert "gone" in seen or absent(workspace.warehouse)["gone"][0] == ["sale", "season"]
    later = datetime.now(UTC)
    workspace.sync(later)

    tags, at = absent(workspace.warehouse)["gone"]
    assert tags == ["sale", "season"]
    assert MISSED < at <= later
    (row,) = [row for row in last_known(workspace) if row["missed_at"] == at]
    assert (row["name"], row["status"], row["owner_email"]) == ("Name of gone", "active", "mia@example.com")


def last_known(workspace: PlatformWorkspace) -> list[dict[str, Any]]:
    return list(workspace.warehouse.read(VANISHED_SOURCES.name).to_pylist())


def test_a_sync_that_is_overtaken_forgets_nothing_that_the_other_one_brought(
    workspace: PlatformWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.source("gone", "active")
    fill(workspace)
    calls: list[str] = []

    def overtaken(*args: Any) -> None:
        calls.append("look")
        if len(calls) == 1:
            # Between this sync's look and its commit another one brings a source, which then vanishes.
            workspace.source("brief", "active", "season")
            del workspace.sources["gone"]
            workspace.sync(MISSED)
            del workspace.sources["brief"]
        keep_missed(*args)

    del workspace.sources["gone"]
    workspace.write()
    workspace.source("gone", "active")
    monkeypatch.setattr(sync_module, "keep_missed", overtaken)
    sync_sources(workspace.warehouse, "overtaken", wall_clock=lambda: MISSED)

    assert absent(workspace.warehouse) == {"gone": ([], MISSED), "brief": (["season"], MISSED)}
    assert {row["source_id"] for row in workspace.warehouse.read("sources").to_pylist()} == {"stays"}


def test_a_repeated_sync_starts_no_clock_again(workspace: PlatformWorkspace) -> None:
    workspace.source("gone", "active")
    fill(workspace)
    vanish(workspace, "gone")
    for days in (1, 2):
        sync_sources(workspace.warehouse, "repeated", wall_clock=lambda days=days: MISSED + timedelta(days=days))  # type: ignore[misc]
    assert absent(workspace.warehouse) == {"gone": ([], MISSED)}
    assert len(last_known(workspace)) == 1


# Before there was a table


@pytest.mark.long
def test_what_vanished_before_the_table_existed_is_first_missed_by_the_first_sync(
    workspace: PlatformWorkspace,
) -> None:
    warehouse = workspace.warehouse
    for name in ("just before", "long before", "expired before"):
        workspace.source(name, "active")
    append_hot(warehouse, [interaction("never seen", number) for number in range(5)])
    fill(workspace)
    workspace.sources["expired before"] |= {"status": "stopped", "stopped_at": LONG_AGO}
    workspace.sync()
    expire(workspace, MISSED)
    before = hot_and_archive(warehouse)
    # As a version without the table left it: one source gone for long, another since the last sync.
    for name in ("long before", "expired before"):
        del workspace.sources[name]
    workspace.replace("sources", list(workspace.sources.values()))
    warehouse.catalog.drop_table((warehouse.settings.namespace, VANISHED_SOURCES.name))
    storage_for(warehouse.operations_uri()).delete(f"{warehouse.operations_uri()}/heads/{VANISHED_SOURCES.name}.json")
    assert warehouse.create_tables() == ["created table vanished_sources"]

    vanish(workspace, "just before")

    assert set(absent(warehouse)) == {"just before", "long before", "expired before"}
    assert explained(workspace, "long before").kind == "source"
    assert sorted(expire(workspace, DUE, "due")) == ["just before", "long before"]
    assert hot_and_archive(warehouse) == before
    assert visible(warehouse) == multiset(warehouse, "interactions", ["stays", "never seen"])
    found = restore_sources(warehouse, {"source_ids": ["long before", "expired before"], **NOTIFY}, Run("back", DUE))
    assert [source.outcome for source in found.sources] == ["restored", "restored"]
    assert found.sources[0].expires_at == datetime(2025, 12, 1, 12, tzinfo=UTC)
    assert len(last_known(workspace)) == 3
