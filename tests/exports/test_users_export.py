"""The users export, by ids and by segment: what it writes, what it refuses, what it says is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pytest

from perennial.audiences.completeness import Completeness, MissingSource, TerminalIncompleteError
from perennial.audiences.definitions import TerminalDefinitionError
from perennial.errors import TerminalRequestError
from perennial.exports.models import (
    UNAVAILABLE_FIELDS,
    SegmentExportRequest,
    UserObject,
    parse_request,
    parse_segment_request,
)
from perennial.exports.received import CampaignReceived, CanvasReceived, open_received
from perennial.exports.users import export_users, open_segment_export
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.exports.conftest import Story, run
from tests.exports.received_world import (
    CAMPAIGNS,
    CANVASES,
    DELETED,
    HOSTILE,
    NOW,
    OLD,
    OLD_JOURNEY,
    PEOPLE,
    SEGMENTS,
    user,
)
from tests.rows import append_hot, interaction
from tests.workspace import Workspace

PROFILES: dict[str, dict[str, Any]] = {
    "ann": {
        "external_id": "customer-1",
        "first_name": "Ann",
        "last_name": "O'Hara",
        "email": "ann@example.com",
        "phone": "+33123456789",
        "country": "FR",
        "language": "fr",
        "time_zone": "Europe/Paris",
        "created_at": "2026-01-01T00:00:00Z",
        "custom_attributes": {"vip": True, "n": None},
    },
    "bob": {"external_id": "customer-2"},
    "bob again": {"external_id": "customer-2"},
    "eve": {},
    HOSTILE: {"external_id": HOSTILE, "first_name": HOSTILE},
}
MEMBERS = {
    "everybody": PEOPLE,
    "nobody": [],
    "old": ["ann"],
    "not-old": ["bob", "bob again", "eve", HOSTILE],
    HOSTILE: [HOSTILE],
}


def as_json(received: CampaignReceived | CanvasReceived) -> dict[str, Any]:
    """Write an entry as the product does: times in ISO 8601, what is null left out."""

    def written(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: written(inner) for name, inner in value.items() if inner is not None}
        if isinstance(value, datetime):
            return f"{value:%Y-%m-%dT%H:%M:%SZ}"
        return [written(inner) for inner in value] if isinstance(value, tuple) else value

    found: dict[str, Any] = written(asdict(received))
    return found


def exported(user_id: str, *without: str) -> dict[str, Any]:
    campaigns = [as_json(found) for found in CAMPAIGNS[user_id] if found.api_campaign_id not in without]
    canvases = [as_json(found) for found in CANVASES[user_id] if found.api_canvas_id not in without]
    received = {"campaigns_received": campaigns, "canvases_received": canvases}
    return {"braze_id": user_id} | PROFILES[user_id] | received


def left_out(source: MissingSource) -> dict[str, Any]:
    since = f"{source.since:%Y-%m-%dT%H:%M:%SZ}"
    names = ("source_id", "kind", "name", "state", "archived_rows")
    return {name: getattr(source, name) for name in names} | {"since": since}


EVERYBODY = sorted(PEOPLE)


# --- by ids -------------------------------------------------------------------------------------------------------


def test_an_export_of_everybody_holds_profiles_and_all_that_was_received(story: Story) -> None:
    assert story.before.export == {
        "message": "success",
        "users": [exported(user_id) for user_id in EVERYBODY],
        "invalid_user_ids": [],
        "unavailable_fields": [],
        "completeness": {
            "complete": False,
            "missing_count": 1,
            "restorable_count": 0,
            "missing": [left_out(DELETED)],
        },
    }


def test_an_entry_looks_as_it_does_in_the_product(story: Story) -> None:
    bob = next(found for found in story.before.export["users"] if found["braze_id"] == "bob")
    nothing = {
        "opened_email": False,
        "opened_push": False,
        "clicked_email": False,
        "clicked_triggered_in_app_message": False,
    }
    assert bob["campaigns_received"][1] == {
        "name": "Name of spring",
        "api_campaign_id": "spring",
        "last_received": "2026-01-01T00:20:00Z",
        "engaged": nothing,
        "converted": False,
        "in_control": False,
        "variation_name": "Red ❤",
        "variation_api_id": "red",
    }
    assert bob["canvases_received"][1] == {
        "name": "Name of journey",
        "api_canvas_id": "journey",
        "last_entered": "2026-01-01T01:00:00Z",
        "last_entered_control_at": "2026-01-01T01:01:00Z",
        "in_control": True,
        "variation_name": "Held out",
        "steps_received": [],
    }


def test_r14_r16_an_expiry_takes_the_expired_sources_out_of_the_export_and_names_them(story: Story) -> None:
    restore = Completeness((OLD, OLD_JOURNEY)).restore
    assert restore is not None
    assert story.expired.export == story.before.export | {
        "users": [exported(user_id, "old", "old journey") for user_id in EVERYBODY],
        "completeness": {
            "complete": False,
            "missing_count": 3,
            "restorable_count": 2,
            "missing": [left_out(OLD), left_out(OLD_JOURNEY), left_out(DELETED)],
            "restore_command": restore.command,
        },
    }


def test_r17_after_a_restore_the_export_is_what_it_was(story: Story) -> None:
    assert story.restored.export == story.before.export


def test_an_external_id_stands_for_every_user_who_has_it_and_a_user_who_is_asked_for_twice_is_exported_once(
    story: Story,
) -> None:
    asked = {
        "external_ids": ["customer-2", "nobody", HOSTILE, "ann", "nobody"],
        "braze_id": [HOSTILE, "bob", "ghost", "customer-1"],
        "fields_to_export": ["external_id", "braze_id"],
    }
    assert json.loads(export_users(story.warehouse, parse_request(asked)).to_json()) == {
        "message": "success",
        "users": [
            {"external_id": "customer-2", "braze_id": "bob"},
            {"external_id": "customer-2", "braze_id": "bob again"},
            {"external_id": HOSTILE, "braze_id": HOSTILE},
        ],
        "invalid_user_ids": ["nobody", "ann", "ghost", "customer-1"],
        "unavailable_fields": [],
    }


def test_only_the_fields_asked_for_are_exported_and_those_that_hold_nothing_here_are_named(story: Story) -> None:
    asked = {"braze_id": "ann", "fields_to_export": ["purchases", "canvases_received", "email", "apps", "purchases"]}
    response = export_users(story.warehouse, parse_request(asked))
    assert response.unavailable_fields == ("purchases", "apps")
    assert response.users == (UserObject(email="ann@example.com", canvases_received=CANVASES["ann"]),)
    # No campaign can be missing from a list of Canvases.
    assert response.completeness == Completeness()


def test_strict_refuses_an_export_that_would_leave_something_out(story: Story) -> None:
    asked = parse_request({"braze_id": "ann", "fields_to_export": ["campaigns_received"]})
    with pytest.raises(TerminalIncompleteError) as caught:
        export_users(story.warehouse, asked, strict=True)
    assert caught.value.completeness == Completeness((DELETED,))
    canvases = parse_request({"braze_id": "ann", "fields_to_export": ["canvases_received"]})
    assert export_users(story.warehouse, canvases, strict=True) == export_users(story.warehouse, canvases)


def test_without_a_list_of_what_was_received_no_interaction_is_opened(story: Story) -> None:
    fields = [name for name in UserObject.model_fields if not name.endswith("_received")]
    request = parse_request({"braze_id": PEOPLE, "fields_to_export": fields})
    with open_received(story.warehouse, request.kinds) as received:
        assert received.session.interaction_files == ()
    response = export_users(story.warehouse, request, strict=True)
    assert [json.loads(found.to_json()) for found in response.users] == [
        {"braze_id": user_id} | PROFILES[user_id] for user_id in EVERYBODY
    ]
    assert response.completeness is None


def test_a_source_that_the_platform_has_forgotten_since_it_expired_is_missing_from_both_lists(tmp_path: Path) -> None:
    warehouse = small(tmp_path, 1)
    now = {"event_id": "e", "event": "expired", "source_id": "lost", "occurred_at": NOW, "run_id": "r1"}
    sizes = {"file_count": 1, "row_count": 7, "total_bytes": 1}
    Workspace(warehouse).replace("lifecycle_events", [now | sizes])
    lost = MissingSource(
        source_id="lost", kind="source", name="lost", state="expired", since=NOW, archived_rows=7
    )  # fmt: skip
    for field in ("campaigns_received", "canvases_received"):
        request = parse_request({"braze_id": "user-00000", "fields_to_export": [field]})
        assert export_users(warehouse, request).completeness == Completeness((lost,))


# --- what is refused ----------------------------------------------------------------------------------------------


def test_fifty_ids_are_accepted_and_one_more_is_not(story: Story) -> None:
    fifty = {"external_ids": [f"e{n}" for n in range(25)], "braze_id": [f"b{n}" for n in range(25)]}
    response = export_users(story.warehouse, parse_request(fifty))
    assert response.users == ()
    assert list(response.invalid_user_ids) == [*fifty["external_ids"], *fifty["braze_id"]]
    with pytest.raises(TerminalRequestError, match="external_ids and braze_id have 51 ids; give 1 to 50"):
        parse_request(fifty | {"external_ids": [f"e{n}" for n in range(26)]})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "external_ids and braze_id have 0 ids; give 1 to 50 of them together."),
        ({"external_ids": []}, "external_ids and braze_id have 0 ids; give 1 to 50 of them together."),
        ([], "It is []; the request takes fields_to_export, external_ids, braze_id."),
        ({"external_ids": "a"}, 'external_ids is "a"; give a list of at least one string.'),
        ({"external_ids": None}, "external_ids is null; give a list of at least one string."),
        ({"external_ids": ["a", ""]}, 'external_ids[1] is ""; give a string of at least one character'),
        ({"external_ids": [1]}, "external_ids[0] is 1; give a string of at least one character"),
        ({"external_ids": [True]}, "external_ids[0] is true; give a string of at least one character"),
        ({"braze_id": ""}, 'braze_id[0] is ""; give a string of at least one character'),
        ({"braze_id": 7}, "braze_id is 7; give a list of at least one string."),
        ({"braze_id": "\ud800"}, 'braze_id[0] is "\\ud800"; give a string'),
        ({"braze_id": "a", "device_id": "d"}, 'device_id is "d"; the request takes fields_to_export, external_ids'),
        ({"braze_id": "a", "fields_to_export": []}, "fields_to_export is []; give a list of at least one string."),
        ({"braze_id": "a", "fields_to_export": "email"}, 'fields_to_export is "email"; give a list'),
        ({"braze_id": "a", "fields_to_export": ["email", "mail"]}, 'fields_to_export[1] is "mail"; use fields of the'),
    ],
)
def test_a_request_that_is_wrong_is_refused_by_field_value_and_remedy(asked: Any, said: str) -> None:
    with pytest.raises(TerminalRequestError) as caught:
        parse_request(asked)
    assert said in str(caught.value)


def test_every_mistake_is_named_but_not_hundreds_of_them() -> None:
    with pytest.raises(TerminalRequestError, match=r"external_ids\[4\] is 4; .* And 95 more\."):
        parse_request({"external_ids": list(range(100))})


def test_a_segment_is_given_by_its_id() -> None:
    with pytest.raises(TerminalRequestError, match="segment_id is missing; the request takes fields_to_export, seg"):
        parse_segment_request({})


def test_every_field_of_the_product_is_accepted() -> None:
    names = [*UserObject.model_fields, *UNAVAILABLE_FIELDS]
    assert len(names) == len(set(names))
    request = parse_request({"braze_id": "ann", "fields_to_export": names})
    assert (request.fields, request.unavailable_fields) == (frozenset(UserObject.model_fields), UNAVAILABLE_FIELDS)


# --- by segment ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("segment_id", SEGMENTS)
def test_a_segment_is_streamed_as_its_users_are_exported_by_id(story: Story, segment_id: str) -> None:
    users, _ = story.before.segments[segment_id]
    assert users == [exported(user_id) for user_id in sorted(MEMBERS[segment_id])]


def test_r14_r16_a_segment_of_an_expired_source_says_what_happens_to_it_and_to_the_lists(story: Story) -> None:
    everybody = [exported(user_id, "old", "old journey") for user_id in EVERYBODY]
    narrowed = replace(OLD, paths=("segment:old $",))
    widened = replace(OLD, paths=("segment:not-old $.not",), effects=frozenset({"widens"}))
    assert story.expired.segments["old"] == ([], Completeness((narrowed,)))
    assert story.expired.segments["not-old"] == (everybody, Completeness((widened, OLD_JOURNEY, DELETED)))
    assert story.expired.segments["everybody"] == (everybody, Completeness((OLD, OLD_JOURNEY, DELETED)))


def test_r17_after_a_restore_every_segment_is_what_it_was(story: Story) -> None:
    assert story.restored.segments == story.before.segments


def test_a_segment_without_lists_reads_only_what_decides_who_is_in_it(story: Story) -> None:
    request = parse_segment_request({"segment_id": HOSTILE, "fields_to_export": ["braze_id", "first_name"]})
    with open_segment_export(story.warehouse, request, NOW, strict=True) as export:
        assert export.completeness == Completeness()
        assert {live.source_id for live in export.received.session.interaction_files} == {HOSTILE}
        assert list(export.users()) == [UserObject(braze_id=HOSTILE, first_name=HOSTILE)]


def test_a_segment_that_does_not_exist_is_refused(story: Story) -> None:
    request = parse_segment_request({"segment_id": "'; DROP"})
    with (
        pytest.raises(TerminalDefinitionError, match="is not a known segment"),
        open_segment_export(story.warehouse, request, NOW),
    ):
        pass


def small(home: Path, users: int) -> Warehouse:
    """A warehouse with users who received one campaign three times each, and nothing else."""
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(home)}))
    warehouse.create_tables()
    workspace = Workspace(warehouse)
    workspace.source("spring", "active")
    workspace.audience("segment:everybody", {"and": []})
    workspace.sync()
    workspace.replace("users", [user(f"user-{n:05}") for n in range(users)])
    append_hot(warehouse, (interaction("spring", n, user_id=f"user-{n % users:05}") for n in range(3 * users)))
    return warehouse


def test_users_are_streamed_while_the_rest_is_still_to_be_fetched(tmp_path: Path) -> None:
    warehouse = small(tmp_path, 5000)
    request = SegmentExportRequest(segment_id="everybody")
    with open_segment_export(warehouse, request, NOW) as export:
        connection = export.received.session.connection
        users: Iterator[UserObject] = export.users(batch_rows=100)
        first = list(islice(users, 10))
        # An engine with an unfinished answer takes no other question.
        with pytest.raises(duckdb.Error, match="open result"):
            connection.execute("SELECT 1")
        streamed = [*first, *users]
        assert connection.execute("SELECT 1").fetchall() == [(1,)]
    assert [found.braze_id for found in streamed] == [f"user-{n:05}" for n in range(5000)]
    assert {len(found.campaigns_received or ()) for found in streamed} == {1}
    asked = parse_request({"braze_id": [f"user-{n:05}" for n in range(0, 5000, 100)]})
    assert export_users(warehouse, asked).users == tuple(streamed[::100])


# --- the command --------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_command_prints_json_and_says_what_is_left_out(story: Story) -> None:
    printed = story.expired.printed["users-export --braze-id bob"]
    assert json.loads(printed.stdout) == story.expired.export | {"users": [exported("bob", "old", "old journey")]}
    assert "So the lists of received messages may be incomplete." in printed.stderr
    assert "perennial restore " in printed.stderr


def test_the_command_prints_a_segment_as_json_lines(story: Story) -> None:
    printed = story.run("users-export", "--segment", "not-old", "--field", "braze_id", "--field", "apps")
    assert [json.loads(line) for line in printed.stdout.splitlines()] == [
        {"braze_id": user_id} for user_id in sorted(MEMBERS["not-old"])
    ]
    assert printed.stderr == "No data is available for these fields: apps.\n"


def test_the_command_refuses_in_strict_mode(story: Story) -> None:
    printed = story.expired.printed["users-export --segment not-old --strict"]
    assert (printed.exit_code, printed.stdout) == (1, "")
    assert "The answer would not be complete." in printed.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "external_ids and braze_id have 0 ids"),
        (("--segment", "old", "--braze-id", "ann"), "Give either ids or --segment, and not both."),
        (("--segment", "old", "--field", "nope"), 'fields_to_export[0] is "nope"'),
    ],
    ids=["nobody", "both", "field"],
)
def test_the_command_says_plainly_what_is_wrong(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    printed = run(tmp_path, "users-export", *arguments)
    assert (printed.exit_code, printed.stdout) == (1, "")
    assert said in printed.stderr
