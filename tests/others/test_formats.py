"""Format versions and file formats that cannot be worked with: refused before anything moves, and the remedy works."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from pyiceberg.manifest import FileFormat
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.transforms import MonthTransform

from perennial.errors import TerminalDataError, TerminalError, TerminalSettingError
from perennial.maintenance import compact_tables, purge_files
from perennial.moves import Run, expire_sources, restore_sources
from perennial.moves.expire import decide_expiry, plan_expiry
from perennial.settings import Settings
from perennial.storage import storage_for
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, LIFECYCLE_EVENTS, LOADED_EVENTS, TABLES
from perennial.warehouse import Warehouse
from perennial.warehouse.heads import find_losses
from perennial.warehouse.repair import accept_table
from tests.audiences.worlds import ask
from tests.currents.landing import OPEN, event, land_avro, load
from tests.maintenance.deletes import delete_rows
from tests.moves.steps import finish_move, prepare
from tests.others.writer import (
    NOW,
    add_file,
    append,
    set_properties,
    snapshot_ids,
    table_of_others,
    upgrade_to_version_3,
)
from tests.rows import append_hot, hot_and_archive, interaction, multiset, visible
from tests.workspace import Workspace, received

HOT, ARCHIVE = INTERACTIONS.name, INTERACTIONS_ARCHIVE.name
RUN = Run("r1", NOW, "ann")
NAMES = [table.name for table in TABLES]


@pytest.fixture
def warehouse(local_warehouse: Warehouse) -> Warehouse:
    workspace = Workspace(local_warehouse)
    workspace.source("old")
    workspace.source("gone")
    workspace.sync()
    append_hot(local_warehouse, [interaction("gone", number) for number in range(4)])
    expire_sources(local_warehouse, RUN)
    append_hot(local_warehouse, [interaction("old", number) for number in range(4)])
    return local_warehouse


def loads(warehouse: Warehouse) -> None:
    land_avro(warehouse.settings, OPEN, [event(1)])
    load(warehouse)


def expires(warehouse: Warehouse) -> None:
    expire_sources(warehouse, RUN)


def restores(warehouse: Warehouse) -> None:
    restore_sources(warehouse, {"source_ids": ["gone"], "notify": ["ann@example.com"]}, RUN)


def refused(warehouse: Warehouse, work: Callable[[Warehouse], object], error: type[TerminalError], *said: str) -> None:
    """Work ends in an error that a retry does not repeat, and every table is where it was."""
    before = snapshot_ids(warehouse, NAMES)
    with pytest.raises(error) as raised:
        work(warehouse)
    assert all(text in str(raised.value) for text in said), raised.value
    after = snapshot_ids(warehouse, NAMES)
    # That it was decided to expire a source may have been kept.
    del before["expiry_decisions"], after["expiry_decisions"]
    assert after == before


VERSION_3 = [(LOADED_EVENTS.name, loads), (HOT, expires), (ARCHIVE, restores)]


@pytest.mark.long
@pytest.mark.parametrize(("name", "work"), VERSION_3, ids=[f"{name}-{work.__name__}" for name, work in VERSION_3])
def test_a_table_of_version_3_is_refused_and_can_be_made_anew(
    warehouse: Warehouse, name: str, work: Callable[[Warehouse], None]
) -> None:
    rows = hot_and_archive(warehouse)
    upgrade_to_version_3(warehouse, name)
    assert hot_and_archive(warehouse) == rows, "it is read"
    refused(warehouse, work, TerminalSettingError, f".{name} ", "format version 3", "rename", "perennial init")

    namespace = warehouse.settings.namespace
    warehouse.catalog.rename_table((namespace, name), (namespace, "renamed"))
    assert warehouse.create_tables() == [f"created table {name}"]
    found = table_of_others(warehouse, "renamed").scan().to_arrow()
    if len(found):
        table_of_others(warehouse, name).append(found)
    if any(loss.table == name for loss in find_losses(warehouse)):
        accept_table(warehouse, name)

    work(warehouse)
    assert rows <= hot_and_archive(warehouse)
    purge_files(warehouse, datetime.now(UTC) + timedelta(days=9))
    assert len(table_of_others(warehouse, "renamed").scan().to_arrow()) == len(found)
    assert rows <= hot_and_archive(warehouse)


def test_a_table_that_becomes_one_of_version_3_during_a_move_stops_it_before_anything_is_recorded(
    warehouse: Warehouse,
) -> None:
    (plan_uri,) = plan_expiry(warehouse, decide_expiry(warehouse, RUN).uri, RUN)
    prepare(warehouse, plan_uri)
    seen = visible(warehouse)
    upgrade_to_version_3(warehouse, HOT)
    refused(warehouse, lambda _: finish_move(warehouse, plan_uri, RUN), TerminalSettingError, f".{HOT} ", "version 3")
    assert visible(warehouse) == seen


FORMATS = [
    (HOT, FileFormat.AVRO, expires),
    (HOT, FileFormat.AVRO, compact_tables),
    (ARCHIVE, FileFormat.ORC, restores),
    (LOADED_EVENTS.name, FileFormat.AVRO, loads),
    (LIFECYCLE_EVENTS.name, FileFormat.ORC, expires),
]


def rows_for(warehouse: Warehouse, name: str) -> list[dict[str, object]]:
    if name in (HOT, ARCHIVE):
        source = "old" if name == HOT else "gone"
        return [interaction(source, number) for number in range(10, 13)]
    if name == LOADED_EVENTS.name:
        return [{"event_id": "e9", "occurred_at": NOW}]
    return warehouse.read(name).to_pylist()[:1]


@pytest.mark.long(but=r"^(loaded_events|interactions|interactions_archive)-.*-(loads|expires|restores)$")
@pytest.mark.parametrize(
    ("name", "file_format", "work"), FORMATS, ids=[f"{name}-{kind}-{work.__name__}" for name, kind, work in FORMATS]
)
def test_a_file_that_is_no_parquet_is_refused_and_can_be_rewritten(
    warehouse: Warehouse, name: str, file_format: FileFormat, work: Callable[[Warehouse], object]
) -> None:
    rows = rows_for(warehouse, name)
    if work is compact_tables:
        append_hot(warehouse, *([interaction("old", number)] for number in range(4, 8)))
    uri = add_file(warehouse, rows, file_format, name)
    kind = file_format.lower().capitalize()
    refused(warehouse, work, TerminalDataError, f".{name} ", uri, f"is {kind}", "write.format.default", "rewrite")

    # What rewrite_data_files commits: the same rows in another file, in one snapshot.
    set_properties(warehouse, name, {"write.format.default": "parquet"})
    table = table_of_others(warehouse, name)
    (listed,) = [live.data_file for live in warehouse.live_files(warehouse.table(name)) if live.uri == uri]
    with table.transaction() as transaction, transaction.update_snapshot().overwrite() as producer:
        producer.delete_data_file(listed)
    append(warehouse, rows, name)

    work(warehouse)


def test_a_question_about_a_source_with_an_avro_file_says_so_and_other_questions_are_answered(
    warehouse: Warehouse,
) -> None:
    uri = add_file(warehouse, [interaction("old", 9)], FileFormat.AVRO, HOT)
    with pytest.raises(TerminalDataError, match=uri):
        ask(warehouse, received("old"), NOW)
    assert not ask(warehouse, received("gone"), NOW).completeness.complete
    assert warehouse.source_totals(HOT)["old"].row_count == 5, "what is only counted is counted"

    add_file(warehouse, [interaction("gone", 9)], FileFormat.PARQUET, HOT, key=b"a key")
    with pytest.raises(TerminalDataError, match="is encrypted"):
        multiset(warehouse, HOT, ["gone"])

    user = {"user_id": "u", "invalid_phone": False, "feature_flags": []}
    add_file(warehouse, [user], FileFormat.ORC, "users")
    Workspace(warehouse).replace("users", [user])
    assert warehouse.read("users").num_rows == 1, "a sync replaces it"


@pytest.mark.long
def test_our_own_files_are_parquet_whatever_the_tables_default(warehouse: Warehouse, settings: Settings) -> None:
    for name in NAMES:
        set_properties(warehouse, name, {"write.format.default": "orc"})
    rows = hot_and_archive(warehouse)
    workspace = Workspace(warehouse)
    workspace.source("old")
    workspace.source("gone")
    workspace.sync()
    loads(warehouse)
    expires(warehouse)
    restores(warehouse)
    formats = {live.data_file.file_format for name in NAMES for live in warehouse.live_files(warehouse.table(name))}
    assert formats == {FileFormat.PARQUET}
    assert rows <= hot_and_archive(warehouse)


MONTH = PartitionSpec(PartitionField(3, 1000, MonthTransform(), "month"))
CREATED = {"unpartitioned": (UNPARTITIONED_PARTITION_SPEC, "2"), "by-month-version-1": (MONTH, "1")}


@pytest.mark.long
@pytest.mark.parametrize(("spec", "version"), CREATED.values(), ids=CREATED.keys())
def test_a_table_that_somebody_created_first_is_refused_until_init_has_put_it_right(
    warehouse: Warehouse, spec: PartitionSpec, version: str
) -> None:
    identifier = (warehouse.settings.namespace, HOT)
    schema = warehouse.table(HOT).schema()
    warehouse.catalog.drop_table(identifier)
    warehouse.catalog.create_table(
        identifier,
        schema=schema,
        partition_spec=spec,
        properties={"format-version": version},
    )
    theirs = [interaction(source, number) for source in ("old", "gone") for number in range(20, 23)]
    append(warehouse, theirs)
    # What this workspace has noted of a table of its own would be the first thing that is refused.
    note = f"{warehouse.operations_uri()}/heads/{HOT}.json"
    storage_for(note).delete(note)
    refused(warehouse, loads, TerminalSettingError, f".{HOT} ", "perennial init")

    assert f"partitioned {HOT} by source_id" in warehouse.create_tables()
    rows = multiset(warehouse, HOT)
    loads(warehouse)
    expires(warehouse)
    restores(warehouse)
    assert rows <= hot_and_archive(warehouse)
    assert warehouse.source_totals(HOT)["gone"].row_count == 7


def test_deletes_by_equality_are_refused(warehouse: Warehouse) -> None:
    uri = delete_rows(warehouse, HOT, "old", [0], by_equality=True)
    refused(warehouse, expires, TerminalDataError, HOT, "equality deletes", "rewrite the table's data files")
    assert warehouse.table(HOT).io.new_input(uri).exists()
