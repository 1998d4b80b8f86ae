"""Expiring and restoring whole sources in one process: the rules, seen from the tables."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from perennial.errors import TerminalRequestError
from perennial.moves import RestoreRequest, Run, expire_sources, restore_sources
from perennial.moves.move_plan import MovePlan
from perennial.warehouse import Warehouse
from tests.moves.places import everywhere
from tests.rows import append_hot, hot_and_archive, interaction, multiset, visible
from tests.workspace import Workspace, received

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
NOTIFY = {"notify": ["ann@example.com"]}


@pytest.fixture
def workspace(warehouse: Warehouse) -> Workspace:
    return Workspace(warehouse)


def run(name: str = "r1", now: datetime = NOW) -> Run:
    return Run(name, now, "ann")


def events(warehouse: Warehouse) -> list[tuple[str, str]]:
    rows = sorted(warehouse.read("lifecycle_events").to_pylist(), key=lambda row: row["recorded_at"])
    return [(row["source_id"], row["event"]) for row in rows]


def decisions(warehouse: Warehouse, run_id: str) -> dict[str, str]:
    rows = warehouse.read("expiry_decisions").to_pylist()
    return {row["source_id"]: row["decision"] for row in rows if row["run_id"] == run_id}


def filled(workspace: Workspace, *sources: str) -> Counter[str]:
    append_hot(workspace.warehouse, [interaction(source, number) for source in sources for number in range(20)])
    workspace.sync()
    return multiset(workspace.warehouse, "interactions")


@everywhere
def test_r2_r8_an_inactive_source_moves_to_the_archive_and_comes_back_whole(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    workspace.source("old")
    workspace.source("running", "active")
    before = filled(workspace, "old", "running")

    report = expire_sources(warehouse, run())

    assert [(source.source_id, source.row_count) for source in report.sources] == [("old", 20)]
    assert "three months" in report.sources[0].reason or "3 months" in report.sources[0].reason
    assert decisions(warehouse, "r1") == {"old": "expire", "running": "active"}
    assert multiset(warehouse, "interactions") == multiset(warehouse, "interactions", ["running"])
    assert hot_and_archive(warehouse) == before
    assert visible(warehouse) == multiset(warehouse, "interactions", ["running"])

    restored = restore_sources(warehouse, {"source_ids": ["old"], **NOTIFY}, run("r2"))

    assert [(source.outcome, source.row_count) for source in restored.sources] == [("restored", 20)]
    assert restored.sources[0].expires_at == datetime(2026, 9, 1, 4, tzinfo=UTC)
    assert restored.state == "finished"
    assert visible(warehouse) == multiset(warehouse, "interactions") == before
    assert not warehouse.source_totals("interactions_archive")


def test_r1_an_active_source_is_never_touched(workspace: Workspace) -> None:
    workspace.source("running", "active", created_at=datetime(2020, 1, 1, tzinfo=UTC))
    before = filled(workspace, "running")
    snapshot = workspace.warehouse.table("interactions").current_snapshot()

    expire_sources(workspace.warehouse, run())

    assert multiset(workspace.warehouse, "interactions") == before
    assert workspace.warehouse.table("interactions").current_snapshot() == snapshot


def test_r4_a_source_named_by_an_active_campaign_stays(workspace: Workspace) -> None:
    workspace.source("kept")
    workspace.source("running", "active")
    workspace.audience("campaign:running", received("kept"))
    before = filled(workspace, "kept")

    expire_sources(workspace.warehouse, run())

    assert decisions(workspace.warehouse, "r1")["kept"] == "referenced"
    assert multiset(workspace.warehouse, "interactions") == before


def test_r7_a_filter_saved_while_the_run_was_copying_keeps_its_source(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perennial.moves import inline

    workspace.source("wanted")
    workspace.source("unwanted")
    workspace.source("running", "active")
    before = filled(workspace, "wanted", "unwanted")
    really_add = inline.commit_destination

    def add_and_save_filter(warehouse: Warehouse, plan: MovePlan) -> int:
        added = really_add(warehouse, plan)
        workspace.audience("campaign:running", received("wanted"))
        workspace.sync()
        return added

    monkeypatch.setattr(inline, "commit_destination", add_and_save_filter)
    report = expire_sources(workspace.warehouse, run())

    assert [source.source_id for source in report.sources] == ["unwanted"]
    assert hot_and_archive(workspace.warehouse) == before
    assert workspace.warehouse.source_totals("interactions").keys() == {"wanted"}
    assert workspace.warehouse.source_totals("interactions_archive").keys() == {"unwanted"}


@pytest.mark.long(but="local")
@everywhere
def test_r9_late_rows_stay_invisible_and_follow_into_the_archive_without_touching_the_clock(
    workspace: Workspace,
) -> None:
    warehouse = workspace.warehouse
    workspace.source("old")
    filled(workspace, "old")
    expire_sources(warehouse, run())
    append_hot(warehouse, [interaction("old", 100)])

    assert visible(warehouse) == {}
    expire_sources(warehouse, run("r2", NOW + timedelta(days=1)))

    assert decisions(warehouse, "r2") == {"old": "late"}
    assert events(warehouse) == [("old", "expired"), ("old", "late_archived")]
    assert multiset(warehouse, "interactions") == {}
    restore_sources(warehouse, {"source_ids": ["old"], **NOTIFY}, run("r3", NOW + timedelta(days=2)))
    assert sum(visible(warehouse).values()) == 21


def test_r10_a_source_that_is_active_again_is_restored_by_the_next_run(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    workspace.source("back")
    before = filled(workspace, "back")
    expire_sources(warehouse, run())
    workspace.source("back", "active")
    workspace.sync()

    expire_sources(warehouse, run("r2", NOW + timedelta(days=1)))

    assert decisions(warehouse, "r2") == {"back": "reactivated"}
    assert visible(warehouse) == before


def test_r11_tags_are_resolved_when_the_restore_starts(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    workspace.source("a", "stopped", "promo")
    workspace.source("b", "stopped")
    filled(workspace, "a", "b")
    expire_sources(warehouse, run())
    workspace.tags = [("b", "promo")]
    workspace.sync()

    report = restore_sources(warehouse, {"tags": ["promo"], **NOTIFY}, run("r2"))

    assert [source.source_id for source in report.sources] == ["b"]
    assert warehouse.source_totals("interactions").keys() == {"b"}


def test_r12_unknown_ids_and_tags_are_all_named_and_nothing_moves(workspace: Workspace) -> None:
    workspace.source("old", "stopped", "promo")
    filled(workspace, "old")
    expire_sources(workspace.warehouse, run())
    before = multiset(workspace.warehouse, "interactions_archive")
    params = {"source_ids": ["old", "nope", "it's"], "tags": ["promo", "no such tag"], **NOTIFY}

    with pytest.raises(TerminalRequestError) as error:
        restore_sources(workspace.warehouse, params, run("r2"))

    for name in ("'nope'", '"it\'s"', "'no such tag'"):
        assert name in str(error.value)
    assert "'promo'" not in str(error.value)
    assert multiset(workspace.warehouse, "interactions_archive") == before


def test_r12_every_requested_source_has_its_outcome(workspace: Workspace) -> None:
    workspace.source("old", "stopped", "promo")
    workspace.source("running", "active", "promo")
    workspace.source("never", "draft", "promo")
    workspace.source("gone", interaction_data_deleted_at=LONG_AGO_DELETED)
    workspace.tags.append(("gone", "promo"))
    filled(workspace, "old", "running")
    expire_sources(workspace.warehouse, run())

    report = restore_sources(workspace.warehouse, {"tags": ["promo"], **NOTIFY}, run("r2"))

    assert {source.source_id: source.outcome for source in report.sources} == {
        "old": "restored",
        "running": "already available",
        "never": "never had data",
        "gone": "deleted under the previous policy",
    }


LONG_AGO_DELETED = datetime(2023, 5, 1, tzinfo=UTC)


@pytest.mark.long(but="local")
@everywhere
def test_r13_a_restored_source_expires_again_three_months_later_and_comes_back_again(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    workspace.source("old")
    before = filled(workspace, "old")
    expire_sources(warehouse, run())
    restore_sources(warehouse, {"source_ids": ["old"], **NOTIFY}, run("r2"))

    expire_sources(warehouse, run("r3", datetime(2026, 9, 1, 3, 59, 59, tzinfo=UTC)))
    assert decisions(warehouse, "r3") == {"old": "recent"}
    expire_sources(warehouse, run("r4", datetime(2026, 9, 1, 4, tzinfo=UTC)))
    assert decisions(warehouse, "r4") == {"old": "expire"}
    assert visible(warehouse) == {}

    restore_sources(warehouse, {"source_ids": ["old"], **NOTIFY}, run("r5", datetime(2026, 9, 2, tzinfo=UTC)))
    assert visible(warehouse) == before


def test_r18_a_source_deleted_under_the_previous_policy_is_refused(workspace: Workspace) -> None:
    workspace.source("gone", interaction_data_deleted_at=LONG_AGO_DELETED)
    workspace.sync()

    with pytest.raises(TerminalRequestError, match="deleted under the previous policy"):
        restore_sources(workspace.warehouse, {"source_ids": ["gone"], **NOTIFY}, run())


def test_a_dry_run_decides_and_moves_nothing(workspace: Workspace) -> None:
    workspace.source("old")
    before = filled(workspace, "old")

    report = expire_sources(workspace.warehouse, run(), dry_run=True)

    assert [source.source_id for source in report.sources] == ["old"]
    assert decisions(workspace.warehouse, "r1") == {"old": "expire"}
    assert multiset(workspace.warehouse, "interactions") == before
    assert events(workspace.warehouse) == []


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "source_ids and tags are both empty"),
        ({"source_ids": ["a"]}, "notify is empty"),
        ({"source_ids": "a", **NOTIFY}, "source_ids is 'a'"),
        ({"source_ids": [""], **NOTIFY}, "source_ids is ['']"),
        ({"source_ids": ["a"], "sorce": 1, **NOTIFY}, "'sorce' is not a param; did you mean 'source_ids'?"),
        ({"source_ids": ["a"], "notify": ["a@"]}, "a@"),
        ({"source_ids": ["a"], "dry_run": "yes", **NOTIFY}, "dry_run is 'yes'"),
        ({"source_ids": ["a"], "reason": 3, **NOTIFY}, "reason is 3"),
        (
            {"source_ids": ["a"], "thaw_tier": "Fast", **NOTIFY},
            "thaw_tier is 'Fast'; give one of Expedited, Standard, Bulk",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_request_that_cannot_be_done_is_refused(warehouse: Warehouse, params: dict[str, object], said: str) -> None:
    with pytest.raises(TerminalRequestError) as error:
        restore_sources(warehouse, params, run())
    assert said in str(error.value)


def test_a_param_that_is_null_means_its_default() -> None:
    asked: dict[str, object] = {"tags": ["promo"], **NOTIFY}
    empty = dict.fromkeys(("source_ids", "reason", "thaw_tier", "dry_run"))
    assert RestoreRequest.from_params({**asked, **empty}) == RestoreRequest.from_params(asked)


def test_r1_new_interactions_of_an_active_source_are_visible_although_its_old_ones_were_deleted(
    workspace: Workspace,
) -> None:
    workspace.source("again", "active", interaction_data_deleted_at=LONG_AGO_DELETED)
    before = filled(workspace, "again")

    assert visible(workspace.warehouse) == before


@pytest.mark.long
def test_a_run_id_that_is_used_again_reports_only_its_own_restore(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    workspace.source("old")
    filled(workspace, "old")
    for turn in range(2):
        now = NOW + timedelta(days=100 * turn)
        expire_sources(warehouse, run("same", now))
        report = restore_sources(warehouse, {"source_ids": ["old"], **NOTIFY}, run("same", now + timedelta(days=1)))
        assert [source.row_count for source in report.sources] == [20]
