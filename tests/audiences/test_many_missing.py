"""What lists of received messages leave out where that is thousands of sources: counted, some named, the rest by page."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perennial.audiences.completeness import (
    NOTHING_MISSING,
    Completeness,
    CountedSources,
    MissingPage,
    TerminalIncompleteError,
)
from perennial.exports.models import parse_request, parse_segment_request
from perennial.exports.profile import read_profile
from perennial.exports.users import export_users, open_segment_export
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.exports.conftest import run
from tests.exports.received_world import user
from tests.workspace import Workspace, received

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
EXPIRED, DELETED = 2_000, 30
NEWEST = [f"c{number:04}" for number in reversed(range(EXPIRED))]
# The same day: by name.
GONE = [f"gone{number:02}" for number in range(DELETED)]
OLDEST = "c0000"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Campaigns that expired one a minute, each with two interactions; some deleted; one Canvas; one segment."""
    home = tmp_path_factory.mktemp("many")
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(home)}))
    warehouse.create_tables()
    workspace = Workspace(warehouse)
    for source_id in reversed(NEWEST):
        workspace.source(source_id)
    for source_id in GONE:
        workspace.source(source_id, interaction_data_deleted_at=datetime(2023, 5, 1, tzinfo=UTC))
    workspace.source("journey", kind="canvas")
    for segment_id, definition in SEGMENTS.items():
        workspace.audience(f"segment:{segment_id}", definition)
    workspace.sync()
    workspace.replace("users", [user("ann", "customer-1")])
    sizes = {"file_count": 1, "row_count": 2, "total_bytes": 1, "event": "expired", "run_id": "r1"}
    moves = [
        {"event_id": source_id, "source_id": source_id, "occurred_at": NOW + timedelta(minutes=number), **sizes}
        for number, source_id in enumerate(["journey", *reversed(NEWEST)])
    ]
    workspace.replace("lifecycle_events", moves)
    return home


SEGMENTS: dict[str, dict[str, Any]] = {
    "everybody": {"and": []},
    "nobody": {"or": []},
    "not oldest": {"not": received(OLDEST)},
    "oldest": received(OLDEST),
}


@pytest.fixture
def warehouse(home: Path) -> Warehouse:
    return Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(home)}))


def ids(completeness: Completeness | Mapping[str, Any]) -> list[str]:
    if isinstance(completeness, Completeness):
        return [source.source_id for source in completeness.missing]
    return [source["source_id"] for source in completeness["missing"]]


def test_r16_a_profile_counts_all_and_names_the_newest_few_of_the_kind_of_each_list(warehouse: Warehouse) -> None:
    profile = read_profile(warehouse, "ann")
    campaigns = profile.campaigns_completeness
    assert ids(campaigns) == NEWEST[:20]
    assert campaigns.counted == (
        CountedSources("deleted", DELETED, 0),
        CountedSources("expired", EXPIRED - 20, 2 * (EXPIRED - 20)),
    )
    assert (campaigns.missing_count, campaigns.restorable_count, campaigns.next_from) == (2_030, 2_000, 20)
    assert campaigns.sentence() == (
        "Left out: 4,000 expired interactions of campaign 'c1999' (since 2026-06-02), "
        "campaign 'c1998' (since 2026-06-02), campaign 'c1997' (since 2026-06-02), campaign 'c1996' (since 2026-06-02), "
        "campaign 'c1995' (since 2026-06-02) and 1,995 more; deleted under the previous policy: 30 sources."
    )
    assert campaigns.remedy().startswith("To bring 20 of 2,000 sources back: ")
    assert "'c1979" not in campaigns.remedy()
    assert (ids(profile.canvases_completeness), profile.canvases_completeness.next_from) == (["journey"], None)


def test_r16_page_by_page_every_source_is_named_once(warehouse: Warehouse) -> None:
    named: list[str] = []
    following: int | None = 0
    while following is not None:
        page = read_profile(warehouse, "ann", MissingPage(following, 700)).campaigns_completeness
        assert page.missing_count == EXPIRED + DELETED
        named += ids(page)
        following = page.next_from
    assert named == [*NEWEST, *GONE]


def test_r16_a_page_after_the_last_one_names_nothing_and_is_not_complete(warehouse: Warehouse) -> None:
    after = read_profile(warehouse, "ann", MissingPage(5_000)).campaigns_completeness
    assert (after.missing, after.next_from, after.complete, after.missing_count) == ((), None, False, 2_030)
    assert after.sentence() == (
        "Left out: 4,000 expired interactions of 2,000 sources; deleted under the previous policy: 30 sources."
    )
    assert after.remedy() == ""


def test_an_export_is_small_however_much_is_missing_and_says_how_to_ask_for_the_rest(warehouse: Warehouse) -> None:
    asked = parse_request({"braze_id": "ann"})
    text = export_users(warehouse, asked).to_json()
    assert len(text) < 10_000
    completeness = json.loads(text)["completeness"]
    assert ids(completeness) == NEWEST[:20]
    assert (completeness["missing_count"], completeness["missing_next"]) == (2_031, 20)
    assert shlex.split(completeness["restore_command"])[2:22] == NEWEST[:20]
    second = export_users(warehouse, asked, page=MissingPage(20, 3)).completeness
    assert second is not None
    assert (ids(second), second.next_from) == (NEWEST[20:23], 23)


@pytest.mark.parametrize("strict", [False, True], ids=["short answers taken", "strict"])
def test_where_nobody_was_found_nothing_is_missing(warehouse: Warehouse, strict: bool) -> None:
    export = export_users(warehouse, parse_request({"braze_id": "nobody", "external_ids": ["no one"]}), strict)
    assert (export.users, export.invalid_user_ids) == ((), ("no one", "nobody"))
    assert export.completeness == NOTHING_MISSING
    with open_segment_export(warehouse, parse_segment_request({"segment_id": "nobody"}), NOW, strict) as segment:
        assert segment.completeness == NOTHING_MISSING


def test_a_segment_that_is_empty_without_what_expired_still_says_so(warehouse: Warehouse) -> None:
    request = parse_segment_request({"segment_id": "oldest"})
    with open_segment_export(warehouse, request, NOW) as export:
        assert (ids(export.completeness), export.completeness.counted) == ([OLDEST], ())
        assert list(export.users()) == []
    with pytest.raises(TerminalIncompleteError), open_segment_export(warehouse, request, NOW, strict=True):
        pass


def test_what_a_segment_names_itself_is_named_on_every_page_and_counted_once(warehouse: Warehouse) -> None:
    request = parse_segment_request({"segment_id": "not oldest"})
    for page in (MissingPage(0, 2), MissingPage(2, 2)):
        with open_segment_export(warehouse, request, NOW, page=page) as export:
            completeness = export.completeness
            assert ids(completeness) == [OLDEST, *NEWEST[page.first : page.first + 2]]
            assert completeness.missing[0].paths == ("segment:not oldest $.not",)
            assert (completeness.missing_count, completeness.next_from) == (2_031, page.first + 2)
    # Its own are the last of all that expired, and no page has them again.
    with open_segment_export(warehouse, request, NOW, page=MissingPage(1_998, 5)) as export:
        assert ids(export.completeness) == [OLDEST, "c0001", "journey", *GONE[:3]]


def test_strict_refuses_with_a_count_and_names_a_page(warehouse: Warehouse) -> None:
    with pytest.raises(TerminalIncompleteError, match="and 1,999 more") as caught:
        export_users(warehouse, parse_request({"braze_id": "ann"}), strict=True, page=MissingPage(1, 2))
    assert ids(caught.value.completeness) == NEWEST[1:3]
    assert len(str(caught.value)) < 2_000


def test_the_commands_say_the_count_and_name_the_rest_when_asked(home: Path) -> None:
    short = run(home, "profile", "ann").stderr
    assert "and 1,995 more" in short
    assert "List all of them, the latest first, with --missing-from 0." in short
    assert len(short) < 5_000
    paged = run(home, "users-export", "--braze-id", "ann", "--missing-from", "1999", "--missing-limit", "3")
    assert ids(json.loads(paged.stdout)["completeness"]) == [OLDEST, "journey", GONE[0]]
    assert paged.stderr.splitlines()[-4:] == [
        "  campaign 'c0000': expired since 2026-06-01, 2 interactions",
        "  canvas 'journey': expired since 2026-06-01, 2 interactions",
        "  campaign 'gone00': deleted since 2023-05-01",
        "List the next ones with --missing-from 2002.",
    ]


def test_the_newest_come_first_whatever_the_sources_are_called(warehouse: Warehouse) -> None:
    newest = read_profile(warehouse, "ann", MissingPage(0, 1)).campaigns_completeness.missing[0]
    assert newest == replace(newest, source_id="c1999", since=NOW + timedelta(minutes=EXPIRED), archived_rows=2)
