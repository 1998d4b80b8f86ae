"""Erasures on the page and for programs: a request is made, decided about and followed, and nobody is named (R22)."""

from __future__ import annotations

import html
import logging
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from perennial.erase.open_requests import request_states
from perennial.erase.opening import open_erasure, read_erasure
from perennial.erase.receipts import keep_receipt, notes_of
from perennial.erase.run import begin
from perennial.erasures import read_request, record_event, remove_request
from perennial.erasures.hashes import make_key
from perennial.erasures.requests import PLATFORM, new_request
from perennial.errors import TerminalRequestError
from perennial.notify.erasure_report import PlaceCount, Receipt
from perennial.operations import Run, wall_clock
from perennial.tables import USERS
from perennial.warehouse import Warehouse
from tests.conftest import MadeOnce
from tests.dags.test_erase_dag import tables_with
from tests.web.conftest import As
from tests.web.restoring import forget_runs, runs
from tests.workspace import Workspace

SECRET = "secret-7f3a"
# What a person may be called, and a page must not take for its own.
HOSTILE = f"<script>{SECRET}</script>"
ASKED_BY_PLATFORM, DONE = "platform-1", "done-1"
FORM = {
    "user_ids": f"{SECRET}\r\n{HOSTILE}\r\n",
    "external_user_ids": "",
    "notify": "dpo@example.com",
    "reason": "4711",
}


def fill(warehouse: Warehouse) -> Workspace:
    """Somebody whom the platform asks to erase, and somebody who was erased."""
    workspace = Workspace(warehouse)
    make_key(warehouse.settings)
    user = {"user_id": "u1", "external_user_id": "e1", "email": "u1@example.com"}
    workspace.replace(USERS.name, [{**user, "invalid_phone": False, "feature_flags": []}])
    asked = new_request(warehouse.settings, request_id=ASKED_BY_PLATFORM, user_ids=(SECRET,), origin=PLATFORM)
    open_erasure(warehouse, asked)
    done = read_erasure(warehouse, {"user_ids": [SECRET], "reason": HOSTILE.replace(SECRET, "x")}, "ann", DONE)
    open_erasure(warehouse, done)
    finish(warehouse, done)
    return workspace


def finish(warehouse: Warehouse, request: Any) -> None:
    (state,) = request_states(warehouse, [request.request_id])
    receipt = Receipt(
        request_id=request.request_id,
        requested_by="ann",
        reason=request.reason,
        requested_at=request.requested_at,
        due_at=request.due_at,
        verified_at=wall_clock(),
        person_count=1,
        found=(PlaceCount(place="interactions", row_count=12),),
        checked=("Every file was read.",),
        run_id="r",
    )
    keep_receipt(warehouse, receipt)
    record_event(warehouse, request.request_id, state.hashes, "verified")
    remove_request(warehouse, request.request_id)


@pytest.fixture
def warehouse(made_once: MadeOnce) -> Warehouse:
    forget_runs()
    return made_once(fill).warehouse


def open_states(warehouse: Warehouse) -> dict[str, str]:
    return {state.request_id: state.state for state in request_states(warehouse) if not state.is_over}


def test_r22_a_request_of_the_page_names_nobody_but_in_its_document(
    page: As, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    uma = page("uma")
    answer = uma.post("/perennial/erasures", data=FORM)
    assert answer.status_code == 303
    asked = parse_qs(urlsplit(answer.headers["location"]).query)
    (request_id,) = asked["id"]
    request = read_request(warehouse, request_id)
    assert request is not None
    assert (request.user_ids, request.notify) == ((SECRET, HOSTILE), ("dpo@example.com",))
    assert (request.requested_by, request.origin) == ("uma", "person")
    (run,) = runs()
    assert (run.dag_id, run.conf, run.run_id) == ("erase_users", {"request_id": request_id}, asked["run"][0])
    assert run.triggering_user_name == "uma"

    shown = [uma.get(address) for address in (answer.headers["location"], "/perennial/erasures")]
    found = [uma.get(f"/perennial/api/{path}") for path in (f"erasure?id={request_id}", "erasures")]
    assert "No run has opened it" in shown[0].text
    assert "A run is carrying it out" in shown[0].text
    assert 'http-equiv="refresh"' in shown[0].text
    details = found[0].json()
    assert (details["state"], details["person_count"], details["receipt"]) == ("requested", 2, None)
    assert not details["needs_decision"]
    assert SECRET not in "".join(str(each.url) + each.text + str(each.headers) for each in (answer, *shown, *found))
    assert tables_with(SECRET) == set()
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"user_ids": ""}, "give at least one id to erase"),
        ({"reason": f"for {SECRET}"}, "reason contains an id"),
        ({"notify": f"{SECRET}@example.com"}, "notify contains an id"),
        ({"user_ids": f"{SECRET}\r\n{SECRET}\x07"}, "Id 2 of user_ids has a control character"),
        ({"external_user_ids": "e1", "notify": "U1@example.com"}, "the address of somebody who is to be erased"),
        ({"user_ids": f"{SECRET}\n" * 10_001}, "The request has 10,001 ids"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_r22_what_cannot_be_requested_is_said_without_what_was_typed(
    page: As, warehouse: Warehouse, changes: dict[str, str], said: str
) -> None:
    before = open_states(warehouse)
    answer = page("uma").post("/perennial/erasures", data=FORM | changes)
    assert answer.status_code == 400
    assert said in html.unescape(answer.text)
    assert SECRET not in answer.text
    assert (open_states(warehouse), runs()) == (before, [])


def test_r22_a_program_opens_a_request_and_learns_why_not(page: As, warehouse: Warehouse) -> None:
    ann = page("ann")
    answer = ann.post("/perennial/api/erasures", json={"external_user_ids": ["e1"], "reason": "4711"})
    assert answer.status_code == 202
    started = answer.json()
    request = read_request(warehouse, started["request_id"])
    assert request is not None
    assert request.user_ids == ("u1",)
    assert [(run.run_id, run.conf) for run in runs()] == [(started["run_id"], {"request_id": request.request_id})]
    for order, status, said in (
        ({"user_ids": [SECRET], "reason": SECRET}, 400, "reason contains an id"),
        ({"user_ids": [SECRET, ""]}, 422, "body.user_ids.1"),
        ({"user_ids": SECRET}, 422, "body.user_ids"),
    ):
        refused = ann.post("/perennial/api/erasures", json=order)
        assert (refused.status_code, said in refused.json()["detail"], SECRET in refused.text) == (status, True, False)
    assert len(runs()) == 1


def test_r22_a_request_of_the_platform_is_approved_by_a_run_in_the_users_name(page: As, warehouse: Warehouse) -> None:
    uma = page("uma")
    listed = uma.get("/perennial/erasures").text
    assert "waits for approval" in listed
    assert "the messaging platform" in listed
    assert "Approve: erase them" in uma.get(f"/perennial/erasure?id={ASKED_BY_PLATFORM}").text
    order = {"request_id": ASKED_BY_PLATFORM, "decision": "approve"}
    answer = uma.post("/perennial/erasures/decide", data=order)
    assert answer.status_code == 303
    (run,) = runs()
    assert (run.dag_id, run.conf, run.triggering_user_name) == ("erase_users", order, "uma")
    pending = uma.get(answer.headers["location"]).text
    assert "Approve: erase them" not in pending
    assert SECRET not in pending
    # A task may be repeated.
    for _ in range(2):
        begin(warehouse, run.conf, Run(run.run_id, wall_clock(), run.triggering_user_name))
    assert uma.get(f"/perennial/api/erasure?id={ASKED_BY_PLATFORM}").json()["waits_for"] == "No run has begun it."
    assert notes_of(warehouse, ASKED_BY_PLATFORM)["approved_by"] == "uma"
    assert "the messaging platform" in uma.get(f"/perennial/erasure?id={ASKED_BY_PLATFORM}").text


def test_r22_it_is_refused_for_a_reason_that_names_nobody(page: As, warehouse: Warehouse) -> None:
    uma, order = page("uma"), {"request_id": ASKED_BY_PLATFORM, "decision": "refuse"}
    for reason, said in (("", "reason is empty"), (f"it is {SECRET}", "reason contains an id")):
        answer = uma.post("/perennial/erasures/decide", data=order | {"reason": reason})
        assert (answer.status_code, said in answer.text, SECRET in answer.text) == (400, True, False)
    answer = uma.post("/perennial/api/erasures/decide", json=order | {"reason": "a test user"})
    assert answer.status_code == 202
    (run,) = runs()
    assert run.conf == order | {"reason": "a test user"}
    for _ in range(2):
        begin(warehouse, run.conf, Run(run.run_id, wall_clock(), "uma"))
    details = uma.get(f"/perennial/api/erasure?id={ASKED_BY_PLATFORM}").json()
    assert (details["state"], details["person_count"], details["needs_decision"]) == ("refused", None, False)
    assert read_request(warehouse, ASKED_BY_PLATFORM) is None
    with pytest.raises(TerminalRequestError, match="only one that waits for approval"):
        begin(warehouse, order | {"decision": "approve"}, Run("late", wall_clock(), "uma"))


def test_r22_only_what_waits_for_approval_is_decided_about(page: As, warehouse: Warehouse) -> None:
    uma = page("uma")
    made = uma.post("/perennial/api/erasures", json={"user_ids": ["u1"], "reason": "4711"}).json()["request_id"]
    for request_id, status in ((DONE, 400), (made, 400), ("nobody", 404)):
        for decision in ("approve", "refuse"):
            order = {"request_id": request_id, "decision": decision, "reason": "x"}
            assert uma.post("/perennial/erasures/decide", data=order).status_code == status
            assert uma.post("/perennial/api/erasures/decide", json=order).status_code == 400
    assert len(runs()) == 1


def test_r22_the_receipt_is_on_the_page_and_names_nobody(page: As, warehouse: Warehouse) -> None:
    uma = page("uma")
    details = uma.get(f"/perennial/api/erasure?id={DONE}").json()
    assert (details["state"], details["person_count"], details["waits_for"]) == ("verified", 1, "")
    assert "- interactions: 12 rows" in details["receipt"]
    text = uma.get(f"/perennial/erasure?id={DONE}").text
    assert details["receipt"].strip() in html.unescape(text)
    assert "<script>x" not in text
    assert SECRET not in text + details["receipt"]
    assert uma.get("/perennial/erasure?id=../receipts/done-1").status_code == 404
    # The open ones come first.
    listed = uma.get("/perennial/api/erasures?limit=1").json()
    assert ([each["request_id"] for each in listed["erasures"]], listed["count"]) == ([ASKED_BY_PLATFORM], 2)


def test_r22_the_products_route_queues_people_for_the_next_run(page: As, warehouse: Warehouse) -> None:
    ann = page("ann")
    body = {"external_ids": ["e1", "e9"], "braze_ids": [SECRET, SECRET], "user_aliases": []}
    answer = ann.post("/perennial/users/delete", json=body)
    assert answer.status_code == 202
    found = answer.json()
    assert (found["deleted"], found["message"]) == (3, "success")
    request = read_request(warehouse, found["request_id"])
    assert request is not None
    assert (request.user_ids, request.external_user_ids) == ((SECRET, "u1"), ("e1", "e9"))
    assert request.due_at - request.requested_at == timedelta(days=30)
    assert open_states(warehouse)[request.request_id] == "requested"
    assert runs() == []
    assert SECRET not in answer.text
    begin(warehouse, {}, Run("daily", wall_clock(), "scheduled"))
    assert open_states(warehouse)[request.request_id] == "approved"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 400, "have 0 ids; give 1 to 50"),
        (
            {"external_ids": [str(number) for number in range(30)], "braze_ids": list("abcdefghijklmnopqrstu")},
            400,
            "51 ids",
        ),
        ({"braze_ids": [str(number) for number in range(51)]}, 422, "body.braze_ids"),
        (
            {"user_aliases": [{"alias_name": SECRET, "alias_label": "x"}], "braze_ids": ["a"]},
            400,
            "user_aliases cannot",
        ),
        ({"email_addresses": [{"email": SECRET}], "braze_ids": ["a"]}, 400, "email_addresses cannot"),
        ({"braze_ids": [f"{SECRET}\n"]}, 400, "Id 1 of user_ids has a control character"),
        ({"braze_id": SECRET}, 422, "body.braze_id"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_r22_what_the_products_route_cannot_do_queues_nothing(
    page: As, warehouse: Warehouse, body: dict[str, Any], status: int, said: str
) -> None:
    answer = page("ann").post("/perennial/users/delete", json=body)
    assert (answer.status_code, said in answer.json()["detail"], SECRET in answer.text) == (status, True, False)
    assert list(open_states(warehouse)) == [ASKED_BY_PLATFORM]


def test_r22_without_a_key_or_with_a_paused_dag_nothing_is_opened(
    page: As, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    def refusals() -> list[str]:
        ann, order = page("ann"), {"request_id": ASKED_BY_PLATFORM, "decision": "approve"}
        form = ann.post("/perennial/erasures", data=FORM)
        assert (form.status_code, '<button class="primary" disabled' in form.text) == (409, True)
        assert SECRET not in form.text
        assert ann.post("/perennial/erasures/decide", data=order).status_code == 409
        asked = {"erasures": {"user_ids": [SECRET]}, "erasures/decide": order}
        answers = [ann.post(f"/perennial/api/{path}", json=body) for path, body in asked.items()]
        answers.append(ann.post("/perennial/users/delete", json={"braze_ids": [SECRET]}))
        assert {answer.status_code for answer in answers} == {409}
        return [answer.json()["detail"] for answer in answers]

    def pause(is_paused: bool) -> None:
        with create_session() as session:
            session.get_one(DagModel, "erase_users").is_paused = is_paused

    pause(True)
    try:
        assert all("erase_users is paused" in said for said in refusals())
    finally:
        pause(False)
    (warehouse.settings.home / "erasure.key").unlink()
    assert all("bring it back from a backup" in said for said in refusals())
    assert list(open_states(warehouse)) == [ASKED_BY_PLATFORM]
