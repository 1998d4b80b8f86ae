"""The last copy of rows that the audit trail counts on is not purged, though no table and no history knows it any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pyiceberg.expressions import EqualTo
from pyiceberg.table.snapshots import ancestors_of
from typer.testing import CliRunner

from perennial.cli import app
from perennial.maintenance import compact_tables, purge_files
from perennial.maintenance.last_copies import find_lost_sources
from perennial.moves import Run, expire_sources, restore_sources
from perennial.storage import storage_for
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE
from perennial.warehouse import Warehouse
from perennial.warehouse.heads import find_losses, note_head
from perennial.warehouse.lineage import TAG, operation_of
from tests.maintenance.steps import data_files, data_path, stored
from tests.rows import append_hot, interaction
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
REQUEST = {"source_ids": ["a"], "notify": ["ann@example.com"]}


@pytest.fixture
def restored(warehouse: Warehouse) -> Warehouse:
    """A source that was archived and has come back, and one that stays."""
    workspace = Workspace(warehouse)
    workspace.source("a")
    workspace.source("running", "active")
    workspace.sync()
    for first in (0, 10):
        append_hot(warehouse, [interaction(source, first + n) for source in ("a", "running") for n in range(5)])
    expire_sources(warehouse, Run("r1", NOW))
    restore_sources(warehouse, REQUEST, Run("r2", NOW + timedelta(days=1)))
    return warehouse


def forget(warehouse: Warehouse, name: str) -> None:
    """Leave nothing that shows that a table was set back, as where it happened before there were tags and notes."""
    table = warehouse.table(name)
    table.manage_snapshots().remove_tag(TAG).commit()
    warehouse.table(name).maintenance.expire_snapshots().older_than(datetime.now(UTC) + timedelta(days=1)).commit()
    note_head(warehouse, warehouse.table(name))


@pytest.mark.long
def test_files_of_a_source_that_no_table_lists_survive_the_purge_and_others_go(restored: Warehouse) -> None:
    table = restored.table(INTERACTIONS.name)
    without = next(
        snapshot
        for snapshot in ancestors_of(table.current_snapshot(), table.metadata)
        if ":remove:" in operation_of(snapshot)
    )
    hot = {live.uri for live in restored.live_files(table, ["a"])}
    archived = stored(data_path(restored, INTERACTIONS_ARCHIVE.name))
    table.manage_snapshots().rollback_to_snapshot(without.snapshot_id).commit()
    forget(restored, INTERACTIONS.name)
    forget(restored, INTERACTIONS_ARCHIVE.name)
    orphan = data_path(restored, INTERACTIONS.name) / f"{'0' * 32}-0.parquet"
    orphan.write_bytes(b"x")
    assert not [*find_losses(restored)], "its history is gone"

    (found,) = find_lost_sources(restored)
    assert (found.source_id, found.row_count) == ("a", 10)
    assert set(archived) <= {uri.rpartition("/")[2] for uri in found.left}
    said = CliRunner().invoke(app, ["check"], env={"PERENNIAL_HOME": str(restored.settings.home)})
    assert said.exit_code == 1
    assert "'a' had 10 interactions, and neither hot nor archive lists any" in " ".join(said.output.split())

    purge_files(restored, datetime.now(UTC) + timedelta(days=100))

    assert not orphan.exists(), "the purge goes on with what nobody counts on"
    assert all(storage_for(uri).stat(uri) for uri in hot)
    assert stored(data_path(restored, INTERACTIONS_ARCHIVE.name)) == archived


def test_a_source_that_another_writer_has_deleted_is_not_lost(restored: Warehouse) -> None:
    assert find_lost_sources(restored) == []
    compact_tables(restored)
    restored.table(INTERACTIONS.name).delete(EqualTo("source_id", "a"))
    assert not data_files(restored, INTERACTIONS_ARCHIVE.name)

    assert find_lost_sources(restored) == []
