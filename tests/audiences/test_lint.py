"""Audiences that name what they cannot have, listed at each sync and by `perennial check` (R14, R16, R18)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from perennial.audiences.lint import lint_audiences, write_findings
from perennial.audiences.lookups import sources_by_tag
from perennial.cli import app
from perennial.engines.duckdb import internals_in_sight, open_session
from perennial.moves import Run, expire_sources
from perennial.notify.restore_command import build_restore_command
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.rows import append_hot, interaction
from tests.workspace import Workspace, member, received

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
HOSTILE = "it's a/b\\c \"x\" '; DROP TABLE users; -- 🌻\u202e[bold]"
DELETED_AT = datetime(2023, 5, 1, tzinfo=UTC)
CORRECT = "Correct the definition on the platform, then run sync_sources."
REMOVE = "Remove the filter, or name another campaign: what was deleted cannot be restored."
GONE = "The previous policy deleted the interactions of campaign 'gone' on 2023-05-01."
OLD = (
    "The interactions of campaign 'old' expired on 2026-06-01: 3 of them are in long-term storage and left out."
)  # fmt: skip
RECEIVED = "received_message_from_campaign"


def tagged(tag: str) -> dict[str, str]:
    return {"filter": "received_message_with_tag", "tag": tag}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Some sources: expired, deleted, available; no audiences yet."""
    home = tmp_path_factory.mktemp("home")
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(home)}))
    warehouse.create_tables()
    workspace = Workspace(warehouse)
    workspace.source("old", "stopped", "promo")
    workspace.source(HOSTILE, "stopped", "promo")
    workspace.source("gone", "archived", "promo", "lost", interaction_data_deleted_at=DELETED_AT)
    workspace.source("live", "active", "promo")
    append_hot(warehouse, [interaction(source, n) for source in ("old", HOSTILE, "live") for n in range(3)])
    workspace.sync()
    expire_sources(warehouse, Run("r1", NOW, "ann"))
    return workspace


@pytest.fixture
def workspace(sources: Workspace) -> Workspace:
    sources.audiences.clear()
    return sources


def written(workspace: Workspace) -> list[dict[str, Any]]:
    """Sync, check, and read the table back."""
    workspace.sync()
    write_findings(workspace.warehouse, "run'1", NOW)
    rows = workspace.warehouse.read("audience_violations").to_pylist()
    return sorted(rows, key=lambda row: (row["owner_kind"], row["owner_id"], row["part"]))


def finding(
    owner: str,
    what: str,
    named_filter: str | None,
    path: str,
    named_id: str | None,
    detail: str,
    remedy: str,
    **more: str,
) -> dict[str, Any]:
    kind, _, owner_id = owner.partition(":")
    return {
        "checked_at": NOW,
        "owner_kind": kind,
        "owner_id": owner_id,
        "owner_name": owner,
        "owner_status": "active",
        "part": "audience",
        "violation": what,
        "filter": named_filter,
        "path": path,
        "named_id": named_id,
        "detail": detail,
        "remedy": remedy,
    } | more


def restore(*source_ids: str) -> str:
    again = build_restore_command(source_ids, (), (), "Needed by an audience")
    assert again is not None
    return again.command


@pytest.mark.long
def test_r18_audiences_of_every_owner_and_status_are_listed_with_each_place(workspace: Workspace) -> None:
    workspace.audience("campaign:live", {"and": [received("live"), {"not": received("gone")}]})
    workspace.audience("canvas:c", {"or": [received("old"), received("old")]}, "stopped", part="step 1")
    workspace.audience("content_card:k", received(HOSTILE), "archived")
    workspace.audience(f"segment:{HOSTILE}", received("gone"), "draft")
    workspace.audience("campaign:fine", received("live"))

    again = restore("old")
    hostile = (
        f"The interactions of campaign {HOSTILE!r} expired on 2026-06-01: 3 of them are in long-term storage and left "
        "out."
    )
    assert written(workspace) == [
        finding("campaign:live", "forbidden", RECEIVED, "$.and[1].not", "gone", GONE, REMOVE),
        finding("canvas:c", "incomplete", RECEIVED, "$.or[0]", "old", OLD, again, owner_status="stopped", part="step 1"),
        finding("canvas:c", "incomplete", RECEIVED, "$.or[1]", "old", OLD, again, owner_status="stopped", part="step 1"),
        finding("content_card:k", "incomplete", RECEIVED, "$", HOSTILE, hostile, restore(HOSTILE), owner_status="archived"),
        finding(f"segment:{HOSTILE}", "forbidden", RECEIVED, "$", "gone", GONE, REMOVE, owner_status="draft"),
    ]  # fmt: skip
    conf = json.loads(build_restore_command([HOSTILE], (), (), "x").conf)  # type: ignore[union-attr]
    assert conf["source_ids"] == [HOSTILE]


def test_what_a_segment_brings_in_is_listed_for_its_users_once_by_the_shortest_chain(workspace: Workspace) -> None:
    workspace.audience("campaign:live", {"and": [member("outer"), member("middle")]})
    workspace.audience("segment:outer", member("middle"))
    workspace.audience("segment:middle", {"or": [member("inner"), received("gone")]})
    workspace.audience("segment:inner", {"or": [received("gone"), received("gone")]})

    def gone(owner: str, path: str) -> dict[str, Any]:
        return finding(owner, "forbidden", RECEIVED, path, "gone", GONE, REMOVE)

    assert written(workspace) == [
        gone("campaign:live", "segment:middle $.or[1]"),
        gone("segment:inner", "$.or[0]"),
        gone("segment:inner", "$.or[1]"),
        gone("segment:middle", "$.or[1]"),
        gone("segment:middle", "segment:inner $.or[0]"),
        gone("segment:outer", "segment:middle $.or[1]"),
    ]


def test_a_tag_filter_names_no_source_so_deleted_ones_make_it_incomplete_and_never_forbidden(
    workspace: Workspace,
) -> None:
    workspace.audience("campaign:1", tagged("promo"))
    workspace.audience("campaign:2", tagged("lost"))
    workspace.audience("campaign:3", tagged("nobody has it"))

    tag = "received_message_with_tag"
    of = "Of the sources with tag {} that the filter looks at, it leaves out "
    expired = sorted((HOSTILE, "old"))
    both = (
        f"{of.format(repr('promo'))}2 that expired ({', '.join(map(repr, expired))}) and 1 that the previous policy "
        "deleted ('gone')."
    )
    lost = f"{of.format(repr('lost'))}1 that the previous policy deleted ('gone')."
    alone = "Nothing can be restored: the filter answers without them."
    assert written(workspace) == [
        finding("campaign:1", "incomplete", tag, "$", "promo", both, restore(*expired)),
        finding("campaign:2", "incomplete", tag, "$", "lost", lost, alone),
    ]


def test_the_sources_a_tag_is_said_to_miss_are_among_those_its_filter_looks_at(workspace: Workspace) -> None:
    for number in range(300):
        sent = datetime(2020, 1, 1 + number % 20, tzinfo=UTC) if number % 7 else None
        workspace.source(
            f"s{number:03d}", "archived", "many", interaction_data_deleted_at=DELETED_AT, last_sent_at=sent
        )
    workspace.audience("campaign:1", tagged("many"))
    workspace.sync()

    with open_session(workspace.warehouse) as session, internals_in_sight(session):
        looked_at = sources_by_tag(session, ["many"])["many"]
    (found,) = lint_audiences(workspace.warehouse)
    assert (
        f"200 that the previous policy deleted ({', '.join(map(repr, looked_at[:5]))} and 195 more)"
        in found.finding.detail
    )


def test_what_the_platform_does_not_have_is_unknown_and_nothing_else(workspace: Workspace) -> None:
    step = {"filter": "received_message_from_canvas_step", "canvas_id": "old", "step_id": "s"}
    workspace.audience("campaign:1", {"and": [received("nobody"), step, member("none")]})
    workspace.audience("campaign:2", {"filter": "received_campaign_variant", "campaign_id": "old", "variant_id": "v"})

    end = "; name one that exists, or remove the filter."
    name = "received_message_from_canvas_step"
    variant = "received_campaign_variant"
    rows = [
        ("campaign:1", RECEIVED, "$.and[0].campaign_id", "nobody", "'nobody' is not a known campaign"),
        ("campaign:1", name, "$.and[1].canvas_id", "old", "'old' is not a known canvas"),
        ("campaign:1", name, "$.and[1].step_id", "s", "'s' is not a step of Canvas 'old'"),
        ("campaign:1", "segment_membership", "$.and[2].segment_id", "none", "'none' is not a known segment"),
        ("campaign:2", variant, "$.variant_id", "v", "'v' is not a variation of campaign 'old'"),
    ]
    assert written(workspace) == [
        *(finding(owner, "unknown", of, path, named, said + end, CORRECT) for owner, of, path, named, said in rows),
        finding("campaign:2", "incomplete", variant, "$", "old", OLD, restore("old")),
    ]


def test_circles_depth_and_broken_definitions_are_listed_and_stop_no_other(workspace: Workspace) -> None:
    workspace.audience("segment:a", {"and": [member("b"), received("gone")]})
    workspace.audience("segment:b", {"not": member("a")})
    workspace.audience("segment:broken", '{"filter": "surprise"}')
    workspace.audience("campaign:1", {"or": [received("old"), member("a")]})
    workspace.audience("campaign:2", "nonsense")
    workspace.audience("campaign:3", member("broken"))
    workspace.audience("campaign:4", received("gone"))
    for number in range(100, -1, -1):
        workspace.audience(f"segment:deep{number}", member(f"deep{number + 1}") if number < 100 else {"and": []})
    workspace.audience("campaign:5", member("deep0"))

    for number in range(500):
        workspace.audience(f"segment:round{number}", member(f"round{(number + 1) % 500}"))
    membership = "segment_membership"

    def circle(owner: str, path: str, name: str, trail: str) -> dict[str, Any]:
        detail = f"Segment {name!r} cannot be evaluated: it leads to a circle ({trail})."
        return finding(owner, "unreadable", membership, path, name, detail, CORRECT)

    rows = written(workspace)
    broken = [row for row in rows if "surprise" in row["detail"]]
    assert [(row["owner_id"], row["violation"], row["path"]) for row in broken] == [
        ("3", "unreadable", "segment:broken $.filter"),
        ("broken", "unreadable", "$.filter"),
    ]
    assert (
        "(round7 > round8 > round9 > round10 > round11 > round12 > round13 > round14 > round15 > … > round7)"
        in next(row["detail"] for row in rows if row["owner_id"] == "round6")
    )
    others = [row for row in rows if row not in broken and "round" not in row["owner_id"]]
    assert others == [
        finding("campaign:1", "incomplete", RECEIVED, "$.or[0]", "old", OLD, restore("old")),
        circle("campaign:1", "$.or[1].segment_id", "a", "a > b > a"),
        finding(
            "campaign:2", "unreadable", None, "$", None,
            "Cannot be read: not JSON at line 1, column 1 (Expecting value); write one JSON object.", CORRECT,
        ),
        finding("campaign:4", "forbidden", RECEIVED, "$", "gone", GONE, REMOVE),
        finding(
            "campaign:5", "unreadable", membership, "$.segment_id", "deep0",
            "More than 100 segments deep; nest fewer.", CORRECT,
        ),
        finding("segment:a", "forbidden", RECEIVED, "$.and[1]", "gone", GONE, REMOVE),
        circle("segment:a", "$.and[0].segment_id", "b", "b > a > b"),
        circle("segment:b", "$.not.segment_id", "a", "a > b > a"),
    ]  # fmt: skip


def test_an_audience_of_too_many_segments_is_unreadable_and_a_bomb_of_segments_ends(workspace: Workspace) -> None:
    for number in range(1001):
        workspace.audience(f"segment:s{number}", {"and": []})
    workspace.audience("campaign:wide", {"or": [member("w0"), member("w1")]})
    for half in range(2):
        named = [member(f"s{number}") for number in range(half * 501, min(half * 501 + 501, 1001))]
        workspace.audience(f"segment:w{half}", {"or": named})
    for number in range(40):
        workspace.audience(
            f"segment:lol{number}", {"or": [member(f"lol{number + 1}")] * 9} if number < 39 else received("old")
        )

    rows = written(workspace)

    assert [row for row in rows if row["owner_kind"] == "campaign"] == [
        finding("campaign:wide", "unreadable", None, "$", None, "Uses 1,003 segments; use at most 1,000.", CORRECT)
    ]
    assert {row["owner_id"] for row in rows if row["owner_kind"] == "segment"} == {f"lol{n}" for n in range(40)}
    assert {row["path"] for row in rows[1:]} == {"$", "segment:lol39 $"}


def test_a_check_replaces_what_the_one_before_it_found(workspace: Workspace) -> None:
    workspace.audience("campaign:1", received("gone"))
    assert len(written(workspace)) == 1
    workspace.audiences.clear()
    assert written(workspace) == []


def run(workspace: Workspace, exit_code: int) -> str:
    result = CliRunner().invoke(app, ["check"], env={"PERENNIAL_HOME": str(workspace.warehouse.settings.home)})
    assert result.exit_code == exit_code, result.output
    return result.output


def test_check_lists_the_forbidden_first_and_ends_with_one_command_for_all_that_can_come_back(
    workspace: Workspace,
) -> None:
    workspace.audience("campaign:1", {"or": [received("old"), received(HOSTILE), received("gone")]})
    workspace.audience("segment:s", tagged("promo"))
    workspace.sync()

    output = run(workspace, 1)

    assert output.index("Forbidden") < output.index("Incomplete")
    assert GONE in output
    assert "1 forbidden, 0 unknown, 0 unreadable, 3 incomplete" in output
    wanted = build_restore_command([HOSTILE, "old"], (), (), "Needed by audiences")
    assert wanted is not None
    assert output.splitlines()[-1] == wanted.command


def test_check_ends_well_when_a_restore_is_all_that_is_needed(workspace: Workspace) -> None:
    workspace.sync()
    assert run(workspace, 0) == "0 forbidden, 0 unknown, 0 unreadable, 0 incomplete\n"
    workspace.audience("campaign:1", received("old"))
    workspace.sync()
    assert "0 forbidden, 0 unknown, 0 unreadable, 1 incomplete" in run(workspace, 0)
