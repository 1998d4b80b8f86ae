"""Holds: placed, lifted and refused, and against a run that is moving their sources, whichever step it has come to (R19)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perennial.errors import TerminalRequestError
from perennial.moves import Run, audit_trail, expire_sources, inline, restore_sources
from perennial.moves import finish as finish_module
from perennial.moves.expire import decide_expiry, plan_expiry
from perennial.notify import digests_by_owner, expiry_digest
from perennial.operations import wall_clock
from perennial.policy.decisions import explain
from perennial.policy.hold_requests import HoldRequest, PlacedHold, lift_hold, place_hold
from perennial.policy.holds import standing_holds
from perennial.warehouse import Warehouse
from tests.conftest import MadeOnce
from tests.kill import Point, run_and_kill
from tests.moves.steps import finish_move, prepare
from tests.moves.trails import trails
from tests.rows import append_hot, hot_and_archive, interaction, multiset, visible
from tests.workspace import PlatformWorkspace, Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
DAY = timedelta(days=1)
OWNER = "owner@example.com"
FAR = wall_clock() + 10_000 * DAY
REQUEST = {"source_ids": ["held"], "notify": ["ann@example.com"]}


def fill(warehouse: Warehouse) -> Workspace:
    """Two sources that are due, of which one carries a tag, and one that stays."""
    workspace = PlatformWorkspace(warehouse)
    workspace.source("held", "stopped", "summer", owner_email=OWNER)
    workspace.source("other", owner_email=OWNER)
    workspace.source("running", "active")
    append_hot(warehouse, *([interaction(name, number) for number in range(20)] for name in workspace.sources))
    workspace.sync()
    return workspace


@pytest.fixture
def workspace(made_once: MadeOnce) -> Workspace:
    return made_once(fill)


def place(warehouse: Warehouse, source_id: str | None = "held", tag: str | None = None, **given: Any) -> PlacedHold:
    asked = {"held_by": "ann@example.com", "reason": "audit", **given}
    return place_hold(warehouse, HoldRequest(source_id, tag, **asked), wall_clock())


def expire(warehouse: Warehouse, run_id: str = "r1", now: datetime = NOW) -> list[str]:
    return [source.source_id for source in expire_sources(warehouse, Run(run_id, now)).sources]


def assert_kept(warehouse: Warehouse, before: Any) -> None:
    """The held source is hot and visible, the other one expired, and every row is there once."""
    assert hot_and_archive(warehouse) == before
    assert warehouse.source_totals("interactions").keys() == {"held", "running"}
    assert warehouse.source_totals("interactions_archive").keys() == {"other"}
    assert visible(warehouse) == multiset(warehouse, "interactions")
    assert trails(warehouse) == {"other": ["expired"]}


@pytest.mark.long(but="^(source)$")
@pytest.mark.parametrize("asked", [{}, {"source_id": None, "tag": "summer"}], ids=["source", "tag"])
def test_r19_what_is_held_stays_until_it_is_lifted_and_then_goes_by_the_clock_that_ran_on(
    workspace: Workspace, asked: dict[str, Any]
) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    placed = place(warehouse, **asked)
    clock = explain(warehouse, "held", NOW).decision.clock_started_at
    assert placed.states == {"available": 1}

    report = expire_sources(warehouse, Run("r1", NOW))
    assert [source.source_id for source in report.sources] == ["other"]
    assert [source.source_id for source in report.held] == ["held"]
    digest = expiry_digest(digests_by_owner(report)[OWNER])
    assert all(f"hold {placed.hold.hold_id} of ann@example.com" in text for text in (digest.text, digest.html))
    assert_kept(warehouse, before)
    explained = explain(warehouse, "held", NOW)
    assert explained.holds == (placed.hold,)
    assert f"hold {placed.hold.hold_id} of ann@example.com" in explained.decision.reason

    assert lift_hold(warehouse, placed.hold.hold_id, "ben", wall_clock()) == placed.hold
    assert standing_holds(warehouse) == []
    assert explain(warehouse, "held", NOW).decision.clock_started_at == clock
    assert expire(warehouse, "r2", NOW + DAY) == ["held"]
    assert hot_and_archive(warehouse) == before


@pytest.mark.long
def test_r19_a_hold_brings_nothing_back_and_says_so_and_keeps_what_is_restored(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    expire(warehouse)
    placed = place(warehouse)

    assert placed.states == {"expired": 1}
    assert "a hold brings nothing back: run `perennial restore held`" in placed.sentences
    assert expire(warehouse, "r2", NOW + DAY) == []
    assert "held" not in warehouse.source_totals("interactions")

    restore_sources(warehouse, REQUEST, Run("r3", NOW + 2 * DAY))
    assert expire(warehouse, "r4", NOW + 100 * DAY) == []
    assert explain(warehouse, "held", NOW + 100 * DAY).decision.decision == "held"
    assert multiset(warehouse, "interactions", ["held"]) == multiset_of(before, "held")


def multiset_of(rows: Any, source_id: str) -> Any:
    return {row: count for row, count in rows.items() if f'"source_id":"{source_id}"' in row}


# Of a run that has decided before the hold was placed. The last one comes after its last look at the holds: the commit
# that follows is lost to that of the hold, and repeated.
STEPS = [
    (inline, "plan_expiry"),
    (inline, "copy_chunk"),
    (inline, "verify_move"),
    (inline, "commit_destination"),
    (inline, "finish_move"),
    (finish_module, "_record_checksums"),
    (finish_module, "record_expired"),
    (audit_trail, "last_events"),
]


@pytest.mark.long(but="last_events")
@pytest.mark.parametrize(("module", "step"), STEPS, ids=[step for _, step in STEPS])
def test_r19_a_hold_that_is_placed_while_a_run_is_copying_keeps_its_source(
    workspace: Workspace, module: Any, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    really = getattr(module, step)

    def hold_first(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(module, step, really)
        place(warehouse)
        return really(*arguments, **named)

    monkeypatch.setattr(module, step, hold_first)
    expire(warehouse)

    assert_kept(warehouse, before)


def test_r19_a_tag_that_the_platform_gives_while_a_run_is_copying_keeps_its_source(
    workspace: PlatformWorkspace,
) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    place(warehouse, None, "summer", until=FAR)
    workspace.tags = [("other", "summer")]
    workspace.write()

    assert expire(warehouse) == []
    assert hot_and_archive(warehouse) == multiset(warehouse, "interactions") == before


KILLED = [
    Point("after", "commit:add"),
    Point("before", "perennial.moves.finish:_record_checksums"),
    Point("after", "commit:checksums"),
]


@pytest.mark.long
@pytest.mark.parametrize("point", KILLED, ids=str)
def test_r19_a_hold_on_what_a_killed_run_was_moving_keeps_it(workspace: Workspace, point: Point) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    run_and_kill(warehouse.settings, point, expire)
    place(warehouse)

    assert expire(warehouse, "tomorrow", NOW + DAY) in ([], ["other"])
    assert_kept(warehouse, before)


@pytest.mark.long
def test_r19_what_expired_before_a_hold_could_keep_it_is_said_to_be_gone(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    run_and_kill(warehouse.settings, Point("after", "commit:record"), expire)

    assert place(warehouse).states == {"expired": 1}
    expire(warehouse, "tomorrow", NOW + DAY)
    assert trails(warehouse) == {"held": ["expired"], "other": ["expired"]}


@pytest.mark.long
def test_a_source_that_a_killed_run_has_not_recorded_never_leaves_with_the_others(workspace: Workspace) -> None:
    """The run recorded one of its two sources and died; the hold on the other was lifted before it went on."""
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    run = Run("r1", NOW)
    (plan_uri,) = plan_expiry(warehouse, decide_expiry(warehouse, run).uri, run)
    prepare(warehouse, plan_uri)
    placed = place(warehouse)
    run_and_kill(warehouse.settings, Point("after", "commit:record"), finish_move, plan_uri, run)
    assert trails(warehouse) == {"other": ["expired"]}
    lift_hold(warehouse, placed.hold.hold_id, "ann", wall_clock())

    finish_move(warehouse, plan_uri, run)

    assert_kept(warehouse, before)
    assert expire(warehouse, "r2", NOW + DAY) == ["held"]
    assert hot_and_archive(warehouse) == before


REFUSED: list[tuple[Callable[[Warehouse], object], str]] = [
    (lambda warehouse: place(warehouse, "hedl"), "'hedl' is not a known source; did you mean 'held'?"),
    (lambda warehouse: place(warehouse, None, "sumer"), "'sumer' is not a known tag; did you mean 'summer'?"),
    (lambda warehouse: place(warehouse, "held", "summer"), "A hold is on a source or on a tag: give one of the two."),
    (lambda warehouse: place(warehouse, None), "A hold is on a source or on a tag: give one of the two."),
    (lambda warehouse: place(warehouse, reason=" \n"), "reason is empty; say why."),
    (
        lambda warehouse: place(warehouse, reason="a\0b"),
        "reason is 'a\\x00b'; give at most 1,000 printable characters.",
    ),
    (lambda warehouse: place(warehouse, held_by=""), "held_by is empty; say who."),
    (
        lambda warehouse: place(warehouse, until=NOW - 365 * DAY),
        "until is 2025-06-01 04:00 UTC, which has passed; give",
    ),
    (lambda warehouse: lift_hold(warehouse, "nobody", "ann", NOW), "'nobody' is not a hold; `perennial holds` lists"),
]


@pytest.mark.parametrize(("work", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_r19_what_cannot_be_held_or_lifted_is_refused_and_nothing_is_recorded(
    workspace: Workspace, work: Callable[[Warehouse], object], said: str
) -> None:
    with pytest.raises(TerminalRequestError) as error:
        work(workspace.warehouse)
    assert said in str(error.value)
    assert len(workspace.warehouse.read("holds")) == 0


def test_r19_a_hold_is_lifted_once_and_the_nearest_is_named(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    hold_id = place(warehouse).hold.hold_id
    with pytest.raises(TerminalRequestError, match=f"did you mean '{hold_id}'"):
        lift_hold(warehouse, f"{hold_id}x", "ann", wall_clock())
    lift_hold(warehouse, hold_id, "ann", wall_clock())
    with pytest.raises(
        TerminalRequestError, match=f"Hold '{hold_id}' was lifted on .* by ann; there is nothing to lift"
    ):
        lift_hold(warehouse, hold_id, "ben", wall_clock())
    assert sorted(row["event"] for row in warehouse.read("holds").to_pylist()) == ["lifted", "placed"]
