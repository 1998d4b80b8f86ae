"""The page of one source: its banner, why it is or is not expiring, its history, what it would miss."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode
from xml.etree import ElementTree

import pytest

from perennial.audiences.filters import FILTERS, FilterGroup
from perennial.moves import Run, expire_sources, restore_sources
from perennial.operations import OperationRecord, write_pending
from perennial.settings import Settings
from perennial.tables import SOURCE_DAILY_STATS
from perennial.text import escape_invisible
from perennial.warehouse import Warehouse
from perennial.web.charts import by_period
from perennial.web.keepers import DEEDS
from tests.rows import append_hot, interaction
from tests.web.conftest import As
from tests.web.restoring import forget_runs, restore_dag_with
from tests.web.test_sources import HOSTILE, OFF
from tests.workspace import Workspace, member, received

NOW = datetime.now(UTC).replace(microsecond=0)
LONG_AGO = NOW - timedelta(days=400)
DELETED_AT = datetime(2023, 5, 1, tzinfo=UTC)
# More than an address holds.
LONG_IDS = [f"{'é' * 900}{number}" for number in range(2)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A source of every state, and referrers of every hostile name that keep one."""
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(tmp_path_factory.mktemp("home"))}))
    warehouse.create_tables()
    workspace = Workspace(warehouse)
    for name in ("old", "kept", "coming", "canvas"):
        workspace.source(
            name, "stopped", "promo", stopped_at=LONG_AGO, kind="canvas" if name == "canvas" else "campaign"
        )
    for source_id in LONG_IDS:
        workspace.source(source_id, "stopped", stopped_at=LONG_AGO)
    workspace.source("needy", "stopped", kind="canvas")
    workspace.audience("canvas:needy", {"and": [received(source_id) for source_id in LONG_IDS]}, status="stopped")
    workspace.source("running", "active")
    workspace.source("gone", "archived", interaction_data_deleted_at=DELETED_AT)
    for text in (*HOSTILE, "a > segment:b > c"):
        workspace.source(text, "active", text, name=text)
        workspace.audience(f"campaign:{text}", member("s > 1"))
    workspace.audience("segment:s > 1", received("kept"))
    workspace.audience("canvas:canvas", {"and": [received("old"), {"not": received("gone")}]}, status="stopped")
    workspace.audience("canvas:canvas", member("nowhere"), status="stopped", part="step 1")
    append_hot(
        warehouse, [interaction(name, n) for name in ("old", "kept", "coming", "canvas", *LONG_IDS) for n in range(3)]
    )
    workspace.replace(SOURCE_DAILY_STATS.name, stats("old"))
    workspace.sync()
    expire_sources(warehouse, Run("r1", NOW, "ann <b>"))
    # Not NOW: that is when the tests were collected, and a restore that is silent for long is dead.
    stamp = datetime.now(UTC).isoformat()
    write_pending(warehouse, OperationRecord("restore", "m1", stamp, stamp, (), ("coming",)))
    return workspace


@pytest.fixture
def settings(world: Workspace) -> Settings:
    return world.warehouse.settings


def stats(source_id: str) -> list[dict[str, Any]]:
    return [
        {"source_id": source_id, "stat_date": date(2026, 1, day), "interaction": what, "channel": channel, "event_count": day}
        for day in (1, 3)
        for what, channel in (("received", "email"), ("received", "push"), ("opened", "email"))
    ]  # fmt: skip


def detail(page: As, source_id: str) -> dict[str, Any]:
    answer = page("vic").get("/perennial/api/source", params={"id": source_id})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def opened(page: As, source_id: str) -> str:
    answer = page("vic").get("/perennial/source", params={"id": source_id})
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.long
def test_expired_data_is_said_first_and_can_be_asked_back(page: As) -> None:
    text = opened(page, "old")
    assert f"The interaction data of this campaign expired on {NOW:%-d %b %Y}." in text
    assert "3 interactions are kept in long-term storage" in text
    form = text[text.index('action="/perennial/restore"') :]
    assert form[: form.index("</form>")].count('<input type="hidden" name="id" value="old">') == 1


@pytest.mark.long
def test_who_may_not_restore_reads_so_beside_a_button_that_is_off(page: As) -> None:
    for source_id, buttons in (("old", 1), ("canvas", 2)):
        text = opened(page, source_id)
        assert "the right to trigger the DAG restore_interactions" in text
        assert text.count(OFF) == buttons
        assert text.count('id="obstacle"') == 1
    assert "the right to trigger" not in opened(page, "gone")


def test_a_paused_dag_is_said_before_the_click(page: As) -> None:
    assert OFF not in page("uma").get("/perennial/source", params={"id": "old"}).text
    with restore_dag_with(is_paused=True):
        text = page("uma").get("/perennial/source", params={"id": "old"}).text
    assert "is paused" in text
    assert OFF in text


def test_deleted_data_is_said_and_nothing_is_offered(page: As) -> None:
    text = opened(page, "gone")
    assert "deleted under the previous policy on 1 May 2023" in text
    assert 'action="/perennial/restore"' not in text


def test_a_restore_under_way_is_said_and_nothing_is_offered(page: As) -> None:
    text = opened(page, "coming")
    assert "is being restored at this moment" in text
    assert 'action="/perennial/restore"' not in text


def test_a_restore_under_way_leads_to_its_progress(page: As) -> None:
    forget_runs()
    order = {"source_ids": ["old"], "notify": ["uma@example.com"]}
    run_id = page("uma").post("/perennial/api/restores", json=order).json()["run_id"]
    assert f'<a href="/perennial/restores/run?{urlencode({"id": run_id})}">Show its progress</a>' in opened(page, "old")
    forget_runs()
    assert '<a href="/perennial/restores">Show its progress</a>' in opened(page, "coming")


def test_available_data_has_no_banner(page: As) -> None:
    assert 'class="note' not in opened(page, "running")


def test_the_decision_is_the_policys_own(page: As) -> None:
    found = detail(page, "kept")
    decision = found["decision"]
    paths = [
        f"campaign:{text} > segment:s > 1 > received_message_from_campaign" for text in (*HOSTILE, "a > segment:b > c")
    ]
    assert sorted(decision.pop("referenced_by")) == sorted(paths)
    assert decision.pop("decision") == "referenced"
    assert decision.pop("reason")
    assert datetime.fromisoformat(decision.pop("clock_started_at")) == LONG_AGO
    assert datetime.fromisoformat(decision.pop("expires_at")) < NOW
    assert decision.pop("clock_started_by") == "stopped"
    assert decision.pop("held_by") == []
    assert not decision
    assert found["undecided"] == ""
    assert detail(page, "running")["decision"]["decision"] == "active"


@pytest.mark.long
def test_every_referrer_is_a_link_to_its_own_page(page: As) -> None:
    text = opened(page, "kept")
    kept = text[text.index('id="keepers"') : text.index("</ul>", text.index('id="keepers"'))]
    links = [html.unescape(link) for link in re.findall(r'<a href="([^"]*)"', kept)]
    assert sorted(dict(parse_qsl(link.partition("?")[2]))["id"] for link in links) == sorted(
        (*HOSTILE, "a > segment:b > c")
    )
    assert {page("vic").get(link).status_code for link in links} == {200}
    found = "targets people who received it (through the segment <bdi>segment:s &gt; 1</bdi>)</li>"
    assert kept.count(found) == len(links)
    assert "Kept because:" in kept


@pytest.mark.long
def test_each_source_says_in_a_sentence_when_it_expires_or_why_not(page: As) -> None:
    ended = f"{LONG_AGO:%-d %b %Y}"
    said = {
        "old": "Its interactions are in long-term storage until somebody restores them or it is active again.",
        "running": "It does not expire while it is active.",
        "gone": "Its interactions were deleted under the previous policy and cannot be restored.",
        "coming": "A restore is bringing its interactions back. Until it has ended, none of them expire.",
    }
    for source_id, sentence in said.items():
        assert f'<p id="verdict">{sentence}</p>' in opened(page, source_id)
    (kept,) = re.findall(r'<p id="verdict">([^<]*)</p>', opened(page, "kept"))
    assert re.fullmatch(rf"It could have expired on \d+ \w+ \d{{4}}, 3 months after it was stopped on {ended}\.", kept)


@pytest.mark.long
def test_every_date_of_a_page_has_one_form(page: As) -> None:
    for source_id in ("old", "kept", "running", "gone", "canvas"):
        words = re.sub(r"<code>[^<]*</code>|<[^>]*>", "", opened(page, source_id))
        assert not re.search(r"\d{4}-\d{2}-\d{2}", words), source_id


def test_every_filter_that_keeps_a_source_has_its_words() -> None:
    assert DEEDS.keys() == {name for name, declared in FILTERS.items() if declared.group is FilterGroup.SOURCE}


@pytest.mark.long(but="^0$")
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_any_text_is_shown_as_text(page: As, text: str) -> None:
    content = opened(page, text)
    assert f"<h1>{html.escape(escape_invisible(text))}</h1>" in content.replace("&#34;", "&quot;").replace(
        "&#39;", "&#x27;"
    )
    assert "<script>alert" not in content
    assert "<img src=x" not in content
    assert detail(page, text)["source_id"] == text
    images = [html.unescape(found) for found in re.findall(r'<img [^>]*src="([^"]*)"', content)]
    assert {page("vic").get(image).status_code for image in images} <= {200}


def test_history_stands_latest_first_with_who_and_why(page: As) -> None:
    [event] = detail(page, "old")["history"]
    assert event.pop("total_bytes") > 0
    assert event.pop("reason")
    assert datetime.fromisoformat(event.pop("occurred_at")) == NOW
    assert event == {"event": "expired", "row_count": 3, "file_count": 1, "requested_by": "ann <b>", "run_id": "r1"}
    assert "ann &lt;b&gt;" in opened(page, "old")
    assert "Its interaction data has never been moved." in opened(page, "running")


def test_the_resume_check_names_what_is_missing_and_offers_all_of_it_at_once(page: As) -> None:
    resume = detail(page, "canvas")["resume"]
    missing = [(one["part"], one["source_id"], one["state"], one["effects"]) for one in resume["missing"]]
    assert missing == [("audience", "gone", "deleted", ["widens"]), ("audience", "old", "expired", ["narrows"])]
    assert [problem["part"] for problem in resume["problems"]] == ["step 1"]
    assert (resume["ready"], resume["restorable"]) == (False, ["canvas", "old"])
    text = opened(page, "canvas")
    last = text[text.rindex('action="/perennial/restore"') :]
    assert re.findall(r'name="id" value="([^"]*)"', last[: last.index("</form>")]) == ["canvas", "old"]
    assert "Restore all it needs (2 sources)" in last


def test_more_ids_than_an_address_holds_go_in_few_fields(page: As) -> None:
    text = opened(page, "needy")
    last = text[text.rindex('<form method="post" action="/perennial/restore"') :]
    (field,) = re.findall(r'<input type="hidden" name="ids" value="([^"]*)">', last)
    assert json.loads(html.unescape(field)) == LONG_IDS


def test_daily_analytics_are_a_chart_and_the_same_figures(page: As) -> None:
    assert detail(page, "old")["daily"] == [
        {"stat_date": f"2026-01-0{day}", "interaction": what, "event_count": day * count}
        for day in (1, 3)
        for what, count in (("opened", 1), ("received", 2))
    ]
    text = opened(page, "old")
    rows = re.findall(
        r'<th scope="row">([^<]*2026)</th><td class="number">(\d+)</td><td class="number">(\d+)</td>', text
    )
    assert rows == [("3 Jan 2026", "3", "6"), ("1 Jan 2026", "1", "2")]
    for theme in ("light", "dark"):
        image = page("vic").get(f"/perennial/charts/source.svg?id=old&theme={theme}")
        assert image.headers["content-type"] == "image/svg+xml"
        assert "script" not in image.headers["content-security-policy"]
        drawing = ElementTree.fromstring(image.text)
        assert not [found for found in drawing.iter() if str(found.tag).endswith("script")]
        assert {"opened", "received"} <= set(drawing.itertext())
    assert page("vic").get("/perennial/charts/source.svg?id=old&theme=red").status_code == 422


def test_a_source_without_counts_has_an_empty_chart(page: As) -> None:
    assert "No interactions have been counted." in opened(page, "running")
    image = page("vic").get("/perennial/charts/source.svg?id=running")
    assert "Nothing yet" in ElementTree.fromstring(image.text).itertext()


@pytest.mark.parametrize(
    ("first", "last", "labels", "ends"),
    [
        (date(2026, 2, 27), date(2026, 3, 1), 3, ("2026-02-27", "2026-03-01")),
        (date(2025, 1, 1), date(2026, 2, 4), 400, ("2025-01-01", "2026-02-04")),
        (date(2025, 1, 1), date(2026, 2, 5), 14, ("2025-01", "2026-02")),
        (date(1, 1, 1), date(9999, 12, 31), 9999, ("0001", "9999")),
    ],
)
def test_long_times_are_drawn_by_month_or_year(first: date, last: date, labels: int, ends: tuple[str, str]) -> None:
    found, series = by_period([(last, "opened", 2), (first, "opened", 1), (first, "opened", 1)])
    assert (len(found), (found[0], found[-1])) == (labels, ends)
    assert series == {"opened": [2, *[0] * (labels - 2), 2]}


def test_an_id_nobody_has_is_not_found(page: As) -> None:
    for address in ("/perennial/source", "/perennial/api/source", "/perennial/charts/source.svg"):
        answer = page("vic").get(address, params={"id": "no/such <b>"})
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        assert "'no/such <b>' is not a known source" in answer.json()["detail"]
    text = page("vic").get("/perennial/source?id=%3Cb%3E", headers={"Accept": "text/html"}).text
    assert "&#39;&lt;b&gt;&#39; is not a known source" in text
    assert page("vic").get("/perennial/source").status_code == 422


# --- what changes it --------------------------------------------------------------------------------------------------


class TestChanges:
    @pytest.fixture
    def settings(self, tmp_path_factory: pytest.TempPathFactory) -> Settings:
        home = tmp_path_factory.mktemp("home")
        return Settings.from_environment({"PERENNIAL_HOME": str(home), "PERENNIAL_LANDING_SETTLE_SECONDS": "0"})

    @pytest.fixture
    def workspace(self, warehouse: Warehouse) -> Workspace:
        workspace = Workspace(warehouse)
        workspace.source("old", "stopped", stopped_at=LONG_AGO)
        append_hot(warehouse, [interaction("old", n) for n in range(3)])
        workspace.replace(SOURCE_DAILY_STATS.name, stats("old"))
        workspace.sync()
        return workspace

    def test_r15_daily_analytics_are_the_same_before_an_expiry_after_it_and_after_a_restore(
        self, page: As, workspace: Workspace
    ) -> None:
        def found() -> tuple[list[Any], list[str]]:
            chart = page("vic").get("/perennial/charts/source.svg?id=old").text
            # What differs between two drawings of the same figures is the chart's own random id.
            return detail(page, "old")["daily"], list(ElementTree.fromstring(chart).itertext())[1:]

        before = found()
        expire_sources(workspace.warehouse, Run("r1", NOW))
        after = found()
        restore_sources(workspace.warehouse, {"source_ids": ["old"], "notify": ["ann@example.com"]}, Run("r2", NOW))
        assert before[0] == after[0] == found()[0] != []
        drawn = [[text for text in texts if "chart-" not in text] for _, texts in (before, after, found())]
        assert drawn[0] == drawn[1] == drawn[2]

    def test_what_cannot_be_decided_is_said_on_the_page(self, page: As, workspace: Workspace) -> None:
        workspace.audience("card:running", "{broken <b>")
        workspace.sync()
        text = opened(page, "old")
        assert "Nothing can be decided at the moment, so nothing expires." in text
        assert "owner_kind has the value" in detail(page, "old")["undecided"]
        assert detail(page, "old")["decision"] is None

    def test_what_cannot_be_read_is_said_to_keep_a_source(self, page: As, workspace: Workspace) -> None:
        workspace.audience("campaign:running", {"filter": "new <b>", "campaign_id": "old"})
        workspace.sync()
        decision = detail(page, "old")["decision"]
        assert (decision["decision"], decision["referenced_by"]) == (
            "referenced", ["campaign:running > unknown filter new <b>"],
        )  # fmt: skip
        text = re.sub(r"<[^>]*>", "", opened(page, "old"))
        assert "Kept because the active campaign campaign:running may use it: its audience cannot be read." in text

    @pytest.mark.parametrize(
        ("definition", "targets"),
        [
            (received("old"), "targets people who received it"),
            ({"not": received("old")}, "leaves out people who received it"),
            ({"or": [received("old"), {"not": received("old")}]}, "depends on which people received it"),
            (
                {"filter": "in_campaign_control_group", "campaign_id": "old"},
                "targets people who were in its control group",
            ),
        ],
        ids=["in", "out", "both", "another filter"],
    )
    def test_a_marketer_reads_which_campaign_keeps_it_and_how(
        self, page: As, workspace: Workspace, definition: Any, targets: str
    ) -> None:
        workspace.source("gift", "active", name="Gift guide")
        workspace.audience("campaign:gift", definition)
        workspace.sync()
        assert (
            '<p id="keepers">Kept because the active campaign <a href="/perennial/source?id=gift"><bdi>Gift guide</bdi></a> '
            f"{targets}.</p>"
        ) in opened(page, "old")

    def test_runs_that_airflow_has_are_links(self, page: As, workspace: Workspace) -> None:
        from airflow.api.common.trigger_dag import trigger_dag
        from airflow.utils.types import DagRunTriggeredByType

        run = trigger_dag("expire_interactions", triggered_by=DagRunTriggeredByType.TEST, run_id="by_hand+1:2")
        assert run is not None
        expire_sources(workspace.warehouse, Run(run.run_id, NOW))
        assert [event["run_id"] for event in detail(page, "old")["history"]] == [run.run_id]
        address = f"/dags/expire_interactions/runs/{quote(run.run_id, safe='')}"
        assert f'<a href="{address}" data-airflow>' in opened(page, "old")
