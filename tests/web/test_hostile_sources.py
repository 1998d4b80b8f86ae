"""The sources page over ids, names and tags made to break out of it, and over more sources than a page holds."""

from __future__ import annotations

import html
import re
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from perennial.settings import Settings
from perennial.text import escape_invisible
from perennial.warehouse import Warehouse
from tests.web.conftest import As
from tests.web.test_sources import HOSTILE, ids, ids_on
from tests.workspace import Workspace

# Ids of an older warehouse, by the name of their source: a sync refuses control characters.
CONTROLS = {"of three lines": "one\r\ntwo\nthree\r", "with a null": "nul\0id\ufdd0\x0b"}
# Names of which a reader sees nothing, by the id of their source.
BLANK = {"blank-1": "  ", "blank-2": "\u200d\ufe0f\u3164\u2800"}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Ids, names and tags made to break out, and enough sources for three pages."""
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(tmp_path_factory.mktemp("home"))}))
    warehouse.create_tables()
    workspace = Workspace(warehouse)
    for text in HOSTILE:
        workspace.source(text, "active", text, name=text)
    for name, source_id in CONTROLS.items():
        workspace.source(source_id, "active", source_id, name=name)
    for source_id, name in BLANK.items():
        workspace.source(source_id, "active", name=name)
    for number in range(100):
        workspace.source(f"n{number:03}", "active", "many")
    workspace.sync()
    return workspace


@pytest.fixture
def settings(hostile: Workspace) -> Settings:
    return hostile.warehouse.settings


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_any_text_is_shown_as_text_and_linked_to_itself(page: As, text: str) -> None:
    answer = page("vic").get("/perennial/sources", params={"tag": text})
    assert ids_on(answer.text) == [text]
    assert str(html.escape(escape_invisible(text), quote=False)) in answer.text.replace("&#34;", '"').replace(
        "&#39;", "'"
    )
    assert "<script>alert" not in answer.text
    assert "<img" not in answer.text
    [link] = [html.unescape(found) for found in re.findall(r'href="/perennial/source(\?[^"]*)"', answer.text)]
    assert parse_qsl(link[1:]) == [("id", text)]
    [(tag, title)] = re.findall(r'class="tag" href="([^"]*)" title="([^"]*)"', answer.text)
    assert html.unescape(title) == escape_invisible(text)
    assert ids_on(page("vic").get(html.unescape(tag)).text) == [text]


def test_a_search_takes_any_text_as_text(page: As) -> None:
    assert [ids(page, q=text) for text in HOSTILE] == [[text] for text in HOSTILE]


def test_pages_hold_fifty_and_none_is_shown_twice(page: As) -> None:
    address, found = "/perennial/sources?" + urlencode({"tag": "many", "order": "desc"}), []
    while address:
        text = page("vic").get(address).text
        found.append(ids_on(text))
        following = re.search(r'href="([^"]*)" rel="next"', text)
        address = html.unescape(following[1]) if following else ""
        assert (
            not address or dict(parse_qsl(urlsplit(address).query)).items() >= {"tag": "many", "order": "desc"}.items()
        )
    assert [len(part) for part in found] == [50, 50]
    assert [name for part in found for name in part] == [f"n{number:03}" for number in reversed(range(100))]


def test_long_ids_are_sent_in_the_body(page: As) -> None:
    assert '<form method="get" action="/perennial/restore"' in page("vic").get("/perennial/sources?tag=many").text
    text = page("vic").get("/perennial/sources", params={"q": "🌻" * 500}).text
    assert '<form method="post" action="/perennial/restore"' in text


@pytest.mark.parametrize("name", CONTROLS)
def test_an_id_with_control_characters_is_shown_with_its_escapes(page: As, name: str) -> None:
    text, source_id = page("vic").get("/perennial/sources", params={"q": name}).text, CONTROLS[name]
    assert text.count(f"<bdi>{html.escape(escape_invisible(source_id))}</bdi>") == 2
    opened = page("vic").get("/perennial/source", params={"id": source_id})
    assert opened.status_code == 200
    assert html.escape(escape_invisible(source_id)) in opened.text
    assert not set(opened.text) & set("\0\r\x0b")


@pytest.mark.parametrize("source_id", BLANK)
def test_a_source_whose_name_nobody_can_see_goes_by_its_id(page: As, source_id: str) -> None:
    listed = page("vic").get("/perennial/sources", params={"q": source_id}).text
    wanted = page("vic").get("/perennial/restore", params={"id": source_id}).text
    for text in (listed, wanted):
        assert re.search(f'href="/perennial/source[^"]*"><bdi>{source_id}</bdi></a>', text)
    assert f"<h1>{source_id}</h1>" in page("vic").get("/perennial/source", params={"id": source_id}).text


def test_tags_to_choose_from_stand_in_order_of_use(page: As) -> None:
    text = page("vic").get("/perennial/sources").text
    found = [html.unescape(tag) for tag in re.findall(r'<option value="([^"]*)">\d+ sources?<', text)]
    assert found[0] == "many"
    assert sorted(found[1:]) == sorted([*HOSTILE, *CONTROLS.values()])
