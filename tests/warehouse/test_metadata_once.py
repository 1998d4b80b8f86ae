"""What is relied on where pyiceberg's metadata is parsed once and shared: copies stay apart, nothing is lost."""

from __future__ import annotations

import copy
import json
from importlib.metadata import version
from pathlib import Path

import pytest
from pydantic import ValidationError
from pyiceberg.exceptions import ValidationError as IcebergValidationError
from pyiceberg.serializers import FromInputFile
from pyiceberg.table.metadata import TableMetadata, TableMetadataWrapper

from perennial.tables import INTERACTIONS
from perennial.warehouse import Warehouse, metadata_once
from perennial.warehouse.lineage import operation_of
from tests.maintenance.steps import append_loads


def text_of(warehouse: Warehouse) -> str:
    return Path(warehouse.table(INTERACTIONS.name).metadata_location.removeprefix("file://")).read_text()


def parsed(text: str) -> TableMetadata:
    """As pyiceberg parses it."""
    return TableMetadataWrapper.model_validate_json(text).root


def test_what_a_commit_has_written_is_what_the_file_says(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a"], loads=3)
    text = text_of(warehouse)
    assert text in metadata_once._known

    assert metadata_once.parse_once(text) == parsed(text)
    assert metadata_once.parse_once(text).model_dump_json() == text


def test_operations_are_read_where_pyiceberg_keeps_them(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a"], loads=2)
    snapshots = parsed(text_of(warehouse)).snapshots
    said = [snapshot.summary.additional_properties["perennial.operation-id"] for snapshot in snapshots]
    assert [operation_of(snapshot) for snapshot in snapshots] == said


def test_a_copy_may_be_changed_and_the_others_are_as_before(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a"], loads=2)
    text = text_of(warehouse)
    mine, copied = metadata_once.parse_once(text), copy.deepcopy(metadata_once.parse_once(text))
    for changed in (mine, copied):
        changed.properties["mine"] = "1"
        changed.snapshots.clear()
        changed.refs.clear()

    assert metadata_once.parse_once(text) == parsed(text)


def test_all_that_metadata_lists_is_frozen(warehouse: Warehouse) -> None:
    """Copies share it. This was checked with pyiceberg 0.12; look again before another version is used."""
    assert version("pyiceberg").startswith("0.12.")
    append_loads(warehouse, ["a"], loads=1)
    for name, value in warehouse.table(INTERACTIONS.name).metadata:
        members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        for member in members:
            if isinstance(member, str):
                continue
            with pytest.raises(ValidationError, match="frozen"):
                setattr(member, next(iter(type(member).model_fields)), None)
            assert member.model_config["frozen"], name


def test_only_the_latest_are_kept_and_a_damaged_file_never_is(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a"], loads=1)
    found = json.loads(text_of(warehouse))
    for number in range(2 * metadata_once.KEPT):
        metadata_once.parse_once(json.dumps(found | {"last-updated-ms": number}))
    assert len(metadata_once._known) == metadata_once.KEPT

    path = Path(warehouse.table(INTERACTIONS.name).metadata_location.removeprefix("file://"))
    path.write_text(path.read_text()[:-20])
    for _ in range(2):
        with pytest.raises(IcebergValidationError):
            FromInputFile.table_metadata(warehouse.catalog._load_file_io({}, "").new_input(f"file://{path}"))  # type: ignore[attr-defined]
