"""What the command line says of sources that the platform has no longer, and of ids that no sync has seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from perennial.moves import Run, expire_sources
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.rows import append_hot, interaction
from tests.test_cli import run
from tests.workspace import PlatformWorkspace, received

MISSED = datetime(2025, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def workspace(settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> PlatformWorkspace:
    """One source expired and one still hot, both no longer in the platform; six ids that it never had."""
    monkeypatch.setenv("PERENNIAL_HOME", str(settings.home))
    workspace = PlatformWorkspace(warehouse)
    for name in ("stays", "expired [b]", "hot"):
        workspace.source(name, "active")
    workspace.audience("campaign:expired [b]", received("hot"))
    unseen = {f"unseen {number}": 10 - number for number in range(6)}
    append_hot(
        warehouse,
        *([interaction(name, number) for number in range(3)] for name in workspace.sources),
        [interaction(name, number) for name, rows in unseen.items() for number in range(rows)],
    )
    workspace.sync()
    workspace.audiences.clear()
    del workspace.sources["expired [b]"]
    workspace.sync(MISSED)
    expire_sources(warehouse, Run("r1", MISSED + timedelta(days=100)))
    del workspace.sources["hot"]
    workspace.sync(MISSED + timedelta(days=100))
    return workspace


@pytest.mark.long
def test_what_the_platform_has_no_longer_is_shown_as_such(workspace: PlatformWorkspace) -> None:
    listed = run("status").splitlines()
    (expired,) = [line for line in listed if line.startswith("expired [b]")]
    (hot,) = [line for line in listed if line.startswith("hot")]
    assert "no longer in the platform" in expired
    assert "  expired  " in expired
    assert "2025-12-09" in hot
    assert "no longer in the platform" in run("status", "expired [b]")
    explained = run("explain", "hot", "--as-of", "2025-10-01")
    assert "no longer in the platform, as of 2025-09-09 12:00" in explained
    assert "No longer in the platform as of 2025-09-09: the 3 months end on 2025-12-09." in " ".join(explained.split())
    assert "started by: vanished" in explained
    checked = run("resume-check", "expired [b]", exit_code=1)
    assert "is no longer in the platform, as of 2025-06-01 12:00." in checked
    assert "the next daily run" not in checked
    assert "Not ready." in checked


@pytest.mark.long
def test_ids_that_no_sync_has_seen_are_listed_and_explained(workspace: PlatformWorkspace) -> None:
    assert (
        "The hot table also holds 45 interactions of 6 sources that no sync has seen: 'unseen 0', 'unseen 1', "
        "'unseen 2', 'unseen 3', 'unseen 4' and others. Without metadata they have no clock, so they stay there."
    ) in run("status")
    said = "No sync has seen the source 'unseen 0'. The hot table holds 10 interactions of it, which stay there"
    assert said in run("explain", "unseen 0")
    assert said in run("status", "unseen 0", exit_code=1)
    workspace.sources |= {
        f"unseen {number}": workspace.sources["stays"] | {"source_id": f"unseen {number}"} for number in range(6)
    }
    workspace.sync()
    assert "no sync has seen" not in run("status")
