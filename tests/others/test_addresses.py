"""Addresses as Hadoop writes them, and so Spark on a disk: `file:/path` with one slash."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from perennial.maintenance import compact_tables, purge_files
from perennial.moves import Run, expire_sources, restore_sources
from perennial.storage import StoredFile, storage_for
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE
from perennial.warehouse import Warehouse
from tests.maintenance.deletes import delete_rows
from tests.others.writer import NOW, append, set_properties
from tests.rows import hot_and_archive, interaction, multiset
from tests.workspace import Workspace

HOT, ARCHIVE = INTERACTIONS.name, INTERACTIONS_ARCHIVE.name


def expires(warehouse: Warehouse) -> None:
    expire_sources(warehouse, Run("expiry", NOW))
    assert not multiset(warehouse, HOT)


def restores(warehouse: Warehouse) -> None:
    restore_sources(warehouse, {"source_ids": ["old"], "notify": ["ann@example.com"]}, Run("restore", NOW))
    assert not multiset(warehouse, ARCHIVE)


def purges(warehouse: Warehouse) -> None:
    purge_files(warehouse, datetime.now(UTC) + timedelta(days=9))


def test_files_with_one_slash_after_the_scheme_are_read_merged_moved_and_kept(local_warehouse: Warehouse) -> None:
    workspace = Workspace(local_warehouse)
    workspace.source("old")
    workspace.sync()
    location = local_warehouse.table(HOT).location_provider().data_path.removeprefix("file://")
    set_properties(local_warehouse, HOT, {"write.data.path": f"file:{location}"})
    for first in range(0, 20, 5):
        append(local_warehouse, [interaction("old", first + number) for number in range(5)])
    uris = {live.uri for live in local_warehouse.live_files(local_warehouse.table(HOT))}
    assert all(uri.startswith("file:/") and not uri.startswith("file://") for uri in uris)
    delete_rows(local_warehouse, HOT, "old", [1, 2])
    expected = hot_and_archive(local_warehouse)
    assert expected.total() == 18
    steps: tuple[Callable[[Warehouse], object], ...] = (expires, purges, restores, compact_tables, purges)
    for step in steps:
        step(local_warehouse)
        assert hot_and_archive(local_warehouse) == expected, step


@pytest.mark.parametrize("scheme", ["", "file:", "file://"])
def test_a_storage_gives_addresses_back_in_the_form_in_which_it_was_asked(tmp_path: Path, scheme: str) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    storage = storage_for(f"{scheme}{tmp_path}")
    found = storage.stat(f"{scheme}{tmp_path}/a")
    assert isinstance(found, StoredFile)
    assert (found.uri, found.file_bytes) == (f"{scheme}{tmp_path}/a", 3)
    assert list(storage.list_files(f"{scheme}{tmp_path}")) == [found]
