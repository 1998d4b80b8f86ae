"""The forecast on the page, as JSON and on the command line: the same words and figures (R20)."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from perennial.cli import app
from perennial.settings import Settings
from perennial.tables import USERS
from perennial.warehouse import Warehouse
from tests.rows import append_hot, interaction
from tests.web.conftest import As
from tests.workspace import Workspace, received

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def due(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One source that expires in ten days, which a stopped campaign with a name in markup targets."""
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(tmp_path_factory.mktemp("home"))}))
    warehouse.create_tables()
    workspace = Workspace(warehouse)
    workspace.source("soon", stopped_at=NOW - timedelta(days=80))
    workspace.audience("campaign:<b>gift</b>", received("soon"), "stopped")
    append_hot(warehouse, [interaction("soon", n, user_id=f"u{n}") for n in range(4)])
    workspace.sync()
    users = [{"user_id": f"u{n}", "invalid_phone": False, "feature_flags": []} for n in range(9)]
    workspace.replace(USERS.name, users)
    return workspace


@pytest.fixture
def settings(due: Workspace) -> Settings:
    return due.warehouse.settings


@pytest.mark.long
def test_page_json_and_command_say_the_same(page: As, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    vic = page("vic")
    answer = vic.get("/perennial/api/forecast").json()
    assert re.fullmatch(r"Until [0-9-]{10}, 4 interactions of 1 source expire, if nothing changes.", answer["sentence"])
    (day,) = answer["days"]
    assert (day["source_ids"], day["row_count"], day["audience_count"], answer["costs"]) == (["soon"], 4, 1, None)
    audiences = vic.get("/perennial/api/forecast/audiences").json()
    (gift,) = audiences["audiences"]
    assert audiences["sentence"] == "1 audience changes: 4 memberships are lost and 0 are gained."
    assert gift["sentence"] == "campaign 'campaign:<b>gift</b>' loses 4 of 4 users."
    assert (gift["effects"], gift["restore"]) == (["narrows"], gift["restore"])
    assert "restore soon" in gift["restore"]

    shown = vic.get("/perennial/forecast?audiences=true")
    assert shown.status_code == 200
    text = html.unescape(re.sub(r"<[^>]+>", "", shown.text))
    for said in (answer["sentence"], audiences["sentence"], "The archive is not on S3"):
        assert said in text
    assert "<b>gift</b>" not in shown.text
    assert vic.get("/perennial/charts/forecast.svg").headers["content-type"] == "image/svg+xml"

    monkeypatch.setenv("PERENNIAL_HOME", str(settings.home))
    printed = CliRunner().invoke(app, ["forecast", "--audiences"])
    assert printed.exit_code == 0, printed.output
    assert answer["sentence"] in printed.output
    assert f"- {gift['sentence']}" in printed.output


def test_days_beyond_a_year_are_refused_by_name(page: As, settings: Settings) -> None:
    refused = page("vic").get("/perennial/api/forecast?days=999")
    assert refused.status_code == 422
    assert "days" in refused.text
    printed = CliRunner().invoke(app, ["forecast", "--days", "999"], env={"PERENNIAL_HOME": str(settings.home)})
    assert printed.exit_code == 1
    assert "days is 999; give 1 to 366." in printed.output
