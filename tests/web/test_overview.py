"""The overview: what is held over time, what expires soon, how long restores took, as charts and as figures."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from fastapi.testclient import TestClient

from perennial.drills.inline import check_archive
from perennial.moves import Run, expire_sources, restore_sources
from perennial.policy.decisions import decide
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.drills.archives import archive_of, archived, delete
from tests.rows import append_hot, interaction
from tests.web.conftest import As
from tests.workspace import Workspace, received

NOW = datetime.now(UTC).replace(microsecond=0)
FIGURES = ("held", "expiring", "restores")


def overview(page: As) -> dict[str, Any]:
    answer = page("vic").get("/perennial/api/overview")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory, server: TestClient) -> Workspace:
    """Two sources expired ten days ago, one of them came back five days ago; two expire soon, one is due, two are kept."""
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.utils.types import DagRunTriggeredByType

    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(tmp_path_factory.mktemp("home"))}))
    warehouse.create_tables()
    workspace = Workspace(warehouse)
    days = {"old": 400, "back": 400, "soon": 80, "as soon": 80, "due": 97, "later": 1, "kept": 400, "kept soon": 80}
    for name, ago in days.items():
        workspace.source(name, stopped_at=NOW - timedelta(days=ago), created_at=NOW - timedelta(days=500))
    workspace.source("nothing", stopped_at=NOW - timedelta(days=80))
    for name in ("kept", "kept soon"):
        workspace.audience("campaign:running", received(name))
    append_hot(warehouse, [interaction(name, n) for name in days for n in range(3)])
    workspace.sync()
    expire_sources(warehouse, Run("r1", NOW - timedelta(days=10)))
    restore = {"source_ids": ["back"], "notify": ["ann@example.com"]}
    run = trigger_dag("restore_interactions", triggered_by=DagRunTriggeredByType.TEST, conf=restore)
    assert run is not None
    restore_sources(warehouse, restore, Run(run.run_id, NOW - timedelta(days=5), "ann <b>"))
    _end(run.run_id)
    return workspace


def _end(run_id: str) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from sqlalchemy import update

    with create_session() as session:
        session.execute(update(DagRun).where(DagRun.run_id == run_id).values(state=DagRunState.SUCCESS))


@pytest.fixture
def settings(moved: Workspace) -> Settings:
    return moved.warehouse.settings


def test_figures_add_up_to_what_runs_moved(page: As, moved: Workspace) -> None:
    found = overview(page)
    assert {state["state"]: state["source_count"] for state in found["states"]} == {"available": 8, "expired": 1}
    totals = moved.warehouse.source_totals
    hot = sum(total.total_bytes for total in totals("interactions").values())
    archived = sum(total.total_bytes for total in totals("interactions_archive").values())
    moves = {
        day["day"]: (day["moved_to_archive"], day["restored"])
        for day in found["held"]
        if day["moved_to_archive"] or day["restored"]
    }
    ten, five = ((NOW - timedelta(days=days)).date().isoformat() for days in (10, 5))
    assert list(moves) == [ten, five]
    (gone, none), (late, back) = moves.values()
    assert (none, late) == (0, 0)
    levels = [(day["hot_bytes"], day["archived_bytes"]) for day in found["held"]]
    # Levels change on these two days only, and end at what is there.
    assert list(dict.fromkeys(levels)) == [
        (hot + gone - back, archived - gone + back),
        (hot - back, archived + back),
        (hot, archived),
    ]
    assert archived - gone + back == 0
    assert len(levels) == 31


@pytest.mark.long
def test_what_was_loaded_was_not_there_before(page: As, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path))
    warehouse = Warehouse(Settings.from_environment())
    warehouse.create_tables()
    workspace = Workspace(warehouse)
    workspace.source("running", "active")
    append_hot(warehouse, [interaction("running", n) for n in range(10)])
    workspace.sync()
    counts = {"rejected_count": 0, "ignored_count": 0}
    files = {"a": (5, 4), "b": (3, 6)}
    rows = [
        {"file_uri": uri, "loaded_at": NOW - timedelta(days=ago), "row_count": rows, **counts}
        for uri, (ago, rows) in files.items()
    ]
    workspace.replace("loaded_files", rows)
    found = overview(page)["held"]
    (hot,) = (total.total_bytes for total in warehouse.source_totals("interactions").values())
    assert list(dict.fromkeys(day["hot_bytes"] for day in found)) == [0, round(hot * 4 / 10), hot]
    days = {(NOW - timedelta(days=ago)).date().isoformat(): round(hot * rows / 10) for ago, rows in files.values()}
    assert {day["day"]: day["loaded"] for day in found if day["loaded"]} == days


def test_what_expires_soon_stands_under_its_day(page: As, moved: Workspace) -> None:
    days = overview(page)["expiring"]
    assert [day.pop("total_bytes") > 0 for day in days] == [True, True]
    soon = page("vic").get("/perennial/api/sources?state=due&sort=state").json()["sources"]
    assert [source["source_id"] for source in soon] == ["due", "as soon", "soon"]
    # As the policy decides, whatever the clock says.
    decided = {
        row["source_id"]
        for row in decide(moved.warehouse, NOW + timedelta(days=30)).to_pylist()
        if row["decision"] == "expire"
    }
    assert decided == {source["source_id"] for source in soon}
    assert days == [
        {"day": None, "source_count": 1, "row_count": 3},
        {"day": soon[1]["expires_at"][:10], "source_count": 2, "row_count": 6},
    ]


def test_what_a_filter_keeps_is_said_to_be_kept_and_not_to_expire(page: As, moved: Workspace) -> None:
    assert (overview(page)["kept_count"], overview(page)["undecided"]) == (2, "")
    kept = page("vic").get("/perennial/api/sources?state=kept").json()["sources"]
    assert [(source["source_id"], source["is_kept"]) for source in kept] == [("kept", True), ("kept soon", True)]
    text = page("vic").get("/perennial/overview").text
    assert (
        '<a href="/perennial/sources?state=kept&amp;sort=state">2 sources</a> past their date within that time but kept by an active filter or a hold.'
        in text
    )
    for address in ("/perennial/sources?state=kept", "/perennial/source?id=kept"):
        text = page("vic").get(address).text
        assert "kept by an active filter; could have expired on" in text
        assert "expires with the next daily run" not in text


def test_an_audience_nobody_can_read_is_said_to_keep_everything(
    page: As, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path))
    warehouse = Warehouse(Settings.from_environment())
    warehouse.create_tables()
    workspace = Workspace(warehouse)
    workspace.source("due", stopped_at=NOW - timedelta(days=400))
    workspace.audience("campaign:running", "no JSON")
    append_hot(warehouse, [interaction("due", 1)])
    workspace.sync()
    found = overview(page)
    assert "campaign:running > unreadable definition" in found["undecided"]
    assert (found["expiring"], found["kept_count"]) == ([], 1)
    text = page("vic").get("/perennial/overview").text
    assert "Nothing expires at the moment." in text


def test_restores_say_who_asked_and_how_long_it_took(page: As, moved: Workspace) -> None:
    [restore] = overview(page)["restores"]
    assert restore.pop("took_seconds") > 0
    assert restore.pop("total_bytes") > 0
    assert restore.pop("restored_at")
    run_id = restore.pop("run_id")
    assert restore == {"requested_by": "ann <b>", "source_count": 1, "row_count": 3}
    text = page("vic").get("/perennial/overview").text
    assert "ann &lt;b&gt;" in text
    assert f"<bdi>{html.escape(run_id)}</bdi></a>" in text
    assert "At most the latest 50." in text
    assert "Estimated from today&#39;s sizes" in text.replace("today's", "today&#39;s")
    # One form of date.
    assert not re.search(r"\d{4}-\d{2}-\d{2}", re.sub(r"<bdi>[^<]*</bdi>|<[^>]*>", "", text))


def test_charts_are_images_without_scripts_beside_a_table(page: As, moved: Workspace) -> None:
    text = page("vic").get("/perennial/overview").text
    images = [html.unescape(found) for found in re.findall(r'<img [^>]*src="([^"]*)"[^>]* alt="[^"]{20,}"', text)]
    assert images == [f"/perennial/charts/overview.svg?figures={figures}&theme={theme}" for figures in FIGURES for theme in ("light", "dark")]  # fmt: skip
    assert text.count("<details>") == len(FIGURES)
    narrow = [html.unescape(found) for found in re.findall(r'<source media="[^"]*" srcset="([^"]*)"', text)]
    assert narrow == [f"{image}&narrow=true" for image in images]
    images += narrow
    for image in images:
        answer = page("vic").get(image)
        assert answer.headers["content-type"] == "image/svg+xml"
        assert "default-src 'none'; style-src 'unsafe-inline'" in answer.headers["content-security-policy"]
        drawing = ElementTree.fromstring(answer.text)
        assert not [found for found in drawing.iter() if str(found.tag).endswith("script")]
        assert "Nothing yet" not in drawing.itertext()
    assert page("vic").get("/perennial/charts/overview.svg?figures=all").status_code == 422


class TestDamaged:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(tmp_path / "home")}))
        warehouse.create_tables()
        archive_of(warehouse, "a", "b</table>")
        delete(warehouse, archived(warehouse, "b</table>"))
        return warehouse.settings

    @pytest.mark.long
    def test_the_overview_says_how_much_of_the_archive_is_proven_and_what_is_wrong(
        self, page: As, settings: Settings
    ) -> None:
        assert page("vic").get("/perennial/api/archive").json() is None
        assert "Not checked yet: the DAG check_archive" in page("vic").get("/perennial/overview").text

        report = check_archive(Warehouse(settings), Run("c1", NOW), 100)

        found = page("vic").get("/perennial/api/archive").json()
        assert found["sentence"] == "Checked 100 % of archived files in 90 days, 0 damaged, 1 missing."
        assert [(file["source_id"], file["outcome"]) for file in found["damaged"]] == [("b</table>", "missing")]
        assert report.damaged[0].detail == found["damaged"][0]["detail"]
        text = page("vic").get("/perennial/overview").text
        for said in (found["sentence"], "docs/runbooks/damaged-archive.md", html.escape(found["damaged"][0]["detail"])):
            assert said in text
        assert "b</table>" not in text


class TestEmpty:
    @pytest.fixture
    def settings(self, tmp_path_factory: pytest.TempPathFactory) -> Settings:
        settings = Settings.from_environment({"PERENNIAL_HOME": str(tmp_path_factory.mktemp("home"))})
        Warehouse(settings).create_tables()
        return settings

    def test_an_empty_workspace_has_an_overview(self, page: As) -> None:
        text = page("vic").get("/perennial/overview").text
        assert "Nothing was moved or loaded yet." in text
        found = overview(page)
        assert (found["states"], found["expiring"], found["restores"], len(found["held"])) == ([], [], [], 31)
        for figures in FIGURES:
            assert page("vic").get(f"/perennial/charts/overview.svg?figures={figures}").status_code == 200
