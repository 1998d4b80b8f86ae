"""The pages of users: found exactly, shown whole, and what is left out named with a way to get it back."""

from __future__ import annotations

import html
import json
import re
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl

import pytest
from pydantic import TypeAdapter

from perennial.exports.models import completeness_object
from perennial.exports.profile import read_profile
from perennial.moves import Run, expire_sources
from perennial.settings import Settings
from perennial.text import escape_invisible
from perennial.warehouse import Warehouse
from tests.exports.received_world import HOSTILE, NOW, PEOPLE, USERS
from tests.rows import append_hot, interaction
from tests.web.conftest import As
from tests.workspace import Workspace


@pytest.fixture
def settings(expired: Warehouse) -> Settings:
    return expired.settings


def as_json(value: Any) -> Any:
    return json.loads(TypeAdapter(Any).dump_json(value))


def platform_user(user_id: str) -> dict[str, Any]:
    """All the platform has of a user, null where it has nothing."""
    fields = ("email", "phone", "first_name", "last_name", "country", "language", "time_zone", "created_at")
    row = dict.fromkeys((*fields, "custom_attributes")) | {"withheld": False}
    row |= next(user for user in USERS if user["user_id"] == user_id)
    return dict(as_json(row))


@pytest.mark.long(but="ann|it's")
@pytest.mark.parametrize("user_id", PEOPLE)
def test_r16_the_answer_is_the_profile_whole_with_what_each_list_leaves_out(
    page: As, expired: Warehouse, user_id: str
) -> None:
    profile = read_profile(expired, user_id)
    answer = page("uma").get("/perennial/api/user", params={"id": user_id})
    assert answer.status_code == 200
    assert answer.json() == {
        "user": platform_user(user_id),
        "campaigns_received": as_json([asdict(campaign) for campaign in profile.campaigns_received]),
        "campaigns_completeness": as_json(completeness_object(profile.campaigns_completeness)),
        "canvas_messages_received": as_json([asdict(canvas) for canvas in profile.canvas_messages_received]),
        "canvases_completeness": as_json(completeness_object(profile.canvases_completeness)),
    }
    assert {source["source_id"] for source in answer.json()["campaigns_completeness"]["missing"]} == {"deleted", "old"}


def test_the_page_lists_newest_first_names_what_is_left_out_and_leads_to_its_restore(page: As) -> None:
    text = page("uma").get("/perennial/user?id=ann").text
    campaigns, canvases = text[text.index('id="campaigns"') :].split('id="canvases"')
    listed = re.findall(r'<th scope="row"><a href="/perennial/source\?([^"]*)"', campaigns)
    assert [dict(parse_qsl(query))["id"] for query in listed] == ["fresh", "spring", HOSTILE]
    assert "3 expired interactions of campaign &#39;old&#39; (since 1 Jun 2026)" in campaigns
    assert "deleted under the previous policy: campaign &#39;deleted&#39; (since 1 May 2023)" in campaigns
    assert '<a href="/perennial/restore?id=old">Restore 1 source</a>' in campaigns
    left_out = re.findall(r'<li><a href="/perennial/source\?id=([^"]*)"[^\n]*</a>, ([^\n]*)</li>', campaigns)
    assert left_out == [("old", "expired since 1 Jun 2026"), ("deleted", "deleted since 1 May 2023")]
    assert '<a href="/perennial/restore?id=old+journey">Restore 1 source</a>' in canvases
    assert "Hello</bdi> <small>1 Jan 2026, 01:03 UTC</small>" in canvases


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("ann", ["ann"]),
        ("customer-2", ["bob", "bob again"]),
        ("ann@example.com", ["ann"]),
        (HOSTILE, [HOSTILE]),
        ("ANN", []),
        ("an", []),
        ("%", []),
        ("nul\0", []),
    ],
)
def test_a_search_finds_who_has_exactly_that_id_or_address(page: As, wanted: str, found: list[str]) -> None:
    text = page("uma").get("/perennial/users", params={"q": wanted}).text
    links = re.findall(r'href="/perennial/user\?([^"]*)"', text)
    assert [dict(parse_qsl(html.unescape(link)))["id"] for link in links] == found
    answer = page("uma").get("/perennial/api/users", params={"q": wanted}).json()
    assert answer == {"users": [platform_user(user_id) for user_id in found], "more": False}


@pytest.mark.parametrize("user_id", ["ghost", "<b>", "nul\0", "'; DROP TABLE users; --", "\u202e" * 999])
def test_nobody_of_that_id_is_a_page_that_says_so(page: As, user_id: str) -> None:
    answer = page("uma").get("/perennial/user", params={"id": user_id}, headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert html.escape(f"No user {user_id!r} is known", quote=True) in answer.text.replace("&#34;", "&quot;").replace(
        "&#39;", "&#x27;"
    )
    problem = page("uma").get("/perennial/api/user", params={"id": user_id})
    assert (problem.status_code, problem.headers["content-type"]) == (404, "application/problem+json")


def test_an_id_is_needed_and_has_an_end(page: As) -> None:
    for query in ("", "?id=", f"?id={'x' * 10_000}"):
        assert page("uma").get(f"/perennial/api/user{query}").status_code == 422
    assert page("uma").get(f"/perennial/users?q={'x' * 10_000}").status_code == 422
    assert "for <bdi>" not in page("uma").get("/perennial/users").text


def test_hostile_text_is_shown_as_text(page: As) -> None:
    text = page("uma").get("/perennial/user", params={"id": HOSTILE}).text
    assert f"User {html.escape(escape_invisible(HOSTILE), quote=False)}" in text.replace("&#34;", '"').replace(
        "&#39;", "'"
    )
    assert "\u202e" not in text


def test_a_viewer_sees_what_was_received_and_nothing_of_the_person(page: As) -> None:
    seen = page("vic").get("/perennial/api/user?id=ann").json()
    whole = page("uma").get("/perennial/api/user?id=ann").json()
    personal = {"email", "phone", "first_name", "last_name", "custom_attributes", "withheld"}
    assert whole["user"]["email"] == "ann@example.com"
    assert {name for name, value in seen["user"].items() if value != whole["user"][name]} <= personal
    assert [seen["user"][name] for name in sorted(personal - {"withheld"})] == [None] * 5
    assert seen["user"]["withheld"]
    assert {**seen, "user": None} == {**whole, "user": None}
    for address in ("/perennial/user?id=ann", "/perennial/users?q=ann"):
        text = page("vic").get(address).text
        assert "shown to those who may export people" in text
        assert "ann@example.com" not in text
    [found] = page("vic").get("/perennial/api/users?q=ann").json()["users"]
    assert found == seen["user"]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(tmp_path_factory.mktemp("home"))}))
    warehouse.create_tables()
    workspace = Workspace(warehouse)
    sources = [f"n{number:02}" for number in range(51)]
    for source_id in sources:
        workspace.source(source_id)
    workspace.sync()
    user = {"external_user_id": "<i>shared</i>", "invalid_phone": False, "feature_flags": []}
    workspace.replace("users", [{**user, "user_id": f"u{number:02}"} for number in range(21)])
    append_hot(warehouse, [interaction(source_id, 0) for source_id in sources])
    assert len(expire_sources(warehouse, Run("r1", NOW)).sources) == len(sources)
    return warehouse


class TestMany:
    """More sources are left out, and more users share an id, than anybody would read."""

    @pytest.fixture
    def settings(self, many: Warehouse) -> Settings:
        return many.settings

    def test_more_than_fifty_sources_are_asked_for_by_what_they_have_in_common(self, page: As) -> None:
        text = page("uma").get("/perennial/user?id=u00").text
        [query] = re.findall(r'href="/perennial/restore\?([^"]*)">Restore 51 sources</a>', text)
        assert parse_qsl(html.unescape(query)) == [("kind", "campaign"), ("state", "expired"), ("all", "1")]
        assert "<details>" in text
        assert len(re.findall("<li>", text)) == 20
        assert "51 sources left out" in text
        assert 'And 31 more: <a href="/perennial/sources?kind=campaign&amp;state=expired">' in text

    def test_r16_a_program_pages_through_what_is_left_out(self, page: As) -> None:
        named: list[str] = []
        following: int | None = 0
        while following is not None:
            answer = page("uma").get(f"/perennial/api/user?id=u00&missing_limit=25&missing_from={following}").json()
            left_out = answer["campaigns_completeness"]
            assert (left_out["missing_count"], left_out["restorable_count"]) == (51, 51)
            named += [source["source_id"] for source in left_out["missing"]]
            following = left_out["missing_next"]
        assert named == [f"n{number:02}" for number in range(51)]
        exported = page("uma").post("/perennial/users/export/ids?missing_from=50", json={"braze_id": "u00"}).json()
        assert [source["source_id"] for source in exported["completeness"]["missing"]] == ["n50"]
        for refused in ("missing_from=-1", "missing_limit=0", "missing_limit=1001"):
            assert page("uma").get(f"/perennial/api/user?id=u00&{refused}").status_code == 422

    def test_a_search_shows_twenty_users_and_says_that_there_are_more(self, page: As) -> None:
        answer = page("uma").get("/perennial/api/users", params={"q": "<i>shared</i>"}).json()
        assert [user["user_id"] for user in answer["users"]] == [f"u{number:02}" for number in range(20)]
        assert answer["more"] is True
        text = page("uma").get("/perennial/users", params={"q": "<i>shared</i>"}).text
        assert "More than 20 users; these are the first 20 for <bdi>&lt;i&gt;shared" in text
