"""What the next run would do as a difference to the last one, and what is known of days past and to come (R19, R20)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from perennial.moves import Run, expire_sources
from perennial.operations import wall_clock
from perennial.policy.hold_requests import HoldRequest, lift_hold, place_hold
from perennial.policy.past import explain_at
from perennial.policy.preview import next_run_at, preview
from perennial.warehouse import Warehouse
from tests.conftest import MadeOnce
from tests.rows import append_hot, interaction, multiset
from tests.workspace import LONG_AGO, Workspace, received

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
DAY = timedelta(days=1)
TOMORROW = NOW + DAY


def hold(warehouse: Warehouse, source_id: str | None, tag: str | None = None, at: datetime = LONG_AGO) -> None:
    place_hold(warehouse, HoldRequest(source_id, tag, "ann", "audit"), at)


def fill(warehouse: Warehouse) -> Workspace:
    """Of each change one source; the daily run has decided (as a dry run: so what is due stays) before they change."""
    workspace = Workspace(warehouse)
    for source_id in ("same", "started", "kept now", "held now", "tagged now", "expired"):
        workspace.source(source_id)
    workspace.source("stopped", "active")
    for source_id in ("referenced", "held", "tagged", "gone"):
        workspace.source(source_id, "stopped", *(["summer"] if source_id == "tagged" else []))
    workspace.source("clock", stopped_at=NOW - 91 * DAY)
    workspace.source("running", "active")
    workspace.audience("campaign:running", received("referenced"))
    append_hot(warehouse, *([interaction(name, number) for number in range(2)] for name in workspace.sources))
    workspace.sync()
    hold(warehouse, "held")
    hold(warehouse, None, "summer")
    expire_sources(warehouse, Run("last", NOW), dry_run=True)
    return workspace


def change(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    (held,) = (row["hold_id"] for row in warehouse.read("holds").to_pylist() if row["source_id"] == "held")
    lift_hold(warehouse, held, "ann", wall_clock())
    hold(warehouse, "held now", at=wall_clock())
    workspace.tags = [("tagged now", "summer")]
    workspace.audiences = []
    workspace.audience("campaign:running", received("kept now"))
    workspace.source("started", "active")
    workspace.source("stopped", stopped_at=LONG_AGO)
    workspace.source("appeared")
    append_hot(warehouse, [interaction("appeared", number) for number in range(2)])
    workspace.sync()


CHANGED = {
    "appeared": ("newly due", "metadata", "The last run did not know it."),
    "clock": ("newly due", "clock", "Its clock has ended."),
    "held": ("newly due", "hold", "The hold on it has ended or was lifted."),
    "held now": ("no longer due", "hold", "A hold keeps it."),
    "kept now": ("no longer due", "reference", "An active referrer names it."),
    "referenced": ("newly due", "reference", "A reference was removed: campaign:running > received_message_from_campaign."),
    "started": ("no longer due", "status", "It is active again."),
    "stopped": ("newly due", "status", "It was stopped."),
    "tagged": ("newly due", "tag", "It no longer carries the tag 'summer', which is held."),
    "tagged now": ("no longer due", "tag", "It carries the tag 'summer', which is held."),
}  # fmt: skip


@pytest.fixture
def workspace(made_once: MadeOnce) -> Workspace:
    return made_once(fill)


def test_a_preview_says_what_changes_and_why_and_moves_nothing(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    assert {each.source_id for each in preview(warehouse, NOW + timedelta(minutes=1)).changes} == set()
    change(workspace)
    before, kept = multiset(warehouse, "interactions"), len(warehouse.read("expiry_decisions"))

    found = preview(warehouse, TOMORROW)

    assert {each.source_id: (each.change, each.cause, each.why) for each in found.changes} == CHANGED
    assert set(found.due) == {name for name, (kind, *_) in CHANGED.items() if kind == "newly due"} | {
        "same",
        "expired",
        "gone",
    }
    assert (found.last_run_id, found.last_as_of, found.due_rows) == ("last", NOW, 2 * len(found.due))
    assert found.change_counts == {"newly due": 6, "no longer due": 4}
    assert (
        "would move 9 sources with 18 interactions to the archive. 10 decisions differ from the run of"
        in found.sentence
    )
    assert multiset(warehouse, "interactions") == before
    assert len(warehouse.read("expiry_decisions")) == kept

    moved = expire_sources(warehouse, Run("next", TOMORROW))
    assert {source.source_id for source in moved.sources} == set(found.due)
    assert preview(warehouse, TOMORROW + DAY).changes == ()

    # R10: what comes back is in the preview, too.
    workspace.source("expired", "active")
    workspace.sync()
    (back,) = preview(warehouse, TOMORROW + DAY).changes
    assert (back.source_id, back.change, back.why) == ("expired", "reactivated", "It is active again.")


def test_without_a_last_run_everything_that_is_due_is_new(warehouse: Warehouse) -> None:
    workspace = Workspace(warehouse)
    workspace.source("a")
    append_hot(warehouse, [interaction("a", 1)])
    workspace.sync()
    found = preview(warehouse, NOW)
    assert [(each.source_id, each.change) for each in found.changes] == [("a", "newly due")]
    assert found.sentence.endswith("would move 1 source with 1 interaction to the archive. No run has decided yet.")


@pytest.mark.parametrize(
    ("now", "at"), [("2026-06-01T03:59", "2026-06-01T04:00"), ("2026-06-01T04:00", "2026-06-02T04:00")]
)
def test_the_next_run_is_the_one_at_four(now: str, at: str) -> None:
    assert next_run_at(datetime.fromisoformat(f"{now}+00:00")) == datetime.fromisoformat(f"{at}+00:00")


@pytest.mark.long
def test_what_was_known_at_a_moment_is_answered_from_the_tables_as_they_were(workspace: Workspace) -> None:
    warehouse, then = workspace.warehouse, wall_clock()
    change(workspace)
    now = wall_clock()

    for source_id, was, is_now in (
        ("held", "held", "expire"),
        ("tagged now", "expire", "held"),
        ("same", "expire", "expire"),
    ):
        answer = explain_at(warehouse, source_id, then, now)
        assert answer.basis == "From the tables as they were then."
        assert answer.explanation is not None
        assert answer.explanation.decision.decision == was
        assert answer.kept is not None
        assert (answer.kept.run_id, answer.kept.decision.decision) == ("last", was)
        later = explain_at(warehouse, source_id, now + DAY, now)
        assert later.basis == "From the tables as they are now, if nothing changes by then."
        assert later.explanation is not None
        assert later.explanation.decision.decision == is_now


def test_what_no_snapshot_shows_any_more_is_answered_from_the_kept_decision(workspace: Workspace) -> None:
    warehouse, then = workspace.warehouse, wall_clock()
    change(workspace)
    table = warehouse.table("sources")
    oldest = [snapshot.snapshot_id for snapshot in table.snapshots()][:-1]
    table.maintenance.expire_snapshots().by_ids(oldest).commit()

    answer = explain_at(warehouse, "held", then, wall_clock())

    assert "Table sources as it was on" in answer.basis
    assert "is no longer kept: its oldest snapshot is of" in answer.basis
    assert answer.explanation is None
    assert answer.kept is not None
    assert answer.kept.decision.decision == "held"
    fresh = explain_at(warehouse, "appeared", then, wall_clock())
    assert fresh.basis.startswith("From the tables as they are now, and not as they were then: Table sources")
