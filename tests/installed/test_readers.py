"""ClickHouse, DuckDB's own Iceberg extension, Polars and Daft read every table as the project does, after every step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from benchmarks.peers.process import AskedProcess, ending
from pyiceberg.types import StringType
from scripts.environments import MissingError, python_environment

from perennial.engines.columns import duckdb_type, identifier
from perennial.engines.duckdb import open_connection, show_tables
from perennial.maintenance import compact_tables, expire_old_snapshots, purge_files
from perennial.moves import Run, expire_sources, restore_sources
from perennial.operations import wall_clock
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, TABLES
from perennial.warehouse import Warehouse
from tests.erase.persons import NOW, PERSON, erase, populated, purge
from tests.installed.reader_process import ENGINES
from tests.rows import append_hot, interaction
from tests.workspace import Workspace

Rows = dict[str, Counter[str]]


def late(warehouse: Warehouse) -> None:
    """Rows of what is archived arrive."""
    append_hot(warehouse, [interaction("a", 200 + number, channel=None) for number in range(5)])


def expire_again(warehouse: Warehouse) -> None:
    expire_sources(warehouse, Run("late", NOW + timedelta(days=1)))


def restore(warehouse: Warehouse) -> None:
    restore_sources(warehouse, {"source_ids": ["b"], "notify": ["ann@example.com"]}, Run("back", NOW))


def append_small_files(warehouse: Warehouse) -> None:
    append_hot(warehouse, *([interaction("busy", 300 + load)] for load in range(12)))


def add_column(warehouse: Warehouse) -> None:
    """Somebody's own column, which the files written before do not have."""
    for table in (INTERACTIONS, INTERACTIONS_ARCHIVE):
        with warehouse.table(table.name).update_schema() as update:
            update.add_column("note", StringType())
    append_hot(warehouse, [interaction("busy", 400, note='it\'s "new"')])


def erase_person(warehouse: Warehouse) -> None:
    erase(warehouse, PERSON)
    purge(warehouse, PERSON)


def clean_up(warehouse: Warehouse) -> None:
    expire_old_snapshots(warehouse, wall_clock() + timedelta(days=30))
    purge_files(warehouse, wall_clock() + timedelta(days=30))


def lists(warehouse: Warehouse) -> None:
    """Lists that are empty, absent, or hold texts that have to be quoted."""
    users = [{"user_id": str(flags), "invalid_phone": False, "feature_flags": flags} for flags in ([], ["a", "'\"\\"])]
    Workspace(warehouse).replace("users", users)


STEPS: dict[str, Callable[[Warehouse], object]] = {
    step.__name__: step
    for step in (
        populated,
        late,
        expire_again,
        restore,
        append_small_files,
        compact_tables,
        add_column,
        erase_person,
        clean_up,
        lists,
    )
}


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, AskedProcess]]:
    """Each engine, in a process and an environment of its own."""
    logs = tmp_path_factory.mktemp("readers")
    with ExitStack() as stack:
        started = {}
        for name in ENGINES:
            try:
                python = python_environment(name)
            except MissingError as missing:
                pytest.exit(f"The tests of readers need {missing}", returncode=1)
            process = AskedProcess(python, "tests.installed.reader_process", name, log=logs / f"{name}.log")
            started[name] = stack.enter_context(ending(process))
        yield started


@pytest.fixture(scope="module")
def read(
    readers: dict[str, AskedProcess], module_warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Rows]]:
    """What each reads of each table that a step has changed: by step, engine and table; `perennial` is one of them."""
    seen: dict[str, dict[str, Rows]] = {}
    known: dict[str, str] = {}
    for number, (name, step) in enumerate(STEPS.items()):
        step(module_warehouse)
        tables = {table.name: module_warehouse.table(table.name) for table in TABLES}
        changed = [name for name, table in tables.items() if known.get(name) != table.metadata_location]
        known = {name: table.metadata_location for name, table in tables.items()}
        ours = {table: rows_of(module_warehouse, table) for table in changed}
        seen[name] = {"perennial": ours}
        for engine, reader in readers.items():
            folder = tmp_path_factory.mktemp(f"{engine}-{number}")
            seen[name][engine] = {table: asked(reader, module_warehouse, table, folder) for table in changed}
    return seen


def asked(reader: AskedProcess, warehouse: Warehouse, table: str, folder: Path) -> Counter[str]:
    path = folder / f"{table}.parquet"
    metadata = warehouse.table(table).metadata_location.removeprefix("file://")
    try:
        reader.ask("save", metadata=metadata, path=str(path))
    except RuntimeError as error:
        return Counter([f"failed: {error}"])
    return rows_of(warehouse, table, f"read_parquet('{path}')")


def rows_of(warehouse: Warehouse, table: str, relation: str = "") -> Counter[str]:
    """Every row, whole, with the columns and types of the table; of another relation those of the same names."""
    fields = warehouse.table(table).schema().fields
    columns = ", ".join(f"{identifier(f.name)}::{duckdb_type(f.field_type)} AS {identifier(f.name)}" for f in fields)
    with open_connection() as connection:
        if not relation:
            show_tables(connection, warehouse, [table])
        selected = f"SELECT {columns} FROM {relation or table}"
        return Counter(
            text for (text,) in connection.execute(f"SELECT to_json(r)::VARCHAR FROM ({selected}) AS r").fetchall()
        )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("step", STEPS)
def test_every_row_of_every_table_is_the_same(read: dict[str, dict[str, Rows]], engine: str, step: str) -> None:
    ours, theirs = read[step]["perennial"], read[step][engine]
    assert any(ours.values())
    for table, rows in ours.items():
        assert theirs[table] == rows, table
