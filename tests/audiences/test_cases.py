"""Every filter, users in and users out, as data: `cases/<filter>.yaml`.

A file holds rows of the tables and, for several definitions, the users they select. All files share one warehouse: the
name of the file is put before each id in it. Where a row gives no time it is `MOMENT`; now is `NOW`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from perennial.audiences.compile import compile_audience
from perennial.audiences.filters import FILTERS
from perennial.audiences.lookups import resolve_audience
from perennial.audiences.parse import parse
from perennial.engines.sessions import FeatureSession, Opening, open_feature_session
from perennial.settings import Settings
from perennial.tables import AUDIENCES, CANVAS_STEPS, SOURCE_VARIANTS, USER_MESSAGE_SUMMARY, USERS
from perennial.warehouse import Warehouse
from tests.audiences.oracle import World, users_of
from tests.audiences.worlds import NOW, ask, fill
from tests.lake import Lake

MOMENT = datetime(2026, 5, 1, tzinfo=UTC)
DEFAULTS: dict[str, dict[str, Any]] = {
    "users": {"invalid_phone": False, "feature_flags": []},
    "interactions": {"occurred_at": MOMENT},
    "summaries": {"last_at": MOMENT, "event_count": 1},
}
IDS = {
    "user_id",
    "source_id",
    "campaign_id",
    "canvas_id",
    "step_id",
    "canvas_step_id",
    "variant_id",
    "segment_id",
    "tag",
}


def placed(name: str, content: Any, key: str = "") -> Any:
    """Put the name of a file before the ids in it."""
    if isinstance(content, dict):
        return {inner: placed(name, value, inner) for inner, value in content.items()}
    if isinstance(content, list):
        return [placed(name, value, key) for value in content]
    return f"{name}/{content}" if key in IDS and content is not None else content


def read(path: Path) -> dict[str, Any]:
    found = yaml.load(path.read_text(), yaml.CSafeLoader)
    found["users"] = [user if isinstance(user, dict) else {"user_id": user} for user in found["users"]]
    return {table: placed(path.stem, content) for table, content in found.items()}


FILES = {path.stem: read(path) for path in sorted(Path(__file__).with_name("cases").glob("*.yaml"))}
CASES = [
    pytest.param(name, case, id=f"{name}: {case['shows']}") for name, found in FILES.items() for case in found["cases"]
]

# To open a session takes four times as long as to ask in it: of each filter, one case goes the whole way.
WHOLE_WAY = [pytest.param(name, found["cases"][0], id=name) for name, found in FILES.items()]
# A question takes a second there. What is negated is written the same way for every filter, so one says enough.
ON_SPARK = [
    case for case in CASES if "not" not in case.values[1]["definition"] or case.values[0] == "segment_membership"
]


def rows(table: str) -> list[dict[str, Any]]:
    return [{**DEFAULTS.get(table, {}), **row} for found in FILES.values() for row in found.get(table, [])]


WORLD = World(
    users=rows("users"),
    sources=rows("sources"),
    tags=[(row["source_id"], row["tag"]) for row in rows("tags")],
    segments={row["segment_id"]: row["definition"] for row in rows("segments")},
    interactions=rows("interactions"),
    summaries=rows("summaries"),
)


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """The same rows for each engine: DuckDB reads them from a local disk, Spark from a lake."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "spark":
            lake: Lake = request.getfixturevalue("lake")
            for name, value in lake.environment(f"n{uuid.uuid4().hex}").items():
                patch.setenv(name, value)
            patch.setenv("PERENNIAL_ENGINE_URL", request.getfixturevalue("spark").url)
        patch.setenv("PERENNIAL_HOME", str(tmp_path_factory.mktemp("cases")))
        warehouse = Warehouse(Settings.from_environment())
        warehouse.create_tables()
        fill(warehouse, WORLD, WORLD.interactions, steps=rows("steps"), variants=rows("variants"))
        yield warehouse


def of_file(name: str, users: list[str]) -> list[str]:
    return sorted(user.removeprefix(f"{name}/") for user in users if user.startswith(f"{name}/"))


@pytest.fixture(scope="module")
def session(world: Warehouse) -> Iterator[FeatureSession]:
    """Shows all that any definition asks."""

    def opened(opening: Opening) -> FeatureSession:
        opening.show([table.name for table in (AUDIENCES, CANVAS_STEPS, SOURCE_VARIANTS, USER_MESSAGE_SUMMARY)])
        return opening.session(None)

    with open_feature_session(world, [USERS.name], opened) as opened_once:
        yield opened_once


@pytest.mark.parametrize("world", ["duckdb"], indirect=True)
@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_definition_selects_its_users(session: FeatureSession, name: str, case: dict[str, Any]) -> None:
    definition = parse(json.dumps(case["definition"]))
    query = compile_audience(resolve_audience(session.connection, definition), NOW)
    users = session.queries.query(query.sql, query.binds).read_all()["user_id"].to_pylist()
    counted = session.queries.query(query.count_sql, query.binds).read_all()["user_count"].to_pylist()
    assert of_file(name, users) == sorted(case["users"])
    assert counted == [len(users)]


@pytest.mark.long(but="(tag|variation|hard_bounced|clicked_or_opened_step|last_received_email)")
@pytest.mark.parametrize("world", ["duckdb"], indirect=True)
@pytest.mark.parametrize(("name", "case"), WHOLE_WAY)
def test_each_filter_selects_users_from_the_files_it_needs(world: Warehouse, name: str, case: dict[str, Any]) -> None:
    assert of_file(name, ask(world, case["definition"], counted=False).users) == sorted(case["users"])


@pytest.mark.long(but="in_canvas_control_group|last_received_message_with_tag: before")
@pytest.mark.parametrize("world", ["spark"], indirect=True)
@pytest.mark.parametrize(("name", "case"), ON_SPARK)
def test_a_definition_selects_the_same_users_on_spark(world: Warehouse, name: str, case: dict[str, Any]) -> None:
    assert of_file(name, ask(world, case["definition"], counted=False).users) == sorted(case["users"])


@pytest.mark.parametrize(("name", "case"), CASES)
def test_the_oracle_selects_the_same_users(name: str, case: dict[str, Any]) -> None:
    assert of_file(name, list(users_of(case["definition"], WORLD, NOW))) == sorted(case["users"])


def test_every_filter_is_asked_about_somebody_who_is_no_user_any_more() -> None:
    """Whoever was erased is in no answer, and in that of no `not`, even while other tables still have rows of theirs."""
    for name, found in FILES.items():
        acting = {row["user_id"] for row in [*found.get("interactions", []), *found.get("summaries", [])]}
        gone = acting - {row["user_id"] for row in found["users"]}
        assert bool(gone) is bool(acting), name
        assert not {f"{name}/{user}" for case in found["cases"] for user in case["users"]} & gone, name
        assert not gone or any("not" in case["definition"] for case in found["cases"]), name


def test_every_filter_has_its_cases() -> None:
    assert FILES.keys() == FILTERS.keys()
