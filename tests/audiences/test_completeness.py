"""What an answer leaves out, and that it says so (R8, R14, R16-R18)."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perennial.audiences.completeness import Completeness, CountedSources, MissingSource, TerminalIncompleteError
from perennial.audiences.evaluate import segment_definition
from perennial.moves import Run, expire_sources, restore_sources
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.audiences.oracle import Node, Row, World, users_of
from tests.audiences.worlds import NOW, ask, fill
from tests.workspace import LONG_AGO, member, received

DELETED_AT = datetime(2023, 11, 1, tzinfo=UTC)
TAGGED = {"filter": "received_message_with_tag", "tag": "promo"}
CONTROL = {"filter": "in_canvas_control_group", "canvas_id": "flow"}
HERE = received("here")


def row(user_id: str, source_id: str, interaction: str = "received", **fields: Any) -> Row:
    return {"user_id": user_id, "source_id": source_id, "interaction": interaction, "occurred_at": LONG_AGO, **fields}


WORLD = World(
    users=[{"user_id": name, "invalid_phone": False, "feature_flags": []} for name in "abcdef"],
    sources=[
        {"source_id": "here"},
        {"source_id": "it's old", "status": "stopped"},
        {"source_id": "flow", "kind": "canvas", "status": "stopped"},
        {"source_id": "silent", "status": "stopped"},
        {"source_id": "gone", "status": "archived", "interaction_data_deleted_at": DELETED_AT},
        {"source_id": "back", "status": "active", "interaction_data_deleted_at": DELETED_AT},
    ],
    tags=[(source_id, "promo") for source_id in ("here", "it's old", "gone")] + [("back", "other")],
    segments={"old": {"or": [received("it's old"), received("here")]}, "not old": {"not": member("old")}},
    interactions=[
        row("a", "here"),
        row("b", "it's old"),
        row("c", "it's old"),
        row("c", "flow", "entered"),
        row("d", "flow", "entered"),
        row("d", "flow", "control"),
        row("e", "back"),
    ],
)
OLD = MissingSource(
    source_id="it's old", kind="campaign", name="Name of it's old", state="expired", since=NOW, archived_rows=2
)
FLOW = replace(OLD, source_id="flow", kind="canvas", name="Name of flow", archived_rows=3)
GONE = replace(OLD, source_id="gone", name="Name of gone", state="deleted", since=DELETED_AT, archived_rows=0)
BACK = replace(GONE, source_id="back", name="Name of back")
RESTORE_OLD = (
    """perennial restore 'it'"'"'s old' --notify you@example.com --reason 'Needed by an answer that left it out'"""
)


def filled(warehouse: Warehouse, world: World) -> Warehouse:
    warehouse.create_tables()
    fill(warehouse, world, world.interactions)
    expire_sources(warehouse, Run("expiry", NOW, "ann"))
    return warehouse


@pytest.fixture(scope="module")
def expired(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    home = tmp_path_factory.mktemp("expired")
    return filled(Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(home)})), WORLD)


def missing(source: MissingSource, *paths: str, effects: set[str] | None = None) -> dict[str, Any]:
    return asdict(source) | {"paths": paths, "effects": effects or {"narrows"}}


@pytest.mark.parametrize(
    ("definition", "users", "left_out"),
    [
        pytest.param({"and": []}, "abcdef", [], id="everybody"),
        pytest.param(HERE, "a", [], id="all there"),
        pytest.param(received("silent"), "", [], id="never had any"),
        pytest.param(received("it's old"), "", [missing(OLD, "$")], id="expired"),
        pytest.param({"not": received("it's old")}, "abcdef", [missing(OLD, "$.not", effects={"widens"})], id="not expired"),
        pytest.param(received("gone"), "", [missing(GONE, "$")], id="deleted"),
        pytest.param(received("back"), "e", [missing(BACK, "$")], id="deleted and active again"),
        pytest.param(CONTROL, "", [missing(FLOW, "$")], id="control group"),
        pytest.param({"not": CONTROL}, "", [missing(FLOW, "$.not")], id="entrants who are not in it"),
        pytest.param({"not": {"not": CONTROL}}, "abcdef", [missing(FLOW, "$.not.not", effects={"widens"})], id="all but those"),
        pytest.param(TAGGED, "a", [missing(GONE, "$"), missing(OLD, "$")], id="tag"),
        pytest.param(
            {"and": [{"not": TAGGED}, {"or": [{"and": []}, received("it's old")]}]},
            "bcdef",
            [
                missing(GONE, "$.and[0].not", effects={"widens"}),
                missing(OLD, "$.and[0].not", "$.and[1].or[1]", effects={"narrows", "widens"}),
            ],
            id="tag and source",
        ),
        pytest.param(member("not old"), "bcdef", [missing(OLD, "segment:old $.or[0]", effects={"widens"})], id="segment of a segment"),
        pytest.param({"filter": "never_received_message"}, "abcdef", [], id="no use of interactions"),
    ],
)  # fmt: skip
def test_r16_an_answer_names_what_it_needed_and_did_not_have(
    expired: Warehouse, definition: Node, users: str, left_out: list[dict[str, Any]]
) -> None:
    answer = ask(expired, definition)
    assert answer.users == list(users)
    assert [asdict(source) for source in answer.completeness.missing] == left_out
    assert answer.completeness.complete == (not left_out)
    effects = {effect for source in left_out for effect in source["effects"]}
    assert (answer.completeness.can_narrow, answer.completeness.can_widen) == (
        "narrows" in effects,
        "widens" in effects,
    )


def test_r18_what_came_back_in_part_can_also_make_entrants_of_others(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("part")
    sources = [{"source_id": "flow", "kind": "canvas", "interaction_data_deleted_at": DELETED_AT}]
    world = World(WORLD.users, sources, interactions=[row("a", "flow", "entered")])
    warehouse = filled(Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(home)})), world)
    answer = ask(warehouse, {"not": CONTROL})
    assert answer.users == ["a"]
    assert answer.completeness.missing[0].effects == {"narrows", "widens"}


@pytest.mark.parametrize(
    ("definition", "sources"),
    [
        pytest.param({"and": []}, set(), id="none"),
        pytest.param(HERE, {"here"}, id="one"),
        pytest.param(
            {"or": [HERE, received("it's old"), received("back"), received("gone")]}, {"here", "back"}, id="seen"
        ),
        pytest.param(TAGGED, {"here"}, id="of the tag"),
        pytest.param(member("not old"), {"here"}, id="of segments"),
    ],
)
def test_only_files_of_needed_sources_that_are_there_can_be_read(
    expired: Warehouse, definition: Node, sources: set[str]
) -> None:
    assert ask(expired, definition).files_of == sources


def test_strict_refuses_instead_of_answering_short_and_says_how_to_bring_it_back(expired: Warehouse) -> None:
    with pytest.raises(TerminalIncompleteError) as caught:
        ask(expired, {"or": [received("it's old"), received("gone")]}, strict=True)
    assert str(caught.value) == (
        'The answer would not be complete. Left out: 2 expired interactions of campaign "it\'s old" (since 2026-06-01); '
        f"deleted under the previous policy: campaign 'gone' (since 2023-11-01). To bring it back: {RESTORE_OLD}"
    )
    assert [source.source_id for source in caught.value.completeness.missing] == ["gone", "it's old"]


def test_strict_answers_what_is_complete(expired: Warehouse) -> None:
    assert ask(expired, {"not": HERE}, strict=True).users == list("bcdef")


def test_the_restore_that_is_offered_asks_for_what_can_come_back_and_no_more(expired: Warehouse) -> None:
    completeness = ask(expired, {"or": [received("gone"), TAGGED, {"not": CONTROL}]}).completeness
    assert completeness.restorable == ("flow", "it's old")
    deleted = ask(expired, {"or": [received("gone"), received("back")]}).completeness
    assert (deleted.restorable, deleted.restore, deleted.remedy()) == ((), None, "")


def test_r17_after_the_restore_that_is_offered_the_answer_is_the_old_one(warehouse: Warehouse) -> None:
    definitions: list[Node] = [received("it's old"), {"not": CONTROL}, member("not old"), TAGGED]
    fill(warehouse, WORLD, WORLD.interactions)
    before = [ask(warehouse, definition).users for definition in definitions]
    assert before == [sorted(users_of(definition, WORLD, NOW)) for definition in definitions]
    expire_sources(warehouse, Run("expiry", NOW, "ann"))
    offered = ask(warehouse, {"or": [*definitions]}).completeness.restorable

    restore_sources(warehouse, {"source_ids": list(offered), "notify": ["ann@example.com"]}, Run("restore", NOW, "ann"))

    answers = [ask(warehouse, definition) for definition in definitions]
    assert [answer.users for answer in answers] == before
    assert [source.source_id for answer in answers for source in answer.completeness.missing] == ["gone"]


def test_a_sentence_names_a_few_sources_and_the_request_all_of_them() -> None:
    many = Completeness(tuple(replace(OLD, source_id=f"c{number}") for number in range(21)))
    assert many.restore is not None
    assert many.remedy() == f"To bring it back: {many.restore.command}"
    assert all(f" c{number} " in many.remedy() for number in range(21))
    assert many.sentence() == (
        "Left out: 42 expired interactions of campaign 'c0' (since 2026-06-01), campaign 'c1' (since 2026-06-01), "
        "campaign 'c2' (since 2026-06-01), campaign 'c3' (since 2026-06-01), campaign 'c4' (since 2026-06-01) and 16 more."
    )
    # Nobody pastes 20,000.
    most = Completeness(tuple(replace(OLD, source_id=f"c{number}") for number in range(20_000)))
    assert most.restore is not None
    assert most.remedy() == f"To bring 200 of 20,000 sources back: {most.restore.command}"
    assert json.loads(most.restore.conf)["source_ids"] == [f"c{number}" for number in range(200)]
    # No shell takes more than 128 kB.
    longest = Completeness(tuple(replace(OLD, source_id=f"{number:0900}") for number in range(200)))
    assert longest.restore is not None
    assert longest.remedy() == (
        f"To bring it back, trigger restore_interactions with these params: {longest.restore.conf}"
    )
    counted = Completeness((OLD,), (CountedSources("expired", 9, 100), CountedSources("deleted", 4, 0)), 1)
    assert counted.sentence() == (
        'Left out: 102 expired interactions of campaign "it\'s old" (since 2026-06-01) and 9 more; '
        "deleted under the previous policy: 4 sources."
    )
    assert counted.remedy() == f"To bring 1 of 10 sources back: {RESTORE_OLD}"
    assert Completeness((replace(OLD, archived_rows=1),)).sentence().startswith("Left out: 1 expired interaction of ")
    assert (Completeness().sentence(), Completeness().remedy(), Completeness().restore) == ("", "", None)


def test_a_tag_is_looked_at_in_the_200_sources_that_sent_most_recently_expired_ones_among_them(
    warehouse: Warehouse,
) -> None:
    def tagged(number: int, status: str = "active") -> Row:
        return {"source_id": f"s{number}", "status": status, "last_sent_at": LONG_AGO + timedelta(minutes=number)}

    world = World(
        users=[{"user_id": name, "invalid_phone": False, "feature_flags": []} for name in ("latest", "200th", "201st", "never", "expired")],
        sources=[tagged(number, "stopped" if number == 100 else "active") for number in range(203)] + [{"source_id": "never sent"}],
        tags=[("never sent", "promo"), *((f"s{number}", "promo") for number in range(203))],
        interactions=[row("latest", "s202"), row("200th", "s3"), row("201st", "s2"), row("never", "never sent"), row("expired", "s100")],
    )  # fmt: skip
    filled(warehouse, world)
    answer = ask(warehouse, TAGGED)
    assert answer.users == sorted(users_of(TAGGED, world.without({"s100"}), NOW)) == ["200th", "latest"]
    assert answer.files_of == {"s202", "s3"}
    assert [source.source_id for source in answer.completeness.missing] == ["s100"]


def test_a_segment_is_asked_for_by_its_id() -> None:
    assert segment_definition('it\'s "old"') == '{"filter": "segment_membership", "segment_id": "it\'s \\"old\\""}'
