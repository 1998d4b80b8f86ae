"""What arrives of people who were erased, and of people whom the platform asks to erase."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace

import pytest

from perennial.erasures import (
    forget_suppression,
    hash_user_id,
    open_request,
    read_request,
    record_event,
    remove_request,
    states,
)
from perennial.erasures.requests import new_request, written_requests
from perennial.errors import TransientConflictError
from perennial.exports import user_data
from perennial.platform import sync_sources
from perennial.settings import Settings
from perennial.tables import ERASURES
from perennial.warehouse import Warehouse
from tests.currents.landing import NOW, OPEN, event, everything, land_avro, land_json, load, rows
from tests.kill import Point, run_and_kill
from tests.workspace import PlatformWorkspace

KEY = "0123456789abcdef0123456789abcdef"
DELETE = "users.UserDeleteRequest"


@pytest.fixture
def keyed(local_warehouse: Warehouse) -> Warehouse:
    local_warehouse.settings = replace(local_warehouse.settings, erasure_key=KEY)
    return local_warehouse


def erase(warehouse: Warehouse, *user_ids: str, external_user_ids: tuple[str, ...] = ()) -> None:
    """Approve that people are erased."""
    given = {"user_ids": user_ids, "external_user_ids": external_user_ids}
    request = new_request(warehouse.settings, **given)
    open_request(warehouse, request)
    record_event(warehouse, request.request_id, request.hashes(KEY.encode()).values(), "approved")


def land(settings: Settings, without: str = "") -> None:
    """Files with records of u0 to u4 in every format and outcome; one user's may be left out."""

    def kept(records: list[object]) -> list[object]:
        return [record for record in records if not without or f'"{without}"' not in str(record).replace("'", '"')]

    records = [event(n, campaign_id=f"c{n % 3}") for n in range(30)]
    land_avro(settings, OPEN, kept(records))
    land_avro(settings, "users.messages.email.Bounce", kept([event(n) for n in range(100, 103)]))
    broken = [
        '{"user_id": "u1", "id": ',
        '{"user_id": "u11", "id": ',
        '{"id": "x", "note": "u1"}',
        "u1 and others",
        "{",
    ]
    land_json(settings, OPEN, kept([event(1), {**event(6), "time": "never"}, *broken, {"external_user_id": "e1"}]))


def platform_with(warehouse: Warehouse, *user_ids: str) -> None:
    """A platform with some users, which the warehouse knows as well."""
    workspace = PlatformWorkspace(warehouse)
    workspace.source("a")
    workspace.write()
    with closing(sqlite3.connect(warehouse.settings.below_home("platform.db"))) as database, database:
        rows = [(user_id, f"{number}@example.com") for number, user_id in enumerate(user_ids)]
        database.executemany(
            "INSERT INTO users (user_id, email, invalid_phone, feature_flags) VALUES (?, ?, 0, '[]')", rows
        )
    sync_sources(warehouse, "r1")


def outcomes(warehouse: Warehouse) -> dict[str, Counter[tuple[object, ...]]]:
    """The rows of all tables that a load writes; a rejected record has another line where others are left out."""
    found = everything(warehouse)
    found["rejected_events"] = Counter(rows(warehouse, "rejected_events", "reason, payload"))
    found.pop("loaded_files")
    return found


def test_records_of_an_erased_person_are_dropped_and_everybody_elses_are_loaded(keyed: Warehouse):
    erase(keyed, "u1", external_user_ids=("e1",))
    land(keyed.settings)
    outcome = load(keyed)
    with_person, counted = outcomes(keyed), rows(keyed, "loaded_files", "erased_count")
    # 6 of 30 and 1 of 3; of JSON lines one can be read, one has no time, two cannot be parsed, one has the external id.
    assert (outcome.erased, sorted(counted)) == (12, [(1,), (5,), (6,)])
    assert not [row for table in with_person.values() for row in table if "u1" in row]
    assert outcome.read == 30 + 3 + 8
    payloads = {payload for _, payload in with_person["rejected_events"]}
    assert payloads == {'{"user_id": "u11", "id": ', "{", '{"event_type":"users.messages.email.Open","id":"x"}'}
    assert load(keyed).loads == 0


def test_whom_only_the_external_id_was_known_of_is_not_stored_either_until_that_is_forgotten(keyed: Warehouse):
    erase(keyed, external_user_ids=("e1", "u2"))
    given = ("e1", "e2", None, "u1")
    people = [event(n, user_id=f"u{n}", external_user_id=external) for n, external in enumerate(given)]
    land_avro(keyed.settings, OPEN, people)
    assert load(keyed).erased == 1
    # u2 is the external id of somebody, and no user id.
    assert rows(keyed, "interactions", "user_id") == [("u1",), ("u2",), ("u3",)]
    platform_with(keyed, "u1", "u2")
    with closing(sqlite3.connect(keyed.settings.below_home("platform.db"))) as database, database:
        database.execute("UPDATE users SET external_user_id = 'e1' WHERE user_id = 'u1'")
    assert sync_sources(keyed, "r2").erased_count == 1
    assert rows(keyed, "users", "user_id") == [("u2",)]

    assert forget_suppression(keyed, ["e1"], "ann") == 0
    assert forget_suppression(keyed, [], "ann", ["e1"]) == 1
    assert sync_sources(keyed, "r3").erased_count == 0


def test_a_load_without_the_person_gives_the_same_rows(keyed: Warehouse, settings: Settings):
    land(keyed.settings, without="u1")
    load(keyed)
    expected = outcomes(keyed)
    erase(keyed, "u1")
    for path in settings.below_home("landing").rglob("part-*"):
        path.unlink()
    assert not [row for row in expected["interactions"] if "u1" in row]
    # The same events once more, now with the person's: nothing is added.
    land(keyed.settings)
    load(keyed)
    assert outcomes(keyed)["interactions"] == expected["interactions"]
    assert outcomes(keyed)["user_message_summary"] == expected["user_message_summary"]
    assert outcomes(keyed)["loaded_events"] == expected["loaded_events"]


def test_the_platform_asks_to_erase_and_a_request_waits_exactly_once(keyed: Warehouse):
    deletion = {"id": "d1", "user_id": "u1", "time": 1_769_900_400, "app_group_id": "g"}
    land_json(keyed.settings, DELETE, [deletion, deletion, {"id": "d2", "time": 1}])
    # Killed after it was opened, before the load is known; the next load opens nothing again.
    run_and_kill(keyed.settings, Point("before", "perennial.currents.load:record_load"), load)
    (request,) = written_requests(keyed)
    assert (request.user_ids, request.origin) == (("u1",), "platform")
    outcome = load(keyed)
    assert (outcome.summary_only, outcome.duplicates, outcome.rejected) == (1, 1, 1)
    assert [(state.event, state.request_id) for state in states(keyed)] == [("requested", request.request_id)]
    # Delivered again, and asked for again under another id while the first request waits.
    land_json(keyed.settings, DELETE, [deletion, {**deletion, "id": "d3"}], "part-1.json")
    load(keyed)
    assert keyed.read(ERASURES.name).num_rows == 1
    # Also when the ledger has been lost.
    open_request(keyed, request)
    assert keyed.read(ERASURES.name).num_rows == 1
    assert load(keyed).loads == 0


def test_a_request_of_the_platform_is_kept_while_there_is_no_key(local_warehouse: Warehouse):
    land_json(local_warehouse.settings, DELETE, [{"id": "d1", "user_id": "u1", "time": 1}])
    load(local_warehouse)
    (request,) = written_requests(local_warehouse)
    assert states(local_warehouse) == []
    assert read_request(local_warehouse, request.request_id) == request
    remove_request(local_warehouse, request.request_id)
    assert load(local_warehouse).loads == 0
    assert written_requests(local_warehouse) == []


def test_an_erased_person_is_left_out_of_the_users_and_counted(keyed: Warehouse):
    platform_with(keyed, "u1", "u2", "it's")
    erase(keyed, "u1", "it's")
    outcome = sync_sources(keyed, "r2")
    assert (outcome.erased_count, outcome.row_counts["users"]) == (2, 1)
    assert [user_id for (user_id,) in rows(keyed, "users", "user_id")] == ["u2"]


def test_an_export_that_was_begun_before_an_erasure_leaves_no_file(keyed: Warehouse, monkeypatch: pytest.MonkeyPatch):
    platform_with(keyed, "u1", "u2")
    land_json(keyed.settings, OPEN, [event(1, user_id=user, id=user, campaign_id="a") for user in ("u1", "u2")])
    load(keyed)
    request = user_data.UserDataRequest(source_id="a")
    copy = user_data._copy

    def copy_then_erase(*given: object) -> int:
        erase(keyed, "u1")
        return copy(*given)

    monkeypatch.setattr(user_data, "_copy", copy_then_erase)
    with pytest.raises(TransientConflictError, match="People were erased while the file was written"):
        user_data.write_user_data(keyed, request, "r", NOW)
    assert list(keyed.settings.below_home("exports").iterdir()) == []
    monkeypatch.undo()
    assert user_data.write_user_data(keyed, request, "r", NOW).user_count == 2


def test_users_that_were_read_before_an_erasure_are_not_brought_back(keyed: Warehouse, monkeypatch: pytest.MonkeyPatch):
    platform_with(keyed, "u1")
    stage = Warehouse.stage_rows

    def stage_then_erase(warehouse: Warehouse, name: str, stream: object) -> object:
        staged = stage(warehouse, name, stream)
        if name == "users":
            erase(keyed, "u1")
        return staged

    monkeypatch.setattr(Warehouse, "stage_rows", stage_then_erase)
    with pytest.raises(TransientConflictError, match="People were erased while sync_sources read"):
        sync_sources(keyed, "r2")
    monkeypatch.undo()
    assert hash_user_id(KEY.encode(), "u1") in {state.user_id_hash for state in states(keyed)}
    sync_sources(keyed, "r2")
    assert rows(keyed, "users", "user_id") == []
