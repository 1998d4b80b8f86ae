"""Requests to erase people, what is recorded of them, and the hashes by which those who are erased stay known."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from perennial.cli import app
from perennial.engines.duckdb import open_connection
from perennial.erasures import (
    Suppressed,
    erasure_key,
    forget_suppression,
    hash_user_id,
    open_request,
    read_request,
    record_event,
    remove_request,
    states,
    suppressed,
)
from perennial.erasures.hashes import hash_external_user_id, make_key
from perennial.erasures.requests import new_request, write_request, written_requests
from perennial.erasures.suppression import forget_lost_key
from perennial.errors import TerminalRequestError, TerminalSettingError
from perennial.settings import Settings
from perennial.tables import ERASURES
from perennial.warehouse import Warehouse

KEY = "0123456789abcdef0123456789abcdef"
# Quotes, slashes, spaces, other scripts; two that only differ in case or in a space.
HOSTILE = ("it's", 'a"b', "../../etc", "naïve ü 好", "u1", "U1", "u1 ", "x" * 300, "%_\\", "{}", "NULL")


@pytest.fixture
def keyed(local_warehouse: Warehouse) -> Warehouse:
    local_warehouse.settings = replace(local_warehouse.settings, erasure_key=KEY)
    return local_warehouse


def test_the_hash_is_the_same_in_duckdb_and_in_python():
    ids = [*HOSTILE, *HOSTILE, None]
    users = pa.table({"user_id": ids, "external_user_id": ids[::-1]})
    hashes = {"user_id": hash_user_id, "external_user_id": hash_external_user_id}
    for key in (b"k" * 32, b"long" * 40):
        for (column, hashed), user_id in product(hashes.items(), HOSTILE):
            wanted = Suppressed((hashed(key, user_id),), key)
            assert wanted.without(users).to_pylist() == [row for row in users.to_pylist() if row[column] != user_id]
        with open_connection() as connection:
            connection.register("users", users)
            Suppressed(tuple(hash_user_id(key, user_id) for user_id in HOSTILE), key).show(connection, "users")
            found = connection.execute("FROM suppressed_users").fetchall()
            assert sorted(found) == sorted((user_id, None) for user_id in HOSTILE)


def test_a_key_is_made_once_and_never_shown(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PERENNIAL_HOME", str(settings.home))
    with pytest.raises(TerminalSettingError, match="perennial init"):
        erasure_key(settings)
    said = CliRunner().invoke(app, ["init"]).output
    key = erasure_key(settings)
    assert "made the key of erasures" in said
    assert "made the key" not in CliRunner().invoke(app, ["init"]).output
    assert not make_key(settings)
    assert erasure_key(settings) == key
    assert len(key) == 64
    assert settings.below_home("erasure.key").stat().st_mode & 0o777 == 0o600
    given = Settings.from_environment({"PERENNIAL_HOME": str(settings.home), "PERENNIAL_ERASURE_KEY": KEY})
    assert erasure_key(given) == KEY.encode()
    assert KEY not in repr(given)
    assert key.decode() not in said
    with pytest.raises(TerminalSettingError, match="has 5 characters") as refused:
        Settings.from_environment({"PERENNIAL_ERASURE_KEY": "short"})
    assert "short" not in str(refused.value)


def test_a_catalog_elsewhere_needs_the_setting(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYICEBERG_CATALOG__ELSEWHERE__URI", "http://127.0.0.1:9")
    elsewhere = replace(settings, catalog="elsewhere")
    assert not make_key(elsewhere)
    with pytest.raises(TerminalSettingError, match="PERENNIAL_ERASURE_KEY is not set"):
        erasure_key(elsewhere)


def test_a_request_is_recorded_once_however_often_it_is_opened(keyed: Warehouse):
    request = new_request(keyed.settings, request_id="r1", user_ids=HOSTILE, external_user_ids=("e1",), reason="why")
    # As a run leaves it that dies between the two steps.
    write_request(keyed, request)
    assert read_request(keyed, "r1") == request
    assert written_requests(keyed) == [request]
    assert states(keyed) == []
    assert open_request(keyed, request) == "r1"
    remove_request(keyed, "r1")
    assert open_request(keyed, request) == "r1"
    assert read_request(keyed, "r1") is None
    found = states(keyed)
    assert {state.user_id_hash for state in found} == set(request.hashes(KEY.encode()).values())
    assert len(found) == len(HOSTILE) + 1
    assert {(state.event, state.due_at - state.requested_at) for state in found} == {("requested", timedelta(days=30))}
    rows = str(keyed.read(ERASURES.name).to_pylist())
    assert not [user_id for user_id in HOSTILE[:4] if user_id in rows]


def test_a_person_is_suppressed_from_the_approval_until_it_is_forgotten(keyed: Warehouse):
    for request_id, user_id in (("r1", "u1"), ("r2", "u2"), ("r3", "u3")):
        open_request(keyed, new_request(keyed.settings, request_id=request_id, user_ids=(user_id,)))
    hashes = {user_id: hash_user_id(KEY.encode(), user_id) for user_id in ("u1", "u2", "u3")}
    assert not suppressed(keyed)
    for request_id, user_id, event in (("r1", "u1", "approved"), ("r2", "u2", "refused"), ("r3", "u3", "located")):
        record_event(keyed, request_id, [hashes[user_id]], event, requested_by="ben")
        record_event(keyed, request_id, [hashes[user_id]], event, {"again": 1}, requested_by="ada")
    assert [(state.event, state.requested_at < state.at) for state in states(keyed)] == [
        ("approved", True), ("refused", True), ("located", True),
    ]  # fmt: skip
    assert keyed.read(ERASURES.name).num_rows == 6
    assert set(suppressed(keyed).hashes) == {hashes["u1"], hashes["u3"]}

    assert forget_suppression(keyed, ["u1", "u2", "nobody"], "ada") == 1
    assert set(suppressed(keyed).hashes) == {hashes["u3"]}
    assert [state.event for state in states(keyed)] == ["approved", "refused", "located"]
    # A person who has come back can be erased once more.
    open_request(keyed, new_request(keyed.settings, request_id="r4", user_ids=("u1",)))
    record_event(keyed, "r4", [hashes["u1"]], "approved")
    assert set(suppressed(keyed).hashes) == {hashes["u1"], hashes["u3"]}
    with pytest.raises(TerminalRequestError, match="No erasure 'r9'"):
        record_event(keyed, "r9", [hashes["u1"]], "approved")


def test_another_key_is_refused_until_the_lost_one_is_given_up(keyed: Warehouse):
    open_request(keyed, new_request(keyed.settings, request_id="r1", user_ids=("u1",)))
    record_event(keyed, "r1", [hash_user_id(KEY.encode(), "u1")], "approved")
    keyed.settings = replace(keyed.settings, erasure_key="f" * 32)
    with pytest.raises(TerminalSettingError, match="1 person was erased with another key"):
        suppressed(keyed)
    assert forget_lost_key(keyed, "ada") == 1
    assert not suppressed(keyed)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"user_ids": ()}, "give at least one id"),
        ({"user_ids": ("u1", "")}, "Id 2 of user_ids is empty"),
        ({"user_ids": (), "external_user_ids": ("secret\n",)}, "Id 1 of external_user_ids has a control character"),
        ({"user_ids": ("u1",), "request_id": "../turns/load"}, "request_id is '../turns/load'"),
    ],
)
def test_what_cannot_be_a_request_is_refused(settings: Settings, given: dict[str, object], said: str):
    with pytest.raises(TerminalRequestError, match=said) as refused:
        new_request(settings, **given)
    assert "secret" not in str(refused.value)


def test_a_request_that_cannot_be_has_no_document(keyed: Warehouse):
    assert read_request(keyed, "../pending/load") is None
