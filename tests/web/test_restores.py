"""Restores through the page: what is said before the click, and what the click starts."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest
from fastapi.testclient import TestClient

from perennial.settings import Settings
from perennial.warehouse import Warehouse
from perennial.web.restore_preview import ExpiringAgain
from tests.web.conftest import As
from tests.web.restoring import HOSTILE, ORDER, expired_workspace, forget_runs, form, hand_on, restore_dag_with, runs

FEBRUARY = datetime(2027, 2, 28, 4, tzinfo=UTC)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A workspace that nothing is moved in."""
    home = tmp_path_factory.mktemp("home")
    settings = Settings.from_environment({"PERENNIAL_HOME": str(home)})
    warehouse = Warehouse(settings)
    warehouse.create_tables()
    expired_workspace(warehouse)
    return settings


@pytest.fixture
def uma(page: As) -> Iterator[TestClient]:
    """Somebody who may restore."""
    forget_runs()
    yield page("uma")
    forget_runs()


def test_before_the_click_the_page_says_what_comes_back_and_what_cannot(uma: TestClient) -> None:
    ids = ["old", "older", "running", "never", "gone"]
    answer = uma.get("/perennial/api/restore", params={"id": ids})
    preview = answer.json()
    outcomes = {source["source_id"]: source["outcome"] for source in preview["sources"]}
    assert outcomes == {
        "old": "restored",
        "older": "restored",
        "running": "already available",
        "never": "never had data",
        "gone": "deleted under the previous policy",
    }
    assert (preview["source_count"], preview["row_count"]) == (2, 60)
    assert preview["total_bytes"] > 0
    assert preview["expected"] == (
        "Probably 10 seconds to 1 minute. No restore of about that size has been measured yet."
    )
    assert (preview["expected_seconds"], preview["expected_from_runs"]) == ([10, 60], 0)
    assert (preview["thaw"], preview["refusal"]) == ("", "")
    text = uma.get("/perennial/restore", params={"id": ids}).text
    for said in (
        "2 sources",
        "60",
        "No restore of about that size has been measured yet",
        "Already available",
        "Deleted under",
    ):
        assert said in text
    assert "disabled" not in text


def test_a_click_starts_one_run_for_all_sources_in_the_users_name_and_the_audit_log_has_it(uma: TestClient) -> None:
    from airflow.models.log import Log
    from airflow.utils.session import create_session
    from sqlalchemy import select

    fields = form(uma.get("/perennial/restore", params={"id": ["old", HOSTILE]}).text)
    reason = "<script>alert('é🎈\u202e')</script>"
    answer = uma.post(
        "/perennial/restores", data={**fields, "notify": "uma@example.com\r\nann@example.com", "reason": reason}
    )
    (run,) = runs()
    assert answer.status_code == 303
    assert (run.state, run.triggering_user_name) == ("queued", "uma")
    assert run.conf == {
        "source_ids": ["old", HOSTILE],
        "tags": [],
        "notify": ["uma@example.com", "ann@example.com"],
        "reason": reason,
    }
    with create_session() as session:
        log = session.scalars(select(Log).where(Log.run_id == run.run_id)).one()
    assert (log.event, log.owner, log.dag_id) == ("trigger_dag_run", "uma", "restore_interactions")
    progress = uma.get(answer.headers["location"]).text
    assert "Queued" in progress
    assert "<script>alert" not in progress
    assert "<img" not in progress
    assert html.escape(reason.replace("\u202e", "\\u202e")).replace("&#x27;", "&#39;") in progress
    listed = uma.get("/perennial/restores").text
    assert "<script>alert" not in listed
    assert uma.get("/perennial/api/restores").json()[0]["reason"] == reason


def test_a_paused_dag_is_said_before_the_click_and_nothing_is_started(uma: TestClient) -> None:
    with restore_dag_with(is_paused=True):
        page = uma.get("/perennial/restore", params={"id": "old"}).text
        answer = uma.post("/perennial/api/restores", json=ORDER)
        listed = uma.get("/perennial/restores").text
    assert "is paused" in page
    assert '<button class="primary" disabled' in page
    assert "is paused" in listed
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert "unpause it" in answer.json()["detail"]
    assert len(runs()) == 0


@pytest.mark.parametrize(
    ("change", "said"), [({"is_stale": True}, "does not have"), ({"has_import_errors": True}, "cannot read")]
)
def test_a_missing_or_broken_dag_is_said_before_the_click(uma: TestClient, change: dict[str, bool], said: str) -> None:
    with restore_dag_with(**change):
        page = uma.get("/perennial/restore", params={"id": "old"}).text
        answer = uma.post("/perennial/api/restores", json=ORDER)
    assert said in page
    assert answer.status_code == 409
    assert len(runs()) == 0


def test_a_run_that_waits_because_the_dag_was_paused_later_says_so(uma: TestClient) -> None:
    address = uma.post("/perennial/api/restores", json=ORDER).json()["progress_url"]
    with restore_dag_with(is_paused=True):
        assert "is paused" in uma.get(address).json()["error"]
    assert uma.get(address).json()["error"] == ""


def test_a_run_that_is_dated_in_the_future_says_so_and_keeps_nobody_from_asking(uma: TestClient) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import update

    ahead = datetime.now(UTC) + timedelta(days=400)
    hung = uma.post("/perennial/api/restores", json=ORDER).json()
    with create_session() as session:
        session.execute(
            update(DagRun).where(DagRun.run_id == hung["run_id"]).values(logical_date=ahead, state="running")
        )

    assert f"dated {ahead:%-d %b %Y}" in uma.get(hung["progress_url"]).json()["error"]
    assert uma.post("/perennial/api/restores", json=ORDER).status_code == 202
    assert len(runs()) == 2


def test_a_second_request_for_the_same_sources_is_refused_and_leads_to_the_first(uma: TestClient) -> None:
    run_id = uma.post("/perennial/api/restores", json=ORDER).json()["run_id"]
    again = uma.post("/perennial/api/restores", json={**ORDER, "source_ids": [], "tags": ["promo"]})
    assert again.status_code == 409
    assert again.json()["run_ids"] == [run_id]
    assert "'old' is already under way" in again.json()["detail"]
    assert "the other 2" in again.json()["detail"]
    page = uma.get("/perennial/restore", params={"tags": "promo"}).text
    assert "A restore that is under way" in page
    # The click asks for the others, by name.
    fields = form(page)
    assert fields["tags"] == []
    assert {id_ for field in fields["source_ids"] for id_ in json.loads(field)} == {"older", HOSTILE, "running"}
    same = uma.post("/perennial/restores", data={"source_ids": '["old"]', "notify": "a@example.com"})
    assert same.status_code == 409
    assert "already under way" in same.text
    assert "/perennial/restores/run?id=" in same.text
    assert len(runs()) == 1


def test_what_a_queued_request_by_tag_means_is_under_way_too(uma: TestClient) -> None:
    uma.post("/perennial/api/restores", json={**ORDER, "source_ids": [], "tags": ["promo"]})
    assert uma.post("/perennial/api/restores", json=ORDER).status_code == 409


def test_a_run_whose_notes_were_cleared_away_is_still_under_way(uma: TestClient) -> None:
    run_id = uma.post("/perennial/api/restores", json=ORDER).json()["run_id"]
    hand_on("check_request", run_id, "file:///nowhere/request.json")
    listed = uma.get("/perennial/api/sources", params={"state": "restoring"})
    assert listed.status_code == 200
    assert [source["source_id"] for source in listed.json()["sources"]] == ["old"]
    assert uma.post("/perennial/api/restores", json=ORDER).json()["run_ids"] == [run_id]


@pytest.mark.parametrize("address", ["/sources", "/restores", "/restores/run", "/api/restores", "/api/restores/run"])
def test_a_run_that_somebody_started_with_half_a_character_takes_no_page_down(uma: TestClient, address: str) -> None:
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.utils.types import DagRunTriggeredByType

    conf = {"source_ids": ["\ud800", "old"], "tags": ["\udfff"], "notify": ["a@example.com"], "reason": "\ud800 why"}
    run = trigger_dag("restore_interactions", triggered_by=DagRunTriggeredByType.CLI, conf=conf)
    assert run is not None
    answer = uma.get(f"/perennial{address}", params={"id": run.run_id})
    assert (answer.status_code, answer.text.count("? why")) == (200, 0 if address == "/sources" else 1)


@pytest.mark.parametrize(
    ("change", "status", "named"),
    [
        ({"notify": ["nobody"]}, 400, "'nobody'"),
        ({"notify": []}, 400, "notify is empty"),
        ({"source_ids": []}, 400, "source_ids and tags are both empty"),
        ({"source_ids": ["old", "nix\u202e"], "tags": ["none"]}, 400, "'none' is not a known tag"),
        ({"source_ids": ["gone"]}, 400, "deleted under the previous policy"),
        ({"source_ids": ["running"]}, 409, "already available"),
        ({"source_ids": [""]}, 422, "body.source_ids.0"),
        ({"source_ids": "old"}, 422, "body.source_ids"),
        ({"sources": ["old"]}, 422, "body.sources"),
        ({"reason": "x" * 2_001}, 422, "body.reason"),
        ({"reason": "\x00"}, 422, "body.reason"),
        ({"all": {"state": "gone"}}, 400, "state is 'gone'"),
        ({"all": {"q": "nothing"}}, 400, "No source matches"),
    ],
    ids=str,
)
def test_a_request_that_cannot_be_done_names_what_is_wrong_and_starts_nothing(
    uma: TestClient, change: dict[str, Any], status: int, named: str
) -> None:
    answer = uma.post("/perennial/api/restores", json={**ORDER, **change})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert named in answer.json()["detail"]
    assert len(runs()) == 0


@pytest.mark.parametrize(
    ("notify", "more", "max_bytes", "said"),
    [
        ("<b>me</b>", "", "5", "is not an e-mail address"),
        ("a@example.com " * 51, "", "5", "notify: List should have at most 50 items after validation, not 51."),
        ("a@example.com", "x" * 2_000, "5", "reason: String should have at most 2000 characters."),
        ("a@example.com", "", "-1", "max_bytes: Input should be greater than or equal to 0."),
    ],
    ids=["no address", "too many addresses", "too long a reason", "no size"],
)
def test_what_is_wrong_in_the_form_is_said_above_it_and_what_was_typed_is_kept(
    uma: TestClient, notify: str, more: str, max_bytes: str, said: str
) -> None:
    reason = f"{more}why </textarea><b>not</b>"
    data = {"source_ids": '["old"]', "notify": notify, "reason": reason, "max_bytes": max_bytes}
    answer = uma.post("/perennial/restores", data=data)
    assert answer.status_code == 400
    assert said in answer.text
    assert f"{html.escape(notify.strip())}</textarea>" in answer.text
    assert f"{more}why &lt;/textarea&gt;&lt;b&gt;not&lt;/b&gt;</textarea>" in answer.text
    assert f'name="max_bytes" min="0" step="1" value="{max_bytes}"' in answer.text
    assert "<b>" not in answer.text
    assert len(runs()) == 0


def test_a_reason_of_many_lines_may_be_as_long_as_the_form_lets_one_type(uma: TestClient) -> None:
    typed = "\n".join("x" * 9 for _ in range(200))
    data = {"source_ids": '["old"]', "notify": "a@example.com\r\nb@example.com", "reason": typed.replace("\n", "\r\n")}
    data |= {"max_bytes": "1000", "max_cost": ""}
    assert uma.post("/perennial/restores", data=data).status_code == 303
    (run,) = runs()
    assert (run.conf["reason"], run.conf["notify"]) == (typed, ["a@example.com", "b@example.com"])
    assert (run.conf["max_bytes"], "max_cost" in run.conf) == (1000, False)


def test_many_long_ids_are_handed_on_in_fields_that_a_form_may_have(uma: TestClient) -> None:
    ids = [f"{'é' * 497}{number}" for number in range(100, 600)]
    fields = form(uma.post("/perennial/restore", data={"ids": [json.dumps([source_id]) for source_id in ids]}).text)
    assert [source_id for field in fields["source_ids"] for source_id in json.loads(field)] == ids
    answer = uma.post("/perennial/restores", data={**fields, "notify": "a@example.com"})
    assert "are not known sources" in answer.text
    assert len(runs()) == 0


@pytest.mark.parametrize("sources", ["old", "[1]", '["\\ud800"]', '[""]'])
def test_a_form_that_was_tampered_with_is_refused(uma: TestClient, sources: str) -> None:
    answer = uma.post("/perennial/restores", data={"source_ids": sources, "notify": "a@example.com"})
    assert answer.status_code == 400
    assert "is not a JSON list of strings" in answer.json()["detail"]


def test_all_that_match_are_asked_for_and_those_with_a_tag_by_the_tag(uma: TestClient) -> None:
    expired = form(uma.get("/perennial/restore", params={"all": "1", "state": "expired"}).text)
    assert [json.loads(field) for field in expired["source_ids"]] == [sorted(["old", "older", HOSTILE])]
    tagged = form(uma.post("/perennial/restore", data={"all": "1", "tag": "promo"}).text)
    assert tagged == {"source_ids": [], "tags": ['["promo"]']}
    # The expired ones with a tag are what a restore by that tag brings back.
    both = form(uma.post("/perennial/restore", data={"all": "1", "tag": "promo", "state": "expired"}).text)
    assert both == tagged
    data = {**both, "notify": "uma@example.com"}
    assert uma.post("/perennial/restores", data=data).status_code == 303
    listed = re.sub(r"\s+", " ", uma.get("/perennial/restores").text)
    assert "<td> tag <bdi>promo</bdi> </td>" in listed
    forget_runs()
    started = uma.post("/perennial/api/restores", json={"all": {"q": "OLD"}, "notify": ["uma@example.com"]})
    assert started.status_code == 202
    assert set(runs()[0].conf["source_ids"]) == {"old", "older", HOSTILE}


def test_the_confirmation_says_when_the_data_will_expire_again(uma: TestClient, settings: Settings) -> None:
    restored = datetime.now(UTC)
    with duckdb.connect() as connection:
        (again,) = connection.execute(
            "SELECT $1::TIMESTAMP + INTERVAL 3 MONTH", [restored.replace(tzinfo=None)]
        ).fetchall()[0]
    text = uma.get("/perennial/restore", params={"id": "old"}).text
    assert f"Nothing is shown until everything is back. It will expire again on {again:%-d %b %Y}, unless" in text
    many = uma.get("/perennial/restore", params={"id": ["old", "older"]}).text
    assert f"They will expire again on {again:%-d %b %Y}, unless" in many
    preview = uma.get("/perennial/api/restore", params={"id": "old"}).json()
    assert datetime.fromisoformat(preview["expires_at"]).date() == again.date()
    assert uma.get("/perennial/api/restore", params={"id": "running"}).json()["expires_at"] is None


@pytest.mark.parametrize(
    ("again", "sentence"),
    [
        ((1, None, None, 1), "It does not expire while it is active."),
        ((3, None, None, 3), "They do not expire while they are active."),
        (
            (2, FEBRUARY, FEBRUARY, 1),
            "They will expire again on 28 Feb 2027, unless they are active or used by an active audience then. 1 source is "
            "active and does not expire until stopped.",
        ),
        (
            (9, FEBRUARY, FEBRUARY + timedelta(days=1), 0),
            "They will expire again between 28 Feb 2027 and 1 Mar 2027, unless they are active or used by an active audience "
            "then.",
        ),
    ],
    ids=["one active", "all active", "some active", "two days"],
)
def test_sources_that_come_back_expire_again_or_are_active(again: tuple[Any, ...], sentence: str) -> None:
    assert ExpiringAgain(*again).sentence == sentence


def test_a_restore_of_one_source_is_listed_under_its_name(uma: TestClient) -> None:
    assert uma.post("/perennial/api/restores", json=ORDER).status_code == 202
    listed = uma.get("/perennial/restores").text
    (address,) = re.findall(r'href="(/perennial/restores/run[^"]*)"', listed)
    for text in (listed, uma.get(html.unescape(address)).text):
        assert "<bdi>Name of old</bdi>" in text


def test_unknown_ids_are_named_on_the_page_and_the_button_is_off(uma: TestClient) -> None:
    page = uma.get("/perennial/restore", params={"id": ["old", "<nobody>"]}).text
    assert "&lt;nobody&gt;" in page
    assert '<button class="primary" disabled' in page


def test_nothing_chosen_and_an_unknown_run_are_problems(uma: TestClient) -> None:
    assert uma.get("/perennial/restore").status_code == 400
    missing = uma.get("/perennial/api/restores/run", params={"id": HOSTILE[:200]})
    assert (missing.status_code, missing.json()["title"]) == (404, "Not Found")


def test_an_archive_that_must_thaw_says_how_long_that_takes(
    uma: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERENNIAL_ARCHIVE_STORAGE_CLASS", "DEEP_ARCHIVE")
    assert "12 hours" in uma.get("/perennial/restore", params={"id": "old"}).text


def test_a_viewer_sees_what_would_come_back_but_not_a_button_that_works(page: As, uma: TestClient) -> None:
    text = page("vic").get("/perennial/restore", params={"id": "old"}).text
    assert "Your role in Airflow" in text
    assert '<button class="primary" disabled' in text
