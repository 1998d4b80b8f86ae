"""Every consumer of a random workspace at three moments: before an expiry, while sources are expired, after a restore.

R14's answers shrink by exactly the expired part and say so, R15's never move, R17's come back identical.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from perennial.audiences.completeness import Completeness, TerminalIncompleteError
from perennial.audiences.filters import FILTERS, FilterGroup
from perennial.engines.duckdb import open_session
from perennial.exports.models import parse_request
from perennial.exports.profile import read_profile
from perennial.exports.user_data import UserDataRequest, write_user_data
from perennial.exports.users import export_users
from perennial.moves import Run, expire_sources, restore_sources
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.audiences.oracle import Node, needed_sources, users_of
from tests.audiences.scenes import STEPS, VARIANTS, Scene, filters, scenes
from tests.audiences.worlds import NOW, Answer, ask, fill

ROUND = count()
REFUSED = "refused"
UNMOVED = ("source_analytics", "user_message_summary_latest")


@dataclass(frozen=True)
class Moment:
    """What every consumer said."""

    audiences: list[Answer]
    profiles: dict[str, Any]
    export: dict[str, Any]
    files: dict[str, str]
    analytics: dict[str, list[Any]]


def look(warehouse: Warehouse, scene: Scene, definitions: list[Node]) -> Moment:
    user_ids = sorted(scene.whole.everybody)
    export = export_users(warehouse, parse_request({"braze_id": user_ids or ["nobody"]}))
    with open_session(warehouse) as session:
        analytics = {view: sorted(session.execute(f"FROM {view}").fetchall(), key=repr) for view in UNMOVED}
    return Moment(
        audiences=[ask(warehouse, definition) for definition in definitions],
        profiles={user_id: read_profile(warehouse, user_id) for user_id in user_ids},
        export={user["braze_id"]: user for user in export.model_dump(mode="json")["users"]},
        files={source_id: user_data(warehouse, source_id) for source_id in scene.fates},
        analytics=analytics,
    )


def user_data(warehouse: Warehouse, source_id: str) -> str:
    request = UserDataRequest(source_id=source_id, notify=("ann@example.com",), all_recipients=True)
    try:
        written = write_user_data(warehouse, request, f"run-{next(ROUND)}", NOW)
    except TerminalIncompleteError:
        return REFUSED
    return Path(written.file_uri.removeprefix("file://")).read_text(encoding="utf-8")


@st.composite
def questions(draw: st.DrawFn, scene: Scene) -> list[Node]:
    """Draw one definition of every filter that the scene has something for, some of them negated."""
    by_kind = {
        kind: [s["source_id"] for s in scene.whole.sources if s["kind"] == kind] for kind in ("campaign", "canvas")
    }
    segments = sorted(scene.whole.segments)
    found = []
    for declared in FILTERS.values():
        if declared.source_kind is not None and not by_kind[declared.source_kind]:
            continue
        if declared.group is FilterGroup.SEGMENT and not segments:
            continue
        node = draw(filters(declared, by_kind, segments))
        found.append({"not": node} if draw(st.booleans()) else node)
    return found


def without(record: Any, gone: set[str]) -> Any:
    """Take some sources out of what a user received."""
    kept = {name: value for name, value in record.items() if name not in ("campaigns_received", "canvases_received")}
    for name, key in (("campaigns_received", "api_campaign_id"), ("canvases_received", "api_canvas_id")):
        kept[name] = [entry for entry in record.get(name) or () if entry[key] not in gone]
    return kept


def lists_of(profile: Any) -> dict[str, Any]:
    return {
        "campaigns_received": [asdict(entry) for entry in profile.campaigns_received],
        "canvases_received": [asdict(entry) for entry in profile.canvas_messages_received],
    }


def named(completeness: Completeness, kind: str) -> set[str]:
    assert all(source.kind == kind for source in completeness.missing)
    return {source.source_id for source in completeness.missing}


# A scene costs twenty seconds, so there is one, another each time; it asks every filter three times.
@pytest.mark.long
@settings(
    max_examples=1, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(st.data())
def test_r14_shrinks_by_the_expired_part_and_says_so_r15_never_moves_r17_comes_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    scene = replace(data.draw(scenes("s")), late=frozenset())
    gone = {source_id for source_id, fate in scene.fates.items() if fate == "expired"} & scene.missing
    assume(gone and scene.whole.everybody & {row["user_id"] for row in scene.whole.interactions})
    definitions = data.draw(questions(scene))
    home = tmp_path_factory.mktemp("moments")
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(home)}))
    warehouse.create_tables()
    owned = [source["source_id"] for source in scene.whole.sources]
    steps = [{"source_id": source_id, "step_id": step} for source_id in owned for step in STEPS]
    variants = [{"source_id": source_id, "variant_id": variant} for source_id in owned for variant in VARIANTS]
    fill(warehouse, scene.whole, scene.rows(late=False), steps=steps, variants=variants)

    before = look(warehouse, scene, definitions)
    expire_sources(warehouse, Run("expiry", NOW))
    during = look(warehouse, scene, definitions)
    restore_sources(warehouse, {"source_ids": sorted(gone), "notify": ["ann@example.com"]}, Run("restore", NOW))
    after = look(warehouse, scene, definitions)

    # R17
    assert after == before
    # R15
    assert during.analytics == before.analytics
    for definition, earlier, answer in zip(definitions, before.audiences, during.audiences, strict=True):
        needed = needed_sources(definition, scene.whole)
        if not needed:
            assert answer == earlier, definition
        # R14, R16
        assert answer.users == sorted(users_of(definition, scene.seen, NOW)), definition
        missing = {source.source_id for source in answer.completeness.missing}
        assert missing == needed & scene.missing, definition
        assert missing - {source.source_id for source in earlier.completeness.missing} == needed & gone, definition
    kinds = {source["source_id"]: source["kind"] for source in scene.whole.sources}
    out_of_reach = {
        kind: {source_id for source_id in scene.missing if kinds[source_id] == kind} for kind in kinds.values()
    }
    for user_id, profile in during.profiles.items():
        assert lists_of(profile) == without(lists_of(before.profiles[user_id]), gone)
        assert named(profile.campaigns_completeness, "campaign") == out_of_reach.get("campaign", set())
        assert named(profile.canvases_completeness, "canvas") == out_of_reach.get("canvas", set())
    assert {user_id: without(user, set()) for user_id, user in during.export.items()} == {
        user_id: without(user, gone) for user_id, user in before.export.items()
    }
    # A file is not written short.
    assert during.files == {s: REFUSED if s in gone else text for s, text in before.files.items()}
