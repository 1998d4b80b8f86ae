"""When a run has to be approved by a person: what it weighs, against what limits (R21)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from perennial.errors import TerminalSettingError
from perennial.moves import Run, expire_sources
from perennial.moves.expire import decide_expiry, plan_approved, plan_expiry
from perennial.moves.inline import carry_out
from perennial.operations import OperationStore
from perennial.policy.guard import Weight
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.rows import append_hot, hot_and_archive, interaction, multiset
from tests.workspace import Workspace, received

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
DUE = NOW - timedelta(days=100)
QUIET = {"share": 0.01, "sources": 3, "usual": 10, "runs": 9, "surprises": ()}

CASES = {
    "nothing unusual": ({}, []),
    "more than a fifth of the rows": ({"share": 0.21}, ["It would move 21% of the hot interactions"]),
    "a fifth of the rows": ({"share": 0.2}, []),
    "six times the largest run": ({"share": 0.06, "usual": 1}, ["6.0 times as many interactions as the largest"]),
    "of which only four runs are known": ({"share": 0.06, "usual": 1, "runs": 4}, []),
    "a hundredth of the rows is never unusual": ({"share": 0.01, "usual": 0}, []),
    "ten surprises": ({"surprises": tuple("abcdefghij")}, []),
    "eleven surprises": (
        {"surprises": tuple("abcdefghijk")},
        ["did not foresee that 11 sources would be due ('a', 'b'"],
    ),
    "the first run": (
        {"surprises": tuple("abcdefghijk"), "first": True},
        ["This is the first run, so no run before it foresaw that 11 sources would be due"],
    ),
    "several reasons": (
        {"share": 0.9, "usual": 50, "surprises": tuple("abcdefghijk")},
        ["It would move 90%", "did not foresee"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_r21_a_run_asks_above_its_limits(case: str) -> None:
    changed, expected = CASES[case]
    found = QUIET | changed
    weight = Weight(
        found["sources"],
        round(found["share"] * 100),
        100,
        found["usual"],
        found["runs"],
        found.get("first", False),
        found["surprises"],
    )
    reasons = weight.reasons(Settings())
    assert len(reasons) == len(expected)
    assert all(part in reason for part, reason in zip(expected, reasons, strict=True))


def test_each_limit_can_be_set_and_turned_off() -> None:
    heavy = Weight(30, 90, 100, 1, 9, False, tuple("abcdefghijklmnop"))
    limits = {"SHARE": "none", "SOURCES": "20", "USUAL": "none", "SURPRISES": "none"}
    (reason,) = heavy.reasons(Settings.from_environment({f"PERENNIAL_APPROVE_ABOVE_{k}": v for k, v in limits.items()}))
    assert reason == "It would move 30 sources; the limit (PERENNIAL_APPROVE_ABOVE_SOURCES) is 20."


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("SHARE", "20%", "a number, from 0 to 1, or none, which turns it off"),
        ("SHARE", "1.5", "a number, from 0 to 1"),
        ("USUAL", "nan", "a number, 0 or more"),
        ("SOURCES", "1.5", "a whole number, 0 or more"),
        ("SURPRISES", "-1", "a whole number, 0 or more"),
    ],
)
def test_a_limit_that_is_none_is_refused_by_name(name: str, value: str, remedy: str) -> None:
    with pytest.raises(TerminalSettingError) as refused:
        Settings.from_environment({f"PERENNIAL_APPROVE_ABOVE_{name}": value})
    assert f"PERENNIAL_APPROVE_ABOVE_{name} is {value!r}; set it to {remedy}" in str(refused.value)


def reasons(warehouse: Warehouse, run_id: str, as_of: datetime) -> tuple[str, ...]:
    return decide_expiry(warehouse, Run(run_id, as_of), ask=True).reasons


def test_r21_what_a_broken_sync_makes_due_was_not_foreseen(local_warehouse: Warehouse) -> None:
    workspace = Workspace(local_warehouse)
    for kind in ("clock", "running", "kept"):
        for number in range(12):
            name = f"{kind}-{number}"
            stopped = NOW - timedelta(days=91 if kind == "clock" else 100, hours=-2)
            workspace.source(name, "active" if kind == "running" else "stopped", stopped_at=stopped)
            if kind == "kept":
                workspace.audience(f"campaign:of {name}", received(name), part=name)
    # Enough that stays, so that the share is no reason.
    append_hot(
        local_warehouse,
        [interaction(name, 1) for name in workspace.sources],
        [interaction("stays", n) for n in range(500)],
    )
    workspace.source("stays", "active")
    workspace.sync()
    before = NOW - timedelta(days=1)
    assert reasons(local_warehouse, "day 0", before) == ()
    # The clock of twelve has run down since: everybody could know.
    assert reasons(local_warehouse, "day 1", NOW + timedelta(days=1)) == ()
    # Half of the audiences are lost, and stop dates are set: nobody could.
    workspace.audiences.clear()
    for name in list(workspace.sources):
        if name.startswith("running"):
            workspace.source(name, "stopped", stopped_at=DUE)
    workspace.sync()
    (reason,) = reasons(local_warehouse, "day 2", NOW + timedelta(days=2))
    assert reason.startswith(
        "The run before did not foresee that 24 sources would be due ('kept-0', 'kept-1', 'kept-10'"
    )


def test_a_direct_call_has_been_approved_by_who_makes_it(local_warehouse: Warehouse) -> None:
    workspace = Workspace(local_warehouse)
    workspace.source("old")
    append_hot(local_warehouse, [interaction("old", 1)])
    workspace.sync()
    decided = decide_expiry(local_warehouse, Run("asked", NOW), ask=True)
    assert OperationStore.get(decided.uri)["reasons"] == list(decided.reasons) != []
    assert [source.source_id for source in expire_sources(local_warehouse, Run("run", NOW)).sources] == ["old"]


@pytest.mark.long
def test_r21_of_two_runs_that_wait_the_second_finds_what_the_first_has_moved_no_longer_due(
    local_warehouse: Warehouse,
) -> None:
    workspace = Workspace(local_warehouse)
    for name in ("old", "older"):
        workspace.source(name)
    append_hot(local_warehouse, [interaction(name, n) for name in workspace.sources for n in range(5)])
    workspace.sync()
    before = multiset(local_warehouse, "interactions")
    runs = [Run(f"run {day}", NOW + timedelta(days=day)) for day in range(2)]
    waiting = [decide_expiry(local_warehouse, run, ask=True) for run in runs]
    assert all(
        decided.reasons and not plan_expiry(local_warehouse, decided.uri, run)
        for decided, run in zip(waiting, runs, strict=True)
    )
    for run, decided, moved in zip(runs, waiting, (2, 0), strict=True):
        plans = plan_approved(local_warehouse, decided.uri, run)
        assert sum(each.source_count for each in carry_out(local_warehouse, plans, run).values()) == moved
    # Cleared, the first run plans again, and finds nothing left to move either.
    assert plan_approved(local_warehouse, waiting[0].uri, runs[0]) == []
    assert hot_and_archive(local_warehouse) == before
    assert not multiset(local_warehouse, "interactions")
