"""What the page and its JSON say of a source that the platform has no longer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from perennial.moves import Run, expire_sources
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.rows import append_hot, interaction
from tests.web.conftest import As
from tests.workspace import PlatformWorkspace

MISSED = datetime(2025, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A source that has vanished and expired, one that is there, and an id that no sync has seen."""
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(tmp_path_factory.mktemp("home"))}))
    warehouse.create_tables()
    workspace = PlatformWorkspace(warehouse)
    workspace.source("stays", "active")
    workspace.source("it's gone", "active", "season")
    append_hot(
        warehouse, [interaction(name, number) for name in ("stays", "it's gone", "unseen") for number in range(3)]
    )
    workspace.sync()
    del workspace.sources["it's gone"]
    workspace.sync(MISSED)
    expire_sources(warehouse, Run("r1", MISSED + timedelta(days=100)))
    return warehouse.settings


@pytest.mark.long
def test_the_list_shows_it_and_can_be_filtered_by_it(page: As) -> None:
    client = page("vic")
    for params in ({"status": "vanished"}, {"tag": "season"}, {"state": "expired"}):
        (item,) = client.get("/perennial/api/sources", params=params).json()["sources"]
        assert (item["source_id"], item["name"], item["kind"]) == ("it's gone", "Name of it's gone", "campaign")
        assert (item["status"], item["state"], item["archived_rows"]) == ("vanished", "expired", 3)
        assert datetime.fromisoformat(item["vanished_at"]) == MISSED
    text = client.get("/perennial/sources", params={"status": "vanished"}).text
    assert '<option value="vanished" selected>no longer in the platform</option>' in text
    assert '<td class="word">no longer in the platform</td>' in text
    assert client.get("/perennial/api/sources", params={"status": "stopped"}).json()["total"] == 0


def test_its_page_says_so_and_offers_the_restore(page: As) -> None:
    client = page("vic")
    text = client.get("/perennial/source", params={"id": "it's gone"}).text
    assert "no longer in the platform: a sync first missed it on 1 Jun 2025" in text
    assert "It cannot be started again" in text
    assert 'action="/perennial/restore"' in text
    detail = client.get("/perennial/api/source", params={"id": "it's gone"}).json()
    assert detail["decision"]["clock_started_by"] == "vanished"
    assert datetime.fromisoformat(detail["decision"]["clock_started_at"]) == MISSED
    assert detail["resume"]["ready"] is False


def test_an_id_that_no_sync_has_seen_is_said_plainly(page: As) -> None:
    answer = page("vic").get("/perennial/api/source", params={"id": "unseen"})
    assert answer.status_code == 404
    assert "No sync has seen the source 'unseen'. The hot table holds 3 interactions of it" in answer.text
