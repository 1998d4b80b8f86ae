"""The sources page: what it lists, in which order, and what an address that is shared shows."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perennial.moves import Run, expire_sources
from perennial.operations import OperationRecord, write_pending
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.rows import append_hot, interaction
from tests.web.conftest import As
from tests.web.restoring import forget_runs, restore_dag_with
from tests.workspace import Workspace

NOW = datetime.now(UTC).replace(microsecond=0)
LONG_AGO = NOW - timedelta(days=400)
DELETED_AT = datetime(2023, 5, 1, tzinfo=UTC)
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>'",
    "a/b\\c/../d?e=f&g#h%2F",
    "שלום \u202eevil 🌻👩‍👩‍👧",
    "'; DROP TABLE listed_sources; --",
    "{{ 7 * 7 }} $id",
    "x" * 500,
    "🌻" * 500,
)
OFF = '<button class="primary" disabled data-refused aria-describedby="obstacle">'


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One source of every state, before anybody asks: the server lists anew only every few seconds."""
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(tmp_path_factory.mktemp("home"))}))
    warehouse.create_tables()
    workspace = Workspace(warehouse)
    soon, restored = NOW - timedelta(days=75), {"stopped_at": LONG_AGO}
    workspace.source("running", "active", "promo", "b", name="Álpha", last_sent_at=NOW)
    workspace.source("soon", "stopped", "promo", kind="canvas", name="beta", stopped_at=soon, last_sent_at=soon)
    workspace.source("draft", "draft", name="gamma", created_at=NOW, stopped_at=None)
    workspace.source("old", "stopped", name="Delta", **restored)
    workspace.source("coming", "archived", "promo", name="epsilon", **restored)
    workspace.source("gone", "archived", name="zeta", interaction_data_deleted_at=DELETED_AT)
    append_hot(
        warehouse,
        [
            interaction(name, n)
            for name, times in (("running", 5), ("soon", 2), ("old", 3), ("coming", 4))
            for n in range(times)
        ],
    )
    workspace.sync()
    expire_sources(warehouse, Run("r1", NOW))
    # Not NOW: that is when the tests were collected, and a restore that is silent for long is dead.
    stamp = datetime.now(UTC).isoformat()
    write_pending(warehouse, OperationRecord("restore", "m1", stamp, stamp, (), ("coming",)))
    return workspace


@pytest.fixture
def settings(listed: Workspace) -> Settings:
    return listed.warehouse.settings


def ids(page: As, **params: str) -> list[str]:
    """The ids that both the page and the JSON show."""
    answer = page("vic").get("/perennial/api/sources", params=params)
    assert answer.status_code == 200, answer.text
    found = [source["source_id"] for source in answer.json()["sources"]]
    shown_ids = ids_on(page("vic").get("/perennial/sources", params=params).text)
    assert shown_ids == found
    return found


def ids_on(text: str) -> list[str]:
    return [html.unescape(found) for found in re.findall(r'name="id" value="([^"]*)"', text)]


def test_each_row_says_where_the_data_is_and_how_much(page: As) -> None:
    answer = page("vic").get("/perennial/api/sources").json()
    rows = {source.pop("source_id"): source for source in answer.pop("sources")}
    assert answer.pop("obstacle").startswith("Your role in Airflow lets you look, but not restore")
    assert answer == {"total": 6, "page": 1, "pages": 1}
    assert {name: (row.pop("hot_rows"), row.pop("archived_rows")) for name, row in rows.items()} == {
        "running": (5, 0), "soon": (2, 0), "draft": (0, 0), "old": (0, 3), "coming": (0, 4), "gone": (0, 0)
    }  # fmt: skip
    sizes = {name: row.pop("total_bytes") for name, row in rows.items()}
    assert {name for name, size in sizes.items() if size} == {"running", "soon", "old", "coming"}
    since = {name: row.pop("since") for name, row in rows.items()}
    assert {moment(since[name]) for name in ("old", "coming")} == {NOW}
    assert moment(since["gone"]) == DELETED_AT
    assert NOW < moment(rows["soon"]["expires_at"]) < NOW + timedelta(days=30)
    for row in rows.values():
        row["expires_at"] = row["expires_at"] and moment(row["expires_at"]) > NOW
        row["last_sent_at"] = row["last_sent_at"] and moment(row["last_sent_at"])

    def row(**fields: Any) -> dict[str, Any]:
        return {
            "kind": "campaign",
            "vanished_at": None,
            "tags": [],
            "last_sent_at": None,
            "row_count": 0,
            "expires_at": None,
            "is_kept": False,
            "is_held": False,
            **fields,
        }

    assert rows == {
        "running": row(name="Álpha", status="active", state="available", tags=["b", "promo"], last_sent_at=NOW, row_count=5),
        "soon": row(name="beta", kind="canvas", status="stopped", state="available", tags=["promo"], last_sent_at=NOW - timedelta(days=75), row_count=2, expires_at=True),
        "draft": row(name="gamma", status="draft", state="available"),
        "old": row(name="Delta", status="stopped", state="expired", row_count=3),
        "coming": row(name="epsilon", status="archived", state="restoring", tags=["promo"], row_count=4),
        "gone": row(name="zeta", status="archived", state="deleted"),
    }  # fmt: skip


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_program_chooses_from_the_tags_that_the_page_offers(page: As) -> None:
    tags = page("vic").get("/perennial/api/tags").json()
    assert tags == [{"tag": "promo", "source_count": 3}, {"tag": "b", "source_count": 1}]


def test_the_page_says_each_state_in_words(page: As) -> None:
    text = page("vic").get("/perennial/sources").text
    badges = re.findall(r'<span class="badge \w+">([^<]*)</span>', text)
    since = f"expired since {NOW:%-d %b %Y}"
    assert sorted(badges) == sorted(["available"] * 3 + [since, "restoring", "deleted under the previous policy"])


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"q": "ELT"}, ["old"]),
        ({"q": "álph"}, ["running"]),
        ({"q": "OMIN"}, ["coming"]),
        ({"q": "%"}, []),
        ({"tag": "promo"}, ["soon", "coming", "running"]),
        ({"tag": "Promo"}, []),
        ({"kind": "canvas"}, ["soon"]),
        ({"status": "archived"}, ["coming", "gone"]),
        ({"state": "available"}, ["soon", "draft", "running"]),
        ({"state": "due"}, ["soon"]),
        ({"state": "expired"}, ["old"]),
        ({"state": "restoring"}, ["coming"]),
        ({"state": "deleted"}, ["gone"]),
        ({"tag": "promo", "kind": "campaign", "state": "available"}, ["running"]),
        (
            {"q": "", "tag": "", "kind": "", "status": "", "state": ""},
            ["soon", "old", "coming", "draft", "gone", "running"],
        ),
    ],
    ids=str,
)
def test_an_address_shows_what_it_selects(page: As, params: dict[str, str], found: list[str]) -> None:
    assert ids(page, **params) == found


@pytest.mark.parametrize(
    ("sort", "ascending"),
    [
        ("name", ["soon", "old", "coming", "draft", "gone", "running"]),
        ("kind", ["old", "coming", "draft", "gone", "running", "soon"]),
        ("status", ["running", "coming", "gone", "draft", "soon", "old"]),
        ("tags", ["running", "soon", "coming", "old", "draft", "gone"]),
        ("state", ["soon", "draft", "running", "gone", "old", "coming"]),
        ("last_sent", ["soon", "running", "old", "coming", "draft", "gone"]),
        ("interactions", ["draft", "gone", "soon", "old", "coming", "running"]),
    ],
)
def test_every_column_sorts_and_what_has_no_value_comes_last(page: As, sort: str, ascending: list[str]) -> None:
    assert ids(page, sort=sort) == ascending
    sources = page("vic").get("/perennial/api/sources", params={"sort": sort, "order": "desc"}).json()["sources"]
    key = {"last_sent": "last_sent_at", "interactions": "row_count"}.get(sort, sort)
    values = [value.lower() if isinstance(value := source[key], str) else value for source in sources]
    there = [value for value in values if value not in (None, [])]
    assert there == sorted(there, reverse=True)
    assert values[: len(there)] == there


def test_size_sorts_both_ways(page: As) -> None:
    assert ids(page, sort="size", order="desc")[4:] == ["draft", "gone"]
    assert ids(page, sort="size")[:2] == ["draft", "gone"]


def test_headers_say_the_order_and_lead_to_the_other_with_the_filters_kept(page: As) -> None:
    text = page("vic").get("/perennial/sources?tag=promo&sort=interactions").text
    [(said, address)] = re.findall(r'aria-sort="(\w+)"[^>]*>\s*<a href="([^"]*)"', text)
    assert said == "ascending"
    assert html.unescape(address) == "/perennial/sources?tag=promo&sort=interactions&order=desc"
    assert ids_on(page("vic").get(html.unescape(address)).text) == ["running", "coming", "soon"]


def test_all_that_match_are_named_and_handed_on_as_the_selection_itself(page: As) -> None:
    text = page("vic").get("/perennial/sources?tag=promo&kind=campaign").text
    form = text[text.index("data-select") :]
    assert "All that match: 2 sources with tag <bdi>promo</bdi>, campaign" in form
    assert re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form) == [
        ("tag", "promo"),
        ("kind", "campaign"),
    ]
    assert 'name="all" value="1"' in form


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("state=lost", 400, "state is 'lost'; give one of available, due, kept, expired, restoring, deleted, or leave it out."),
        ("kind=e-mail", 400, "kind is 'e-mail'; give one of campaign, canvas, or leave it out."),
        ("status=on", 400, "status is 'on'; give one of draft, active, stopped, archived, vanished, or leave it out."),
        ("sort=name;--", 400, "sort is 'name;--'; give one of name, kind, status, tags, state, last_sent, interactions, size."),
        ("order=up", 400, "order is 'up'; give one of asc, desc."),
        ("page=0", 422, "query.page: Input should be greater than or equal to 1"),
        ("page=one", 422, "query.page: Input should be a valid integer, unable to parse string as an integer"),
        (f"q={'x' * 1001}", 422, "query.q: String should have at most 1000 characters"),
    ],
)  # fmt: skip
def test_a_value_nobody_knows_is_refused_with_what_to_give(page: As, query: str, status: int, said: str) -> None:
    answer = page("vic").get(f"/perennial/api/sources?{query}")
    assert (answer.status_code, answer.json()["detail"]) == (status, said)
    assert page("vic").get(f"/perennial/sources?{query}").status_code == status


def test_a_page_beyond_the_last_says_so(page: As) -> None:
    text = page("vic").get("/perennial/sources?page=3").text
    assert 'There is no page 3; <a href="/perennial/sources?">the last is 1</a>.' in text
    answer = page("uma").get("/perennial/api/sources?page=3").json()
    assert answer == {"obstacle": "", "total": 6, "page": 3, "pages": 1, "sources": []}


def test_who_may_not_restore_learns_which_right_is_missing_before_the_click(page: As) -> None:
    text = page("vic").get("/perennial/sources").text
    assert "the right to trigger the DAG restore_interactions" in text
    assert OFF in text
    assert "disabled" not in page("uma").get("/perennial/sources").text


@pytest.mark.parametrize(
    ("change", "said"),
    [({"is_paused": True}, "is paused"), ({"is_stale": True}, "does not have"), ({"has_import_errors": True}, "cannot read")],
)  # fmt: skip
def test_a_dag_that_would_not_start_is_said_before_the_click(page: As, change: dict[str, bool], said: str) -> None:
    with restore_dag_with(**change):
        text = page("uma").get("/perennial/sources").text
    assert said in text
    assert OFF in text


def test_what_waits_for_its_restore_is_restoring(page: As) -> None:
    order = {"source_ids": ["old"], "notify": ["uma@example.com"]}
    assert page("uma").post("/perennial/api/restores", json=order).status_code == 202
    assert ids(page, state="restoring") == ["old", "coming"]
    forget_runs()
    assert ids(page, state="restoring") == ["coming"]


def test_the_root_leads_to_the_sources(page: As) -> None:
    assert page("vic").get("/perennial/").headers["location"] == "/perennial/sources"


class TestEmpty:
    @pytest.fixture
    def settings(self, tmp_path_factory: pytest.TempPathFactory) -> Settings:
        home = tmp_path_factory.mktemp("home")
        settings = Settings.from_environment({"PERENNIAL_HOME": str(home)})
        Warehouse(settings).create_tables()
        return settings

    def test_an_empty_workspace_says_where_sources_come_from(self, page: As) -> None:
        answer = page("vic").get("/perennial/sources")
        assert answer.status_code == 200
        assert "There are no sources yet" in answer.text
        assert "select.js" not in answer.text
        assert "No source matches" in page("vic").get("/perennial/sources?q=x").text
        answer = page("uma").get("/perennial/api/sources").json()
        assert answer == {"obstacle": "", "total": 0, "page": 1, "pages": 1, "sources": []}
