"""Holds and the next run on the page and for programs; a hold is recorded by a run of its DAG, in the user's name (R19)."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

import pytest

from perennial.operations import wall_clock
from perennial.policy.hold_requests import HoldRequest, place_hold
from perennial.policy.holds import standing_holds
from perennial.warehouse import Warehouse
from perennial_sample.in_process import run_dag
from tests.conftest import MadeOnce
from tests.rows import append_hot, interaction
from tests.web.conftest import As, eventually
from tests.web.restoring import forget_runs
from tests.workspace import Workspace

HOSTILE = "<img src=x onerror=alert(1)>"


def fill(warehouse: Warehouse) -> Workspace:
    workspace = Workspace(warehouse)
    for source_id in ("due", "other"):
        workspace.source(source_id, "stopped", "summer")
    workspace.sync()
    append_hot(warehouse, [interaction(source_id, number) for source_id in ("due", "other") for number in range(2)])
    place_hold(warehouse, HoldRequest("other", None, "ben", HOSTILE), wall_clock())
    return workspace


@pytest.fixture
def warehouse(made_once: MadeOnce) -> Warehouse:
    forget_runs()
    return made_once(fill).warehouse


def carry_out(dags: Mapping[str, Any], run_id: str) -> None:
    """Do what the queued run would do: its params are the run's."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        run = session.scalars(select(DagRun).where(DagRun.run_id == run_id)).one()
        assert (run.dag_id, run.triggering_user_name) == ("hold_sources", "uma")
        conf = run.conf
    run_dag(dags["hold_sources"], conf, None)


def test_r19_a_hold_is_placed_and_lifted_on_the_page_by_who_may(page: As, warehouse: Warehouse, dags: Any) -> None:
    uma = page("uma")
    text = uma.get("/perennial/source?id=due").text
    assert "<button>Hold it</button>" in text
    assert 'value="due"' in uma.get("/perennial/holds?id=due").text

    answer = uma.post("/perennial/holds", data={"source_id": "due", "until": "2099-10-01", "reason": "audit"})
    assert answer.status_code == 303
    pending = uma.get(answer.headers["location"]).text
    assert '<meta http-equiv="refresh" content="3">' in pending
    assert "It is being recorded" in pending
    carry_out(dags, re.search(r"run=(.*)", answer.headers["location"])[1].replace("%3A", ":").replace("%2B", "+"))  # type: ignore[index]

    (item,) = (each for each in uma.get("/perennial/api/holds").json() if each["source_id"] == "due")
    assert (item["until"], item["reason"], item["kept_count"]) == ("2099-10-01T00:00:00Z", "audit", 1)
    decision = uma.get("/perennial/api/source?id=due").json()["decision"]
    assert decision["decision"] == "held"
    assert f"hold {item['hold_id']} of" in decision["held_by"][0]
    listing = uma.get("/perennial/holds").text
    assert "1 Oct 2099" in listing
    assert HOSTILE not in listing
    eventually(lambda: "held: can expire on 1 Oct 2099" in uma.get("/perennial/sources").text)
    assert f"Hold {item['hold_id']} of" in uma.get("/perennial/source?id=due").text

    answer = uma.post("/perennial/api/holds", json={"lift": item["hold_id"]})
    carry_out(dags, answer.json()["run_id"])
    assert [hold.source_id for hold in standing_holds(warehouse)] == ["other"]


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ({"source_id": "duee", "reason": "audit"}, "'duee' is not a known source; did you mean 'due'?"),
        ({"tag": "winter", "reason": "audit"}, "'winter' is not a known tag"),
        ({"source_id": "due"}, "reason is empty; say why."),
        ({"source_id": "due", "reason": "a", "until": "2000-01-01"}, "which has passed"),
        ({"lift": "nothing"}, "'nothing' is not a hold"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_r19_what_cannot_be_held_is_said_above_the_form_and_starts_nothing(
    page: As, warehouse: Warehouse, order: dict[str, str], said: str
) -> None:
    answer = page("uma").post("/perennial/holds", data=order)
    assert answer.status_code == 400
    assert said in html.unescape(answer.text)
    program = page("uma").post("/perennial/api/holds", json=order)
    assert (program.status_code, said in program.json()["detail"]) == (400, True)


def test_a_viewer_sees_the_holds_and_why_there_is_no_button(page: As, warehouse: Warehouse) -> None:
    text = page("vic").get("/perennial/holds").text
    assert "Your role in Airflow lets you look, but not hold" in text
    assert "<button disabled" in text


def test_the_next_run_is_shown_with_what_is_new(page: As, warehouse: Warehouse) -> None:
    found = page("vic").get("/perennial/api/preview").json()
    assert [(each["source_id"], each["change"]) for each in found["changes"]] == [("due", "newly due")]
    text = page("vic").get("/perennial/preview").text
    assert "would move 1 source with 2 interactions to the archive" in text
    assert "Newly due: 1 source" in text
