"""R24 without Airflow: whatever moves, plans or loads refuses a date that is still to come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from perennial.currents import load_interactions
from perennial.errors import TerminalRequestError
from perennial.moves import Run, expire_sources, restore_sources
from perennial.moves.expire import decide_expiry, plan_expiry
from perennial.moves.recovery import recover_interrupted_moves
from perennial.moves.restore import check_request, plan_restore
from perennial.operations import pending_records
from perennial.refusals import refuse_future_date
from perennial.tables import INTERACTIONS, LIFECYCLE_EVENTS
from perennial.warehouse import Warehouse
from tests.conftest import MadeOnce
from tests.moves.conftest import SetClock
from tests.rows import append_hot, hot_and_archive, interaction, multiset
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
RUN = Run("future", NOW, "ann")
REQUEST = {"source_ids": ["expired"], "notify": ["ann@example.com"]}


def fill(warehouse: Warehouse) -> Workspace:
    """One source has expired, another one would be due in a quarter of an hour."""
    workspace = Workspace(warehouse)
    workspace.source("expired")
    workspace.source("due")
    append_hot(warehouse, [interaction("expired", number) for number in range(10)])
    workspace.sync()
    expire_sources(warehouse, Run("before", NOW - timedelta(days=1)))
    append_hot(warehouse, [interaction("due", number) for number in range(10)])
    return workspace


@pytest.fixture
def workspace(made_once: MadeOnce, set_clock: SetClock) -> Workspace:
    set_clock(NOW - timedelta(minutes=15))
    return made_once(fill)


def everything(warehouse: Warehouse) -> tuple[Counter[str], ...]:
    return (
        multiset(warehouse, INTERACTIONS.name),
        hot_and_archive(warehouse),
        multiset(warehouse, LIFECYCLE_EVENTS.name),
    )


@pytest.mark.long(but="^(expiry|plan of an expiry)$")
@pytest.mark.parametrize(
    "work",
    [
        lambda warehouse: expire_sources(warehouse, RUN),
        lambda warehouse: restore_sources(warehouse, REQUEST, RUN),
        lambda warehouse: recover_interrupted_moves(warehouse, RUN),
        lambda warehouse: plan_expiry(warehouse, decide_expiry(warehouse, RUN).uri, RUN),
        lambda warehouse: plan_restore(warehouse, check_request(warehouse, REQUEST), RUN),
        lambda warehouse: load_interactions(warehouse, datetime.now(UTC) + timedelta(minutes=15)),
    ],
    ids=["expiry", "restore", "recovery", "plan of an expiry", "plan of a restore", "load"],
)
def test_r24_what_is_dated_in_the_future_is_refused_before_anything_moves(
    workspace: Workspace, work: Callable[[Warehouse], object]
) -> None:
    before = everything(workspace.warehouse)

    with pytest.raises(TerminalRequestError, match="so nothing was done"):
        work(workspace.warehouse)

    assert everything(workspace.warehouse) == before
    assert not list(pending_records(workspace.warehouse))


def test_r24_a_dry_run_may_ask_about_the_future(workspace: Workspace) -> None:
    before = everything(workspace.warehouse)

    expiry = expire_sources(workspace.warehouse, RUN, dry_run=True)
    restore = restore_sources(workspace.warehouse, {**REQUEST, "dry_run": True}, RUN)

    assert [source.source_id for source in expiry.sources] == ["due"]
    assert [source.outcome for source in restore.sources] == ["restored"]
    assert everything(workspace.warehouse) == before


def test_r24_clocks_may_differ_by_five_minutes(workspace: Workspace, set_clock: SetClock) -> None:
    set_clock(NOW - timedelta(minutes=5))
    report = expire_sources(workspace.warehouse, RUN)
    assert [source.source_id for source in report.sources] == ["due"]

    with pytest.raises(TerminalRequestError, match="dated 2026-06-01 04:00 UTC and it is only 2026-06-01 03:54 UTC"):
        refuse_future_date(NOW, NOW - timedelta(minutes=5, seconds=1))
