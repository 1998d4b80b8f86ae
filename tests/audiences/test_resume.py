"""`perennial resume-check`: what a stopped campaign or Canvas would miss, and the one request that brings it back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from perennial.audiences.completeness import MissingSource
from perennial.audiences.resume import AudienceProblem, ResumeCheck, check_resume
from perennial.cli import app
from perennial.errors import TerminalRequestError
from perennial.moves import Run, expire_sources, restore_sources
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.rows import append_hot, interaction
from tests.workspace import LONG_AGO, Workspace, member, received

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
DELETED_AT = datetime(2023, 5, 1, tzinfo=UTC)
HOSTILE = "it's a/b\\c \"x\" '; DROP TABLE users; -- 🌻\u202e[bold]"
END = "; name one that exists, or remove the filter."


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    home = tmp_path_factory.mktemp("home")
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(home)}))
    warehouse.create_tables()
    workspace = Workspace(warehouse)
    workspace.source("canvas", "stopped", kind="canvas")
    workspace.source("campaign", "active")
    workspace.source("old", "stopped")
    workspace.source(HOSTILE, "archived", "promo")
    workspace.source("gone", "archived", interaction_data_deleted_at=DELETED_AT)
    append_hot(
        warehouse, [interaction(source, n) for source in workspace.sources if source != "gone" for n in range(3)]
    )
    workspace.sync()
    expire_sources(warehouse, Run("r1", NOW, "ann"))
    return workspace


@pytest.fixture
def workspace(sources: Workspace) -> Workspace:
    sources.audiences.clear()
    return sources


def missing(source_id: str, *paths: str, **fields: Any) -> MissingSource:
    expired = MissingSource(
        source_id=source_id,
        kind="campaign",
        name=f"Name of {source_id}",
        state="expired",
        since=NOW,
        archived_rows=3,
        paths=paths,
    )
    return replace(expired, **fields)


CANVAS = ResumeCheck(
    source_id="canvas",
    kind="canvas",
    name="Name of canvas",
    status="stopped",
    state="expired",
    since=NOW,
    missing={},
    problems=(),
)


def checked(workspace: Workspace, source_id: str = "canvas") -> ResumeCheck:
    workspace.sync()
    return check_resume(workspace.warehouse, source_id)


def requested(check: ResumeCheck) -> list[str]:
    assert check.restore is not None
    ids: list[str] = json.loads(check.restore.conf)["source_ids"]
    return ids


def test_every_source_that_any_part_needs_is_listed_through_segments_and_tags(workspace: Workspace) -> None:
    workspace.audience("canvas:canvas", {"and": [member("s1"), {"not": received("old")}, received("gone")]}, "stopped")
    workspace.audience("segment:s1", {"or": [received("old"), member("s1 nested")]}, "archived")
    workspace.audience("segment:s1 nested", {"not": {"not": received("campaign")}})
    step = {"filter": "entered_canvas_variation", "canvas_id": "canvas", "variant_id": "v"}
    tagged = {"filter": "received_message_with_tag", "tag": "promo"}
    workspace.audience("canvas:canvas", {"or": [{"not": tagged}, step]}, "stopped", part="step'1")
    workspace.audience("campaign:canvas", received("nobody"))

    check = checked(workspace)

    both = frozenset({"narrows", "widens"})
    assert check == replace(
        CANVAS,
        missing={
            "audience": (
                missing("gone", "$.and[2]", state="deleted", since=DELETED_AT, archived_rows=0),
                missing("old", "$.and[1].not", "segment:s1 $.or[0]", effects=both),
            ),
            "step'1": (
                missing("canvas", "$.or[1]", kind="canvas"),
                missing(HOSTILE, "$.or[0].not", effects=frozenset({"widens"})),
            ),
        },
        problems=(
            AudienceProblem("step'1", "$.or[1].variant_id", f"'v' is not a variation of canvas 'canvas'{END}"),
        ),
    )  # fmt: skip
    assert not check.ready
    assert requested(check) == ["canvas", "old", HOSTILE]


def test_with_all_it_needs_it_is_ready_and_its_own_interactions_come_back_by_themselves(workspace: Workspace) -> None:
    workspace.audience("canvas:canvas", received("campaign"), "stopped")

    check = checked(workspace)

    assert check == CANVAS
    assert check.ready
    assert requested(check) == ["canvas"]


def test_a_source_without_audiences_and_an_active_one_are_answered_all_the_same(workspace: Workspace) -> None:
    active = replace(CANVAS, source_id="campaign", kind="campaign", name="Name of campaign", status="active")
    assert checked(workspace, "campaign") == replace(active, state="available", since=LONG_AGO)
    workspace.audience("campaign:campaign", received("old"))
    check = checked(workspace, "campaign")
    assert check.missing == {"audience": (missing("old", "$"),)}
    assert requested(check) == ["old"]


def test_what_was_deleted_cannot_be_asked_for(workspace: Workspace) -> None:
    workspace.audience("campaign:gone", received("gone"), "archived")
    check = checked(workspace, "gone")
    assert (check.state, check.since, check.ready, check.restore) == ("deleted", DELETED_AT, False, None)


def test_audiences_that_cannot_be_read_or_evaluated_are_problems_and_the_rest_is_checked(workspace: Workspace) -> None:
    workspace.audience("canvas:canvas", "nonsense", "stopped")
    workspace.audience("canvas:canvas", {"and": [member("a"), received("old")]}, "stopped", part="in a circle")
    workspace.audience("canvas:canvas", member("broken"), "stopped", part="of a broken segment")
    workspace.audience("canvas:canvas", {"and": [member("none"), received("nobody")]}, "stopped", part="of the unknown")
    workspace.audience("segment:a", {"or": [member("b")]})
    workspace.audience("segment:b", {"or": [member("a"), received(HOSTILE)]})
    workspace.audience("segment:broken", '{"filter": "hard_bounced", "x": 1}')

    check = checked(workspace)

    assert check == replace(
        CANVAS,
        missing={"in a circle": (missing(HOSTILE, "segment:b $.or[1]"), missing("old", "$.and[1]"))},
        problems=(
            AudienceProblem(
                "audience", "$", "not JSON at line 1, column 1 (Expecting value); write one JSON object."
            ),
            AudienceProblem(
                "in a circle",
                "$.and[0].segment_id",
                "segment 'a' cannot be evaluated: it leads to a circle (a > b > a).",
            ),
            AudienceProblem(
                "of a broken segment",
                "segment:broken $",
                'hard_bounced does not take "x"; it takes no parameters.',
            ),
            AudienceProblem("of the unknown", "$.and[0].segment_id", f"'none' is not a known segment{END}"),
            AudienceProblem("of the unknown", "$.and[1].campaign_id", f"'nobody' is not a known campaign{END}"),
        ),
    )  # fmt: skip
    assert requested(check) == ["canvas", HOSTILE, "old"]


def test_a_source_that_nobody_knows_is_refused(workspace: Workspace) -> None:
    with pytest.raises(TerminalRequestError, match='"no\'body" is not a known source'):
        checked(workspace, "no'body")


def run(workspace: Workspace, source_id: str, exit_code: int) -> str:
    environment = {"PERENNIAL_HOME": str(workspace.warehouse.settings.home)}
    result = CliRunner().invoke(app, ["resume-check", source_id], env=environment)
    assert result.exit_code == exit_code, result.output
    return result.output


@pytest.mark.long
def test_the_request_of_the_command_brings_back_all_that_can_come_back(warehouse: Warehouse) -> None:
    workspace = Workspace(warehouse)
    workspace.source(HOSTILE, "stopped")
    workspace.source("old", "stopped")
    append_hot(warehouse, [interaction(source, n) for source in workspace.sources for n in range(3)])
    workspace.sync()
    expire_sources(warehouse, Run("r1", NOW, "ann"))
    workspace.audience(f"campaign:{HOSTILE}", {"not": received("old")}, "stopped")
    workspace.sync()

    output = run(workspace, HOSTILE, 1)
    check = check_resume(warehouse, HOSTILE)
    assert check.restore is not None
    assert output.splitlines()[-1] == check.restore.command
    assert "widens" in output
    restore_sources(warehouse, json.loads(check.restore.conf), Run("r2", NOW, "ann"))

    assert check_resume(warehouse, HOSTILE) == replace(
        check, state="available", missing={}, since=NOW
    )  # fmt: skip
    assert "Ready" in run(workspace, HOSTILE, 0)


def test_the_command_says_what_is_wrong_in_a_sentence(workspace: Workspace) -> None:
    workspace.sync()
    assert "'nobody' is not a known source" in run(workspace, "nobody", 1)
    assert "Its own interactions expired on 2026-06-01" in run(workspace, "canvas", 0)
