"""What a request has to be before anything is written, and what a person decides about it (R22)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from perennial.cli import app
from perennial.erase import open_requests, run
from perennial.erase.concerns import give_warning
from perennial.erase.open_requests import request_states
from perennial.erase.opening import MOST_PERSONS, open_erasure, read_erasure
from perennial.erasures import hash_user_id, read_request, suppressed
from perennial.erasures.hashes import erasure_key
from perennial.erasures.requests import PLATFORM, new_request, write_request
from perennial.errors import TerminalRequestError, TerminalSettingError
from perennial.moves import Run
from perennial.notify import list_undelivered
from perennial.operations import wall_clock
from perennial.settings import Settings
from perennial.tables import USERS
from perennial.text import day
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox
from tests.conftest import _copied as copied
from tests.rows import append_hot, interaction
from tests.workspace import Workspace

KEY = "0123456789abcdef0123456789abcdef"
SECRET = "secret-7"
DAY = timedelta(days=1)


@pytest.fixture
def keyed(local_warehouse: Warehouse) -> Warehouse:
    local_warehouse.settings = replace(local_warehouse.settings, erasure_key=KEY)
    return local_warehouse


@pytest.fixture(scope="module")
def untouched(empty_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A workspace with one user, in which nothing is ever written."""
    home = tmp_path_factory.mktemp("untouched") / "home"
    warehouse = copied(
        empty_home, Settings.from_environment({"PERENNIAL_HOME": str(home), "PERENNIAL_ERASURE_KEY": KEY})
    )
    users(warehouse, {"user_id": "u1", "external_user_id": "e1", "email": "Ann@Example.com"})
    return warehouse


def users(warehouse: Warehouse, *rows: dict[str, Any]) -> None:
    Workspace(warehouse).replace(USERS.name, [{"invalid_phone": False, "feature_flags": [], **row} for row in rows])


def platform_request(warehouse: Warehouse, request_id: str, *user_ids: str, age: timedelta = timedelta()) -> str:
    made = new_request(warehouse.settings, request_id=request_id, user_ids=user_ids, origin=PLATFORM)
    aged = replace(made, requested_at=made.requested_at - age, due_at=made.due_at - age)
    return open_erasure(warehouse, aged)


def state(warehouse: Warehouse, request_id: str) -> str:
    (found,) = request_states(warehouse, [request_id])
    return found.state


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "user_ids and external_user_ids are empty"),
        ({"user_ids": SECRET}, "user_ids is not a list"),
        ({"user_ids": ["ok", ""]}, "Id 2 of user_ids is empty"),
        ({"user_ids": [SECRET, 7]}, "Id 2 of user_ids is not a string"),
        ({"external_user_ids": [f"{SECRET}\n"]}, "Id 1 of external_user_ids has a control character"),
        ({"user_ids": [f"{SECRET}\ud800"]}, "half of a surrogate pair"),
        ({"user_ids": [SECRET * 200]}, "Id 1 of user_ids has 1,600 characters"),
        ({"user_ids": [str(number) for number in range(MOST_PERSONS + 1)]}, "The request has 10,001 ids"),
        ({"user_ids": [SECRET], "notify": ["nobody@"]}, "'nobody@' is not an e-mail address"),
        ({"user_ids": [SECRET], "notify": [f"{SECRET}@example.com"]}, "notify contains an id"),
        ({"user_ids": [SECRET], "reason": f"ticket of {SECRET}."}, "reason contains an id"),
        ({"external_user_ids": ["é!"], "reason": "for é!"}, "reason contains an id"),
        ({"user_ids": [SECRET], "reason": f"user_{SECRET}"}, "reason contains an id"),
        ({"user_ids": ["u1"], "reason": "Ann@example.com asks"}, "reason contains an id, an address or a number"),
        ({"user_ids": ["u1"], "reason": "customer e1"}, "reason contains an id, an address or a number"),
        ({"user_ids": [SECRET], "userids": [1]}, "did you mean 'user_ids'?"),
        ({"user_ids": [SECRET], "request_id": "x"}, "request_id names a request"),
        ({"user_ids": ["u1"], "notify": ["ANN@example.com"]}, "the address of somebody who is to be erased"),
        ({"external_user_ids": ["e1"], "notify": ["ann@example.com"]}, "the address of somebody who is to be erased"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_a_request_is_refused_before_anything_is_written_and_the_error_repeats_no_id(
    untouched: Warehouse, params: dict[str, Any], said: str
) -> None:
    with pytest.raises(TerminalRequestError) as refused:
        read_erasure(untouched, params, "ann")
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)
    assert request_states(untouched) == []


@pytest.mark.parametrize(("by", "request_id"), [(SECRET, ""), ("ann", SECRET)], ids=["by", "request_id"])
def test_who_asks_and_the_name_of_the_request_name_nobody_either(
    untouched: Warehouse, by: str, request_id: str
) -> None:
    with pytest.raises(TerminalRequestError, match="contains an id"):
        read_erasure(untouched, {"user_ids": [SECRET]}, by, request_id)


def test_any_other_id_can_be_erased_and_a_part_of_another_word_is_no_id(keyed: Warehouse) -> None:
    ids = ("it's", 'a"b', "../../etc", "naïve ü 好", "u1 ", "x" * 1000, "%_\\", "{}", "\u2028", "1")
    request = read_erasure(keyed, {"user_ids": list(ids), "reason": "GDPR 17, ticket 4711"}, "ann")
    open_erasure(keyed, request)
    assert read_request(keyed, request.request_id) == request
    assert set(suppressed(keyed).hashes) == {hash_user_id(KEY.encode(), one) for one in ids}


def test_without_a_key_nothing_is_opened(local_warehouse: Warehouse) -> None:
    with pytest.raises(TerminalSettingError):
        read_erasure(local_warehouse, {"user_ids": ["u1"]}, "ann")


def test_r22_external_ids_become_user_ids_also_of_somebody_who_is_synced_later(keyed: Warehouse) -> None:
    users(keyed, {"user_id": "u1", "external_user_id": "e1"}, {"user_id": "u2", "external_user_id": "e2"})
    request = read_erasure(keyed, {"external_user_ids": ["e1", "e3"]}, "ann")
    open_erasure(keyed, request)
    assert request.user_ids == ("u1",)
    users(keyed, {"user_id": "u3", "external_user_id": "e3"})
    run.begin(keyed, {}, Run("r", wall_clock()))
    document = read_request(keyed, request.request_id)
    assert document is not None
    assert document.user_ids == ("u1", "u3")
    wanted = {hash_user_id(erasure_key(keyed.settings), user_id) for user_id in ("u1", "u3")}
    assert wanted <= set(suppressed(keyed).hashes)


def test_r22_whom_users_does_not_know_is_found_by_an_external_id_in_interactions(keyed: Warehouse) -> None:
    people = [{"user_id": "u1", "external_user_id": "e1"}, {"user_id": "u2", "external_user_id": "e2"}]
    append_hot(keyed, [interaction("a", number, **person) for number, person in enumerate(people)])
    request = read_erasure(keyed, {"external_user_ids": ["e1", "e3"]}, "ann")
    open_erasure(keyed, request)
    run.begin(keyed, {}, Run("r", wall_clock()))
    document = read_request(keyed, request.request_id)
    assert document is not None
    assert document.user_ids == ("u1",)


def test_r22_ten_thousand_people_are_one_request(keyed: Warehouse) -> None:
    people = [f"user {number}" for number in range(MOST_PERSONS)]
    request_id = open_erasure(keyed, read_erasure(keyed, {"user_ids": people, "notify": ["a@example.com"]}, "ann"))
    ((state),) = request_states(keyed)
    assert (state.request_id, state.state, len(state.hashes)) == (request_id, "approved", MOST_PERSONS)


def test_r22_a_request_of_the_platform_waits_until_a_person_approves_or_refuses_it(keyed: Warehouse) -> None:
    first, second = (platform_request(keyed, name, f"{SECRET}-{name}") for name in ("p1", "p2"))
    begun = run.begin(keyed, {}, Run("r1", wall_clock()))
    assert run._open(keyed, begun)[0].request_ids == ()
    with pytest.raises(TerminalRequestError, match="waits for approval"):
        run.begin(keyed, {"request_id": first}, Run("r2", wall_clock()))
    assert not suppressed(keyed)

    open_requests.approve(keyed, first, "ann")
    for reason, said in (("", "reason is empty"), (f"it is {SECRET}-p2", "reason contains an id")):
        with pytest.raises(TerminalRequestError, match=said):
            open_requests.refuse(keyed, second, "ann", reason)
    open_requests.refuse(keyed, second, "ann", "a test user")

    assert (state(keyed, first), state(keyed, second)) == ("approved", "refused")
    assert read_request(keyed, second) is None
    assert len(suppressed(keyed).hashes) == 1
    for decide in (
        lambda one: open_requests.approve(keyed, one, "b"),
        lambda one: open_requests.refuse(keyed, one, "b", "x"),
    ):
        for request_id in (first, second):
            with pytest.raises(TerminalRequestError, match="only one that waits for approval"):
                decide(request_id)
    with pytest.raises(TerminalRequestError, match="was refused"):
        run.begin(keyed, {"request_id": second}, Run("r3", wall_clock()))
    with pytest.raises(TerminalRequestError, match="names no request that was made; did you mean 'p"):
        run.begin(keyed, {"request_id": "p3"}, Run("r4", wall_clock()))
    begun = run.begin(keyed, {}, Run("r5", wall_clock()))
    assert run._open(keyed, begun)[0].request_ids == (first,)


def test_r22_a_setting_approves_what_the_platform_asks_also_what_is_only_written_down(keyed: Warehouse) -> None:
    write_request(keyed, new_request(keyed.settings, request_id="p1", user_ids=("u1",), origin=PLATFORM))
    assert state(keyed, "p1") == "requested"
    keyed.settings = replace(keyed.settings, erase_on_platform_request=True)
    begun = run.begin(keyed, {}, Run("r1", wall_clock()))
    assert run._open(keyed, begun)[0].request_ids == ("p1",)
    assert state(keyed, "p1") == "approved"
    assert suppressed(keyed)


def test_r22_somebody_is_warned_before_a_deadline_is_missed_once_and_daily_afterwards(
    keyed: Warehouse, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    boss = "boss@example.com"
    request = read_erasure(keyed, {"user_ids": [SECRET], "notify": ["ann@example.com"]}, "ann")
    open_erasure(keyed, request)
    platform_request(keyed, "p1", "u1", age=DAY)

    def warned_after(days: float) -> dict[str, str]:
        """Look again some days after the request; returns what was mailed then, by recipient."""
        before = len(mailbox.messages())
        at = request.requested_at + timedelta(days=days)
        monkeypatch.setattr("perennial.erase.concerns.wall_clock", lambda: at)
        late = [one.request_id for one in give_warning(keyed, Run("r", at)) if one.is_late]
        assert late == [name for name, due in (("p1", 29), (request.request_id, 30)) if days >= due]
        return {mail.recipients[0]: mail.text for mail in mailbox.messages()[before:]}

    # Nobody is known who could approve it.
    assert warned_after(0) == {}
    assert [missed.subject for missed in list_undelivered(keyed)] == [
        f"1 erasure request needs attention: first deadline {day(request.due_at - DAY)}"
    ]
    keyed.settings = replace(keyed.settings, erasure_notify=(boss,))
    assert "perennial erase --approve p1" in warned_after(1)[boss]
    assert list_undelivered(keyed) == []
    assert warned_after(10) == {}
    near = warned_after(23)
    assert near.keys() == {boss, "ann@example.com"}
    assert "No run has begun it" in near["ann@example.com"]
    assert "p1" not in near["ann@example.com"]
    assert warned_after(24) == {}
    assert [set(warned_after(days)) for days in (31.1, 31.3, 32.1)] == [
        {boss, "ann@example.com"},
        set(),
        {boss, "ann@example.com"},
    ]
    assert SECRET not in "".join(mail.text + mail.html + mail.subject for mail in mailbox.messages())


def test_the_command_opens_lists_approves_and_refuses(keyed: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_HOME", str(keyed.settings.home))
    monkeypatch.setenv("PERENNIAL_ERASURE_KEY", KEY)

    def perennial(*arguments: str, exit_code: int = 0, stdin: str | None = None) -> str:
        result = CliRunner().invoke(app, arguments, input=stdin)
        assert result.exit_code == exit_code, result.output
        return result.output

    platform_request(keyed, "p1", "u1")
    platform_request(keyed, "p2", "u2")
    assert "user_ids and external_user_ids are empty" in perennial("erase", exit_code=1)
    assert "p1" in perennial("erasures", "--state", "requested")
    assert "the next run" in perennial("erase", "--approve", "p1")
    assert "nothing was removed" in perennial("erase", "--refuse", "p2", "--reason", "a test user")
    assert "p2,refused," in perennial("erasures", "--csv")
    assert "Request p1: approved since" in perennial("erasures", "p1")
    assert "names no request that was made; did you mean 'p" in perennial("erasures", "p3", exit_code=1)
    perennial("erasures", "--state", "lost", exit_code=2)
    assert "1 id is stored again" in perennial(
        "erase", "--forget-suppression", "--user-ids-from", "-", stdin="u1\r\n\nu9\n"
    )
    assert not suppressed(keyed)
