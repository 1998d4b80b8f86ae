"""`perennial adopt`: finds the sources whose interactions the previous policy deleted in the platform's history."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from perennial.audiences.completeness import MissingSource
from perennial.audiences.evaluate import open_audience
from perennial.cli import app
from perennial.errors import TerminalMetadataError, TerminalRequestError
from perennial.moves import Run, expire_sources, restore_sources
from perennial.platform import read_legacy_deletions, read_metadata, sync_sources
from perennial.policy.decisions import decide
from perennial.policy.legacy_deletions import decide_legacy_deletions, import_legacy_deletions, revoke
from perennial.settings import Settings
from perennial.statements import statement
from perennial.warehouse import Warehouse
from tests.conftest import MadeOnce
from tests.kill import Point, run_and_kill
from tests.rows import append_hot, hot_and_archive, interaction
from tests.workspace import Workspace, member, received

CUTOFF = date(2024, 1, 1)
AT_CUTOFF = datetime(2024, 1, 1, tzinfo=UTC)
HOSTILE = "it's a/b\\c \"x\" '; DROP TABLE users; -- 🌻\u202e[bold]"
UNUSED = ", and no active campaign, Canvas or Content Card names it"


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def now() -> datetime:
    return datetime.now(UTC)


def build(warehouse: Warehouse) -> Workspace:
    workspace = Workspace(warehouse)
    last_sent = {
        HOSTILE: "2021-12-01",
        "a day late": "2021-12-02",
        "clamped": "2021-01-31",
        "stored": "2020-05-01",
        "by a campaign": "2020-05-01",
        "through segments": "2020-05-01",
        "by a card": "2020-05-01",
        "by a stopped canvas": "2020-05-01",
        "by a segment": "2020-05-01",
        "by tag": "2020-05-01",
    }
    for source_id, sent in last_sent.items():
        workspace.source(source_id, "stopped", "promo", created_at=day("2019-01-01"), last_sent_at=day(sent))
    workspace.source("never sent", "draft", created_at=day("2019-01-01"))
    workspace.source("still active", "active", created_at=day("2018-01-01"), last_sent_at=day("2019-01-01"))
    workspace.source("gone", "archived", interaction_data_deleted_at=day("2023-05-01"), created_at=day("2019-01-01"))
    workspace.audience("campaign:c", {"not": received("by a campaign")})
    workspace.audience("canvas:v", member("s1"))
    workspace.audience("segment:s1", member("s2"), "archived")
    workspace.audience("segment:s2", {"or": [received("through segments"), member("s1")]})
    workspace.audience("content_card:k", received("by a card"))
    workspace.audience("canvas:stopped", received("by a stopped canvas"), "stopped")
    workspace.audience("segment:alone", received("by a segment"))
    workspace.audience("campaign:t", {"filter": "received_message_with_tag", "tag": "promo"})
    append_hot(warehouse, [interaction("stored", number) for number in range(3)])
    workspace.sync()
    return workspace


EXPECTED = {
    HOSTILE: ("mark", f"last sent on 2021-12-01, 25 months end on 2024-01-01{UNUSED}"),
    "a day late": ("recent", "last sent on 2021-12-02, 25 months end on 2024-01-02, after the cutoff"),
    "clamped": ("mark", f"last sent on 2021-01-31, 25 months end on 2023-02-28{UNUSED}"),
    "stored": (
        "stored",
        "last sent on 2020-05-01, 25 months end on 2022-06-01, but the warehouse has 3 interactions, which must not "
        "be lost",
    ),
    "by a campaign": (
        "referenced",
        "last sent on 2020-05-01, 25 months end on 2022-06-01, but named by campaign:c > received_message_from_campaign",
    ),
    "through segments": (
        "referenced",
        "last sent on 2020-05-01, 25 months end on 2022-06-01, but named by canvas:v > segment:s1 > segment:s2 > "
        "received_message_from_campaign",
    ),
    "by a card": (
        "referenced",
        "last sent on 2020-05-01, 25 months end on 2022-06-01, but named by content_card:k > "
        "received_message_from_campaign",
    ),
    "by a stopped canvas": ("mark", f"last sent on 2020-05-01, 25 months end on 2022-06-01{UNUSED}"),
    "by a segment": ("mark", f"last sent on 2020-05-01, 25 months end on 2022-06-01{UNUSED}"),
    "by tag": ("mark", f"last sent on 2020-05-01, 25 months end on 2022-06-01{UNUSED}"),
    "never sent": ("unsent", "never sent anything, so there was nothing to delete"),
    "still active": ("mark", f"last sent on 2019-01-01, 25 months end on 2021-02-01{UNUSED}"),
    "gone": ("deleted", "already deleted on 2023-05-01"),
}
MARKED = {source_id for source_id, (decision, _) in EXPECTED.items() if decision == "mark"}


@pytest.fixture
def workspace(made_once: MadeOnce) -> Workspace:
    return made_once(build)


def deleted(warehouse: Warehouse) -> dict[str, datetime]:
    rows = warehouse.read("sources").to_pylist()
    return {row["source_id"]: row["interaction_data_deleted_at"] for row in rows if row["interaction_data_deleted_at"]}


def state(warehouse: Warehouse) -> list[Any]:
    """Snapshots and rows of what an import writes."""
    tables = [warehouse.table(name) for name in ("sources", "adopted_deletions")]
    return [(table.current_snapshot(), table.scan().to_arrow().to_pylist()) for table in tables]


def test_r18_a_dry_run_explains_each_source_and_writes_nothing(workspace: Workspace) -> None:
    before = state(workspace.warehouse)

    decided = decide_legacy_deletions(workspace.warehouse, CUTOFF, now())

    assert [asdict(deletion) for deletion in decided] == [
        {
            "source_id": source_id,
            "kind": "campaign",
            "name": f"Name of {source_id}",
            "decision": EXPECTED[source_id][0],
            "reason": EXPECTED[source_id][1],
        }
        for source_id in sorted(EXPECTED)
    ]
    assert state(workspace.warehouse) == before


def test_r18_what_the_previous_policy_deleted_is_marked_once_and_everything_else_is_left_as_it_was(
    workspace: Workspace,
) -> None:
    warehouse = workspace.warehouse
    rows = {row["source_id"]: row for row in warehouse.read("sources").to_pylist()}
    interactions = hot_and_archive(warehouse)
    at = now()

    import_legacy_deletions(warehouse, CUTOFF, at, "ann")

    marks = {row["source_id"]: row for row in warehouse.read("adopted_deletions").to_pylist()}
    assert marks == {
        source_id: {
            "source_id": source_id,
            "deleted_at": AT_CUTOFF,
            "reason": EXPECTED[source_id][1],
            "adopted_at": at,
            "requested_by": "ann",
        }
        for source_id in MARKED
    }
    assert {row["source_id"]: row for row in warehouse.read("sources").to_pylist()} == {
        source_id: row | ({"interaction_data_deleted_at": AT_CUTOFF} if source_id in MARKED else {})
        for source_id, row in rows.items()
    }
    assert hot_and_archive(warehouse) == interactions


def test_a_second_import_changes_nothing_and_one_with_a_later_cutoff_leaves_the_marks_there_are(
    workspace: Workspace,
) -> None:
    warehouse = workspace.warehouse
    import_legacy_deletions(warehouse, CUTOFF, now())
    before = state(warehouse)

    decided = import_legacy_deletions(warehouse, CUTOFF, now())

    assert {row.source_id: row.reason for row in decided if row.decision == "deleted"} == {
        "gone": "already deleted on 2023-05-01"
    } | dict.fromkeys(MARKED, "already deleted on 2024-01-01")
    assert state(warehouse) == before

    import_legacy_deletions(warehouse, date(2024, 6, 1), now())
    assert deleted(warehouse) == {
        "gone": day("2023-05-01"),
        "a day late": day("2024-06-01"),
        **dict.fromkeys(MARKED, AT_CUTOFF),
    }


def test_a_source_whose_interactions_lie_in_the_archive_is_not_marked(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    expire_sources(warehouse, Run("r", now(), "ann"))
    assert warehouse.source_totals("interactions_archive").keys() == {"stored"}

    decided = {deletion.source_id: deletion.decision for deletion in import_legacy_deletions(warehouse, CUTOFF, now())}

    assert decided["stored"] == "stored"
    assert deleted(warehouse).keys() == {"gone", *MARKED}


def test_a_marked_source_is_deleted_for_expiries_restores_and_filters(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    import_legacy_deletions(warehouse, CUTOFF, now())
    params = {"source_ids": ["by tag"], "notify": ["ann@example.com"]}

    decided = {row["source_id"]: row["decision"] for row in decide(warehouse, now()).to_pylist()}
    assert {source_id for source_id, decision in decided.items() if decision == "deleted"} == {"gone", *MARKED}
    with pytest.raises(TerminalRequestError, match="'by tag' were deleted under the previous policy"):
        restore_sources(warehouse, params, Run("r", now(), "ann"))
    with open_audience(
        warehouse, '{"filter": "received_message_from_campaign", "campaign_id": "by tag"}', now()
    ) as asked:
        assert asked.completeness.missing == (
            MissingSource(
                source_id="by tag",
                kind="campaign",
                name="Name of by tag",
                state="deleted",
                since=AT_CUTOFF,
                archived_rows=0,
                paths=("$",),
            ),
        )


@pytest.mark.long(but="after-sources")
@pytest.mark.parametrize(
    "point",
    [Point("before", "commit:marks"), Point("after", "commit:marks"), Point("after", "commit:sources")],
    ids=str,
)
def test_an_import_that_is_killed_is_right_once_it_is_run_again(
    workspace: Workspace, settings: Settings, point: Point
) -> None:
    run_and_kill(settings, point, import_legacy_deletions, CUTOFF, now())

    import_legacy_deletions(workspace.warehouse, CUTOFF, now())

    assert deleted(workspace.warehouse) == dict.fromkeys(MARKED, AT_CUTOFF) | {"gone": day("2023-05-01")}
    marks = workspace.warehouse.read("adopted_deletions")["source_id"].to_pylist()
    assert sorted(marks) == sorted(MARKED)


def test_every_sync_and_r7s_look_at_the_platform_apply_the_marks_to_what_it_says_and_never_write_it(
    warehouse: Warehouse, settings: Settings
) -> None:
    path = settings.home / "platform.db"
    with sqlite3.connect(path) as platform:
        platform.executescript(statement("platform/create_platform"))
        for source_id, said in ((HOSTILE, None), ("gone", "2023-05-01"), ("live", None)):
            sent = "2019-01-01" if source_id != "live" else "2026-01-01"
            values = (source_id, "canvas", "Name", "stopped", "2018-01-01", None, sent, None, said)
            platform.execute("INSERT INTO sources VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    sync_sources(warehouse, "first")
    bytes_before = path.read_bytes()
    marked = {HOSTILE: AT_CUTOFF, "gone": day("2023-05-01")}

    import_legacy_deletions(warehouse, CUTOFF, now())
    assert deleted(warehouse) == marked
    sync_sources(warehouse, "second")

    assert deleted(warehouse) == marked
    fresh = read_metadata(settings, read_legacy_deletions(warehouse))
    assert fresh is not None
    assert {
        row["source_id"]: row["interaction_data_deleted_at"]
        for row in fresh.sources.to_pylist()
        if row["interaction_data_deleted_at"]
    } == marked
    assert path.read_bytes() == bytes_before


def test_an_audience_that_cannot_be_read_or_metadata_that_is_stale_marks_nothing(workspace: Workspace) -> None:
    with pytest.raises(TerminalMetadataError, match="run sync_sources"):
        import_legacy_deletions(workspace.warehouse, CUTOFF, now() + timedelta(days=3))
    workspace.audience("content_card:broken", "nonsense")
    workspace.sync()
    found = {deletion.source_id: deletion for deletion in import_legacy_deletions(workspace.warehouse, CUTOFF, now())}
    assert {found[source_id].decision for source_id in MARKED} == {"referenced"}
    assert found["clamped"].reason.endswith("but named by content_card:broken > unreadable definition")
    assert read_legacy_deletions(workspace.warehouse) == {}


def test_r24_an_import_believes_no_time_that_cannot_be_right(workspace: Workspace) -> None:
    """A last message "in 1970" is none, and what was created within the 25 months did not stop before."""
    workspace.source("never", created_at=day("2019-01-01"), last_sent_at=day("1970-01-01"))
    workspace.source("young", created_at=day("2023-12-01"), last_sent_at=day("2020-01-01"))
    workspace.source("undeleted", interaction_data_deleted_at=day("1970-01-01"), last_sent_at=day("2020-01-01"))
    workspace.sync()
    found = {
        deletion.source_id: deletion.decision
        for deletion in decide_legacy_deletions(workspace.warehouse, CUTOFF, now())
    }
    assert {name: found[name] for name in ("never", "young", "undeleted")} == {
        "never": "unsent", "young": "recent", "undeleted": "recent",
    }  # fmt: skip


def run(home: Path, *arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, ["adopt", *arguments], env={"PERENNIAL_HOME": str(home)})
    assert result.exit_code == exit_code, result.output
    return result.output


def test_the_command_explains_in_a_dry_run_and_says_what_it_marked_and_what_it_must_not(
    workspace: Workspace, settings: Settings
) -> None:
    output = run(settings.home, "--cutoff", "2024-01-01", "--dry-run")
    assert "6 would be marked; left as they are: 1 deleted, 1 unsent, 1 recent, 3 referenced, 1 stored." in output
    for source_id in EXPECTED:
        assert source_id in output
    assert deleted(workspace.warehouse).keys() == {"gone"}

    output = run(settings.home, "--cutoff", "2024-01-01")
    assert "6 marked; left as they are: 1 deleted, 1 unsent, 1 recent, 3 referenced, 1 stored." in output
    assert "the warehouse has 3 interactions" in output
    assert "a day late" not in output
    assert deleted(workspace.warehouse).keys() == {"gone", *MARKED}


@pytest.mark.parametrize(
    ("cutoff", "said"),
    [
        ("soon", "--cutoff is 'soon'"),
        ("2024-02-30", "--cutoff is '2024-02-30'"),
        ("9999-12-31", "is in the future"),
        ("1970-01-01", "cannot be right"),
    ],
)
def test_a_cutoff_that_is_no_day_of_the_past_is_refused(
    warehouse: Warehouse, settings: Settings, cutoff: str, said: str
) -> None:
    assert said in run(settings.home, "--cutoff", cutoff, exit_code=1)


def test_a_mark_can_be_revoked_and_what_the_platform_says_itself_stands(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    before = deleted(warehouse)
    import_legacy_deletions(warehouse, CUTOFF, now())
    revoke(warehouse, MARKED, now(), "ann")
    assert deleted(warehouse) == before
    assert read_legacy_deletions(warehouse) == {}
    # And marked again: the last word counts.
    import_legacy_deletions(warehouse, CUTOFF, now())
    assert deleted(warehouse).keys() == before.keys() | MARKED


def test_a_mark_that_is_not_there_cannot_be_revoked(workspace: Workspace) -> None:
    import_legacy_deletions(workspace.warehouse, CUTOFF, now())
    with pytest.raises(TerminalRequestError, match="No mark is on 'gone', 'nobody'"):
        revoke(workspace.warehouse, ["nobody", "gone", "clamped"], now())
    assert read_legacy_deletions(workspace.warehouse).keys() == MARKED
