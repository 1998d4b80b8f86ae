"""Somebody has added columns to the tables that a load writes."""

from __future__ import annotations

from typing import Any

import pytest
from pyiceberg.types import StringType

from perennial.currents.prepare import LOADED_TABLES
from perennial.errors import TerminalSettingError
from perennial.maintenance import compact_tables
from perennial.settings import Settings
from perennial.tables import TABLES
from perennial.warehouse import Warehouse
from tests.currents.landing import OPEN, event, land_avro, land_json, load, rows
from tests.other_writers import add_columns, append, as_others_read, values


def contract_rows(warehouse: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    declared = {table.name: ", ".join(column.name for column in table.columns) for table in TABLES}
    return {table: rows(warehouse, table, declared[table]) for table in LOADED_TABLES}


@pytest.mark.long
def test_loads_know_nothing_of_columns_that_somebody_added_and_leave_their_values_alone(
    settings: Settings, warehouse: Warehouse
) -> None:
    for table in LOADED_TABLES:
        add_columns(warehouse, table)
    land_avro(settings, OPEN, [event(n) for n in range(10)])
    assert load(warehouse).interactions == 10
    # Values of theirs, in rows that are theirs too.
    for table in LOADED_TABLES:
        row = warehouse.read(table).to_pylist()[:1]
        append(warehouse, [{**one, **values(0)} for one in row], table)
    land_json(settings, OPEN, [event(n) for n in range(5, 15)] + ["no record"])
    found = load(warehouse)
    assert (found.interactions, found.duplicates, found.rejected) == (5, 5, 1)
    for number in range(4):
        land_json(settings, OPEN, [event(20 + number)], f"more-{number}.json")
        load(warehouse)
    ours, theirs = contract_rows(warehouse), as_others_read(warehouse, *LOADED_TABLES)

    outcomes = compact_tables(warehouse)

    assert outcomes.keys() >= {"interactions", "loaded_events", "user_message_summary", "loaded_files"}
    assert contract_rows(warehouse) == ours
    assert as_others_read(warehouse, *LOADED_TABLES) == theirs
    assert (
        sum("🦄" in row for row in theirs) == sum(bool(warehouse.read(table).num_rows) for table in LOADED_TABLES) - 1
    )


@pytest.mark.parametrize("table", [LOADED_TABLES[0], LOADED_TABLES[-1]])
def test_a_column_that_wants_values_stops_a_load_before_anything_is_committed(
    settings: Settings, warehouse: Warehouse, table: str
) -> None:
    with warehouse.table(table).update_schema(allow_incompatible_changes=True) as update:
        update.add_column("theirs", StringType(), required=True)
    land_avro(settings, OPEN, [event(n) for n in range(10)])

    with pytest.raises(TerminalSettingError, match=f"Table {table} has column 'theirs'.*DROP NOT NULL"):
        load(warehouse)

    assert not any(warehouse.table(name).current_snapshot() for name in LOADED_TABLES)
    with warehouse.table(table).update_schema() as update:
        update.make_column_optional("theirs")
    assert load(warehouse).interactions == 10
