"""File systems of S3: one a process, bucket and credential, for as long as somebody holds it."""

from __future__ import annotations

import gc
import os
import signal
import weakref
from typing import Any

import psutil
import pytest

from perennial.settings import Settings
from perennial.storage.s3 import s3_storage
from perennial.tables import SOURCE_TAGS, SOURCES, USERS
from perennial.warehouse import Warehouse
from perennial.warehouse.shared_files import HELD, SharedFileIO
from tests.kill import forked, with_environment
from tests.lake import ARCHIVE, TABLES


def file_system(warehouse: Warehouse, table: str, bucket: str = TABLES, scheme: str = "s3") -> Any:
    return warehouse.table(table).io.fs_by_scheme(scheme, bucket)  # type: ignore[attr-defined]  # ours


def test_all_tables_of_all_catalogs_of_a_process_share_the_file_system_of_a_bucket(lake_warehouse: Warehouse) -> None:
    shared = file_system(lake_warehouse, SOURCES.name)

    assert file_system(lake_warehouse, USERS.name, scheme="s3a") is shared
    assert file_system(Warehouse(lake_warehouse.settings), SOURCE_TAGS.name) is shared
    assert file_system(lake_warehouse, SOURCES.name, ARCHIVE) is not shared


def test_a_file_system_is_closed_with_the_catalog_that_it_was_made_for(
    lake_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYICEBERG_CATALOG__PERENNIAL__S3__REQUEST_TIMEOUT", "61")
    warehouse = Warehouse(lake_warehouse.settings)
    found = weakref.ref(file_system(warehouse, SOURCES.name))

    # The table that it was made for is gone, and the next one finds it.
    assert found() is not None
    assert file_system(warehouse, USERS.name) is found()
    del warehouse
    # A catalog and its session hold each other.
    gc.collect()
    assert found() is None


def test_credentials_that_a_catalog_hands_out_for_each_table_do_not_pile_up() -> None:
    """With no help of the garbage collector, which comes when it likes."""
    place = {"s3.endpoint": "http://127.0.0.1:1", "s3.region": "us-east-1", HELD: {}}
    found = []
    gc.disable()
    try:
        for number in range(20):
            keys = {"s3.access-key-id": f"key-{number}", "s3.secret-access-key": "secret"}
            found.append(weakref.ref(SharedFileIO({**place, **keys}).fs_by_scheme("s3", "bucket")))
        assert [number for number, made in enumerate(found) if made() is not None] == [19]
    finally:
        gc.enable()


def test_a_warehouse_lets_go_of_its_catalogs_database_when_it_is_let_go_of(local_warehouse: Warehouse) -> None:
    process = psutil.Process()
    gc.disable()
    try:
        before = process.num_fds()
        for _ in range(5):
            assert not Warehouse(local_warehouse.settings).missing_tables()
        assert process.num_fds() == before
    finally:
        gc.enable()


def _read_on_both_sides_of_a_fork(settings: Settings) -> tuple[int, bool]:
    warehouse = Warehouse(settings)
    table: Any = warehouse.table(SOURCES.name)
    parents, storage = table.io.fs_by_scheme("s3", TABLES), s3_storage()
    assert storage.stat(table.metadata_location)
    child = os.fork()
    if child == 0:
        # What hangs must not hang for ever.
        signal.alarm(60)
        own = table.io.fs_by_scheme("s3", TABLES) is not parents and s3_storage() is not storage
        found = table.io.new_input(table.metadata_location).exists() and s3_storage().stat(table.metadata_location)
        os._exit(0 if own and found else 1)
    _, status = os.waitpid(child, 0)
    return status, table.io.new_input(table.metadata_location).exists()


def test_what_was_opened_before_a_fork_is_not_used_after_it(lake_warehouse: Warehouse) -> None:
    """Airflow forks a process for each task."""
    status, is_found = forked(
        with_environment, dict(os.environ), _read_on_both_sides_of_a_fork, lake_warehouse.settings
    )
    assert (status, is_found) == (0, True)
