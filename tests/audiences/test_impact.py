"""What an expiry does to audiences, counted before it happens, against the oracle and against what then happens (R20)."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from perennial.audiences import impact as impacts
from perennial.audiences.impact import Impact, affected_sources, find_impact
from perennial.settings import Settings
from perennial.tables import AUDIENCES
from perennial.warehouse import Warehouse
from tests.audiences.oracle import Node, World, needed_sources, users_of
from tests.audiences.scenes import Scene, scenes
from tests.audiences.test_random_worlds import play
from tests.audiences.worlds import NOW, fill
from tests.workspace import Workspace, member, received

ROUND = count()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    home = tmp_path_factory.mktemp("impact")
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(home)}))
    warehouse.create_tables()
    return warehouse


def owned(definitions: list[Node], segments: dict[str, Node]) -> list[dict[str, Any]]:
    """Rows of `audiences`: a stopped campaign for each definition, and the segments."""
    rows = {("campaign", f"a{number}"): found for number, found in enumerate(definitions)}
    rows |= {("segment", name): found for name, found in segments.items()}
    return [
        {"owner_kind": kind, "owner_id": name, "owner_name": name, "owner_status": "stopped", "part": "audience",
         "definition": json.dumps(definition)}
        for (kind, name), definition in rows.items()
    ]  # fmt: skip


def counts(found: Impact) -> dict[tuple[str, str], tuple[int | None, ...]]:
    return {
        (each.owner["owner_kind"], each.owner["owner_id"]): (
            each.users_now, each.users_after, each.lost, each.gained, *each.sources
        )
        for each in found.audiences
    }  # fmt: skip


def expected(definitions: dict[tuple[str, str], Node], world: World, due: set[str]) -> dict[Any, tuple[Any, ...]]:
    """The same, from the oracle: of every audience that looks at a source that is due."""
    found = {}
    for owner, definition in definitions.items():
        if needed := needed_sources(definition, world) & due:
            now, after = users_of(definition, world, NOW), users_of(definition, world.without(due), NOW)
            found[owner] = (len(now), len(after), len(now - after), len(after - now), *sorted(needed))
    return found


@settings(max_examples=2, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))  # fmt: skip
@given(st.data())
def test_r20_the_users_that_audiences_would_lose_are_the_oracles(shared: Warehouse, data: st.DataObject) -> None:
    scene: Scene = data.draw(scenes(f"{next(ROUND)}-"))
    play(shared, scene)
    due = data.draw(st.sets(st.sampled_from(sorted(source["source_id"] for source in scene.whole.sources))))
    rows = owned(scene.definitions, scene.whole.segments)
    Workspace(shared).replace(AUDIENCES.name, rows)
    definitions = {(row["owner_kind"], row["owner_id"]): json.loads(row["definition"]) for row in rows}
    assert counts(find_impact(shared, due, NOW)) == expected(definitions, scene.seen, due)
    needed = [needed_sources(definition, scene.seen) & due for definition in definitions.values()]
    assert sorted(map(sorted, affected_sources(shared, due))) == sorted(sorted(names) for names in needed if names)


@pytest.fixture(scope="module")
def simple(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Ten users who received c1, of whom five received c2; audiences of every kind of effect."""
    home: Path = tmp_path_factory.mktemp("simple")
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(home)}))
    warehouse.create_tables()
    users = [{"user_id": f"u{n}", "invalid_phone": False, "feature_flags": []} for n in range(10)]
    rows = [
        {"source_id": source, "user_id": f"u{n}", "interaction": "received", "channel": "email", "occurred_at": NOW}
        for source, most in (("c1", 10), ("c2", 5))
        for n in range(most)
    ]
    world = World(users, [{"source_id": "c1"}, {"source_id": "c2"}], segments={"s": received("c1")})
    fill(warehouse, world, rows)
    unread = {"filter": "received_message_from_campaign", "campaign_id": "nobody"}
    definitions = [
        {"and": [received("c1"), {"not": received("c2")}]},
        {"not": received("c1")},
        {"and": [member("s"), received("c2")]},
        {"or": [received("c2"), unread]},
        {"and": [received("c1"), unread]},
    ]
    Workspace(warehouse).replace(AUDIENCES.name, owned(definitions, world.segments))
    return warehouse


def test_each_audience_says_what_it_loses_and_gains(simple: Warehouse) -> None:
    found = find_impact(simple, ["c1"], NOW)
    assert found.sentence() == "5 audiences change: 20 memberships are lost and 10 are gained."
    assert [each.sentence() for each in found.audiences] == [
        "campaign 'a1' gains 10 who do not belong to it of 0 users.",
        "segment 's' loses 10 of 10 users.",
        "campaign 'a0' loses 5 of 5 users.",
        "campaign 'a2' loses 5 of 5 users.",
        "campaign 'a4' cannot be evaluated: 'nobody' is not a known campaign; name one that exists, or remove the filter.",
    ]
    assert [sorted(each.effects) for each in found.audiences] == [
        ["widens"],
        ["narrows"],
        ["narrows"],
        ["narrows"],
        ["narrows"],
    ]
    assert find_impact(simple, ["c3"], NOW).sentence() == "No audience loses or gains users when 1 source expires."
    assert [each.name for each in found.of_source("c2")] == []


def test_above_the_limit_users_are_sampled_and_it_says_so(simple: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(impacts, "ANSWER_LIMIT", 20)
    monkeypatch.setattr(impacts, "_FILTERS_AT_ONCE", 1)
    found = find_impact(simple, ["c1"], NOW)
    assert found.sampled == 0.5
    assert found.sentence().endswith("estimated from 50.0% of the users.")
    assert all(each.users_now is None or each.users_now % 2 == 0 for each in found.audiences)
