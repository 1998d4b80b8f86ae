"""Somebody registers Parquet files that have no field ids: they are read by the table's name mapping, wherever they go."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perennial.errors import TerminalDataError, TerminalSettingError
from perennial.maintenance.compaction import compact_table
from perennial.moves import Run, expire_sources, restore_sources
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE
from perennial.warehouse import Warehouse
from perennial.warehouse.files import relocated
from perennial.warehouse.layouts import NAME_MAPPING
from tests.audiences.worlds import ask
from tests.maintenance.deletes import delete_rows
from tests.other_writers import add_columns, as_others_read, load, register_file, values
from tests.rows import append_hot, hot_and_archive, interaction, multiset, visible
from tests.workspace import Workspace, received

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
HOT, ARCHIVE = INTERACTIONS.name, INTERACTIONS_ARCHIVE.name
MOVED = ["copied", "merged", "deleted"]


@pytest.fixture
def workspace(warehouse: Warehouse) -> Workspace:
    workspace = Workspace(warehouse)
    for source in (*MOVED, "from hive"):
        workspace.source(source)
    workspace.source("running", "active")
    workspace.sync()
    users = [{"user_id": f"user-{number}", "invalid_phone": False, "feature_flags": []} for number in range(7)]
    workspace.replace("users", users)
    return workspace


def expire(warehouse: Warehouse) -> None:
    expire_sources(warehouse, Run(uuid.uuid4().hex, NOW, "ann"))


def restore(warehouse: Warehouse) -> None:
    params = {"source_ids": [*MOVED, "from hive"], "notify": ["ann@example.com"]}
    # So long ago that what came back is due again.
    restore_sources(warehouse, params, Run(uuid.uuid4().hex, datetime(2026, 2, 1, tzinfo=UTC), "ann"))


def set_mapping(warehouse: Warehouse, table: str, mapping: str | None) -> None:
    with load(warehouse, table).transaction() as transaction:
        if mapping is None:
            transaction.remove_properties(NAME_MAPPING)
        else:
            transaction.set_properties({NAME_MAPPING: mapping})


def registered_from_hive(warehouse: Warehouse, path: Path, source_id: str) -> None:
    """Register a file that leaves its partition's value out, as Spark's `add_files` does with tables of Hive."""
    rows = [interaction(source_id, number) for number in range(3)]
    register_file(warehouse, path / "whole.parquet", rows)
    table = load(warehouse, HOT)
    (live,) = warehouse.live_files(table, [source_id])
    kept = path / f"source_id={source_id}" / "000.parquet"
    kept.parent.mkdir(parents=True)
    pq.write_table(pq.read_table(path / "whole.parquet").drop_columns("source_id"), kept)
    described = relocated(live.data_file, f"file://{kept}")
    described[5] = kept.stat().st_size
    table.delete(f"source_id == '{source_id}'")
    warehouse.append_files(HOT, [described], f"test:{uuid.uuid4().hex}")


@pytest.mark.long
def test_they_are_read_by_name_and_stay_readable_for_everybody_wherever_they_go(
    workspace: Workspace, tmp_path: Path
) -> None:
    warehouse = workspace.warehouse
    add_columns(warehouse, HOT, ["note", "point", "tags", "it's"])
    some = ["note", "point", "tags", "it's"]
    append_hot(warehouse, *([interaction("merged", number)] for number in range(5)))
    for number in range(4):
        for source in ("merged", "running"):
            rows = [{**interaction(source, 10 + number), **values(number, some)}]
            register_file(warehouse, tmp_path / f"{source}{number}.parquet", rows)
    for source in ("copied", "deleted"):
        rows = [{**interaction(source, number), **values(number, some)} for number in range(6)]
        register_file(warehouse, tmp_path / f"{source}.parquet", rows)
    delete_rows(warehouse, HOT, "deleted", [0, 3])
    # Files keep the old names; the mapping knows both, for a column and for what lies in it.
    with warehouse.table(HOT).update_schema() as update:
        update.rename_column("note", "remark")
        update.rename_column("point.x y", "x")

    ours, theirs = multiset(warehouse, HOT), as_others_read(warehouse)
    assert ours.total() == 5 + 4 + 4 + 6 + 4
    events = {json.loads(row)["event_id"]: json.loads(row) for row in ours.elements()}
    assert events["copied#0"]["remark"] == values(0)["note"]
    assert events["copied#1"]["point"] == {"x": 1, "Größe": None}
    assert visible(warehouse).total() == ours.total()
    assert ask(warehouse, received("copied"), NOW).users == [f"user-{number}" for number in range(6)]

    expire(warehouse)
    assert multiset(warehouse, HOT, MOVED).total() == 0
    assert (hot_and_archive(warehouse), as_others_read(warehouse)) == (ours, theirs)
    restore(warehouse)
    assert multiset(warehouse, ARCHIVE).total() == 0
    assert (multiset(warehouse, HOT), as_others_read(warehouse, HOT)) == (ours, theirs)
    outcome = compact_table(warehouse, HOT)
    assert outcome.files_before >= 4
    assert (multiset(warehouse, HOT), as_others_read(warehouse, HOT)) == (ours, theirs)
    expire(warehouse)
    assert (hot_and_archive(warehouse), as_others_read(warehouse)) == (ours, theirs)


@pytest.mark.long
def test_a_file_whose_partition_names_its_source_is_read_and_moves(workspace: Workspace, tmp_path: Path) -> None:
    warehouse = workspace.warehouse
    registered_from_hive(warehouse, tmp_path / "hive", "from hive")
    ours = multiset(warehouse, HOT)
    assert {json.loads(row)["source_id"] for row in ours.elements()} == {"from hive"}
    assert ask(warehouse, received("from hive"), NOW).users == ["user-0", "user-1", "user-2"]
    expire(warehouse)
    assert multiset(warehouse, ARCHIVE) == ours
    restore(warehouse)
    delete_rows(warehouse, HOT, "from hive", [1])
    compact_table(warehouse, HOT)
    assert multiset(warehouse, HOT).total() == 2
    assert multiset(warehouse, HOT) <= ours


def test_deleted_rows_that_cannot_be_identified_are_refused_until_they_are_rewritten(
    workspace: Workspace, tmp_path: Path
) -> None:
    warehouse = workspace.warehouse
    append_hot(warehouse, [interaction("running", 0)])
    add_columns(warehouse, HOT, ["filename"])
    rows = [{**interaction("copied", number), **values(number, ["filename"])} for number in range(6)]
    uri = register_file(warehouse, tmp_path / "copied.parquet", rows)
    assert multiset(warehouse, HOT).total() == 7
    delete_rows(warehouse, HOT, "copied", [1])
    left = as_others_read(warehouse)

    with pytest.raises(TerminalDataError, match=f"File {uri} .* has no field ids, but a column 'filename' and delete"):
        multiset(warehouse, HOT)

    table = load(warehouse, HOT)
    table.overwrite(table.scan().to_arrow())
    assert multiset(warehouse, HOT).total() == 6
    assert as_others_read(warehouse) == left


def test_without_the_mapping_nothing_is_read_as_null_and_moving_loses_nothing(
    workspace: Workspace, tmp_path: Path
) -> None:
    warehouse = workspace.warehouse
    uri = register_file(warehouse, tmp_path / "copied.parquet", [interaction("copied", number) for number in range(6)])
    ours = multiset(warehouse, HOT)
    set_mapping(warehouse, HOT, None)

    with pytest.raises(TerminalDataError, match=f"File {uri} of table interactions has no field ids") as refused:
        multiset(warehouse, HOT)
    with pytest.raises(TerminalDataError, match="no field ids"):
        ask(warehouse, received("copied"), NOW)

    said = str(refused.value)
    set_mapping(warehouse, HOT, said[said.index("[{") : said.rindex("}]") + 2])
    assert multiset(warehouse, HOT) == ours
    expire(warehouse)
    assert multiset(warehouse, ARCHIVE) == ours
    # Gone from one table, it comes back from the other with the next move.
    set_mapping(warehouse, HOT, None)
    restore(warehouse)
    assert multiset(warehouse, HOT) == ours


def test_a_mapping_that_is_none_and_files_that_engines_read_differently_are_refused(
    workspace: Workspace, tmp_path: Path
) -> None:
    warehouse = workspace.warehouse
    append_hot(warehouse, [interaction("copied", 1)])
    before = as_others_read(warehouse)
    set_mapping(warehouse, HOT, "[{")
    with pytest.raises(
        TerminalSettingError, match=f"Property {NAME_MAPPING} of table interactions is not a name mapping"
    ):
        expire(warehouse)
    set_mapping(warehouse, HOT, None)
    uri = register_file(warehouse, tmp_path / "halves.parquet", [interaction("running", 2)])
    rows = pq.read_table(tmp_path / "halves.parquet")
    event_id = pa.field("event_id", pa.large_string(), False, {"PARQUET:field_id": "1"})
    pq.write_table(rows.cast(pa.schema([event_id, *list(rows.schema)[1:]])), tmp_path / "halves.parquet")
    with pytest.raises(TerminalDataError, match=f"File {uri} .* has field ids, but none for column 'event_type'"):
        multiset(warehouse, HOT)
    warehouse.table(HOT).delete("source_id == 'running'")

    uri = register_file(warehouse, tmp_path / "double.parquet", [interaction("running", 3)])
    rows = pq.read_table(tmp_path / "double.parquet")
    pq.write_table(rows.append_column("id", rows["event_id"]), tmp_path / "double.parquet")
    mapping: list[dict[str, Any]] = json.loads(load(warehouse, HOT).properties[NAME_MAPPING])
    set_mapping(
        warehouse,
        HOT,
        json.dumps([{**one, "names": [*one["names"], *["id"][: one["field-id"] == 1]]} for one in mapping]),
    )
    with pytest.raises(
        TerminalDataError,
        match=f"File {uri} .* has columns 'event_id' and 'id', which both get field id 1 from property",
    ):
        multiset(warehouse, HOT)
    set_mapping(warehouse, HOT, json.dumps(mapping))
    assert multiset(warehouse, HOT).total() == 2
    assert before.total() == 1
