"""Parquet files written by DuckDB: what they hold, and that the table's metadata says the truth about them."""

from __future__ import annotations

import math
import uuid
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.conversions import from_bytes
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from perennial.engines.duckdb import open_connection
from perennial.engines.write_files import write_files
from perennial.errors import TerminalDataError
from perennial.tables import LOADED_EVENTS
from perennial.warehouse import Warehouse
from tests.rows import interaction, multiset

TEXTS = ["", "a", "exactly-sixteen-", "a bit more than sixteen", "é" * 300, "🦄" * 20, "x" * 500, "\U0010ffff" * 20, "\ud7ff" * 17, "~" * 400]  # fmt: skip


def write(warehouse: Warehouse, name: str, rows: list[dict[str, Any]]) -> tuple[Table, list[DataFile]]:
    table = warehouse.table(name)
    with open_connection() as connection:
        connection.register("rows_to_write", pa.Table.from_pylist(rows, schema=table.schema().as_arrow()))
        return table, write_files(connection, "rows_to_write", table, uuid.uuid4().hex)


def some_interactions() -> list[dict[str, Any]]:
    return [
        interaction(
            source, number, link_alias=TEXTS[-1 - number], machine_open=number % 2 == 0, conversion_index=number
        )
        for source in TEXTS
        for number in range(len(TEXTS))
    ]


def test_the_rows_are_read_back_by_both_engines(warehouse: Warehouse) -> None:
    rows = some_interactions()
    _, data_files = write(warehouse, "interactions", rows)
    warehouse.append_files("interactions", data_files, "test")
    scanned = warehouse.table("interactions").scan().to_arrow().to_pylist()
    assert Counter(map(str, sorted(scanned, key=str))) == Counter(
        str({name: row.get(name) for name in scanned[0]} | {"occurred_at": found["occurred_at"]})
        for row, found in zip(sorted(rows, key=_key), sorted(scanned, key=_key), strict=True)
    )
    assert sum(multiset(warehouse, "interactions").values()) == len(rows)
    assert len(data_files) == len(TEXTS)


def _key(row: dict[str, Any]) -> str:
    return str(row["event_id"])


def test_the_statistics_are_those_that_the_files_themselves_give(warehouse: Warehouse) -> None:
    # pyiceberg itself fails at the last character before the surrogates.
    rows = [row for row in some_interactions() if "\ud7ff" not in row["source_id"] + row["link_alias"]]
    table, data_files = write(warehouse, "interactions", rows)
    for data_file in data_files:
        expected = _from_footer(table, data_file)
        assert data_file.record_count == expected.record_count
        assert data_file.value_counts == expected.value_counts
        assert data_file.null_value_counts == expected.null_value_counts
        for bound in ("lower_bounds", "upper_bounds"):
            ours, theirs = getattr(data_file, bound), expected.to_serialized_dict()[bound]
            # Text whose bounds the writer cut is left without bounds; what there is must agree.
            assert {field: ours[field] for field in ours if field in theirs} == {
                field: theirs[field] for field in ours if field in theirs
            }


def _from_footer(table: Table, data_file: DataFile) -> Any:
    return data_file_statistics_from_parquet_metadata(
        parquet_metadata=pq.read_metadata(data_file.file_path.removeprefix("file://")),
        stats_columns=compute_statistics_plan(table.schema(), table.properties),
        parquet_column_mapping=parquet_path_to_id_mapping(table.schema()),
    )


def test_bounds_hold_for_every_value(warehouse: Warehouse) -> None:
    table, data_files = write(warehouse, "interactions", some_interactions())
    for data_file in data_files:
        frame = pq.ParquetFile(data_file.file_path.removeprefix("file://")).read()
        for field in table.schema().fields:
            if field.field_id not in data_file.lower_bounds:
                continue
            lower = from_bytes(field.field_type, data_file.lower_bounds[field.field_id])
            upper = from_bytes(field.field_type, data_file.upper_bounds[field.field_id])
            for value in frame[field.name].to_pylist():
                assert value is None or _comparable(lower) <= _comparable(value) <= _comparable(upper)


def _comparable(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    # Iceberg compares text by its bytes.
    return value.encode() if isinstance(value, str) else value


def test_time_and_date_bounds_are_exact(warehouse: Warehouse) -> None:
    at = datetime(2026, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)
    table, (ledger,) = write(warehouse, "loaded_events", [{"event_id": "e", "occurred_at": at}])
    field = table.schema().find_field("occurred_at")
    micros = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert from_bytes(field.field_type, ledger.lower_bounds[field.field_id]) == micros
    row = {"source_id": "s", "stat_date": date(2026, 1, 31), "interaction": "received", "event_count": 1 << 40}
    table, (stats,) = write(warehouse, "source_daily_stats", [row])
    found = {field.name: stats.upper_bounds.get(field.field_id) for field in table.schema().fields}
    assert from_bytes(table.schema().find_field("stat_date").field_type, found["stat_date"]) == 20_484
    assert from_bytes(table.schema().find_field("event_count").field_type, found["event_count"]) == 1 << 40
    assert found["channel"] is None


def test_one_file_a_partition_however_many_there_are(warehouse: Warehouse) -> None:
    rows = [interaction(f"s{number % 150}", number) for number in reversed(range(3000))]
    _, data_files = write(warehouse, "interactions", rows)
    assert {(data_file.partition[0], data_file.record_count) for data_file in data_files} == {
        (f"s{number}", 20) for number in range(150)
    }
    assert len(data_files) == 150


def test_a_long_file_is_sorted_so_that_its_row_groups_prune(warehouse: Warehouse) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [{"event_id": f"e{n}", "occurred_at": start + timedelta(seconds=n * 7919 % 200_000)} for n in range(200_000)]
    _, (data_file,) = write(warehouse, "loaded_events", rows)
    groups = pq.ParquetFile(data_file.file_path.removeprefix("file://")).metadata
    statistics = [groups.row_group(number).column(1).statistics for number in range(groups.num_row_groups)]
    # Of the ledger a search for late events reads the first of each file.
    assert len(statistics) == math.ceil(len(rows) / LOADED_EVENTS.row_group_rows) == 13
    assert all(one.max < following.min for one, following in pairwise(statistics))


def test_an_empty_relation_makes_no_file(warehouse: Warehouse) -> None:
    assert write(warehouse, "interactions", [])[1] == []
    assert write(warehouse, "rejected_events", [])[1] == []


def test_nothing_else_is_left_behind(warehouse: Warehouse) -> None:
    from perennial.storage import storage_for

    table, data_files = write(warehouse, "interactions", some_interactions())
    listed = {stored.uri for stored in storage_for(table.location()).list_files(f"{table.location()}/data")}
    assert listed == {data_file.file_path for data_file in data_files}


def test_lists_have_the_annotation_that_other_engines_look_for(warehouse: Warehouse) -> None:
    rows = [{"user_id": str(flags), "invalid_phone": False, "feature_flags": flags} for flags in ([], ["a", "b"])]
    table, (data_file,) = write(warehouse, "users", rows)
    path = data_file.file_path.removeprefix("file://")
    with open_connection() as connection:
        annotated = "SELECT name, field_id FROM parquet_schema(?) WHERE logical_type = 'ListType()'"
        found = connection.execute(annotated, [path]).fetchall()
    assert found == [("feature_flags", table.schema().find_field("feature_flags").field_id)]
    assert data_file.file_size_in_bytes == Path(path).stat().st_size
    read = pq.read_table(path, columns=["user_id", "feature_flags"]).to_pylist()
    assert read == [{name: row[name] for name in ("user_id", "feature_flags")} for row in rows]


def test_a_column_that_cannot_hold_null_refuses_one(warehouse: Warehouse) -> None:
    table = warehouse.table("loaded_events")
    rows = pa.table(
        {"event_id": pa.array([None], pa.string()), "occurred_at": pa.array([0], pa.timestamp("us", "UTC"))}
    )
    with open_connection() as connection:
        connection.register("rows_to_write", rows)
        with pytest.raises(TerminalDataError, match="1 row for loaded_events without event_id"):
            write_files(connection, "rows_to_write", table, "stem")
