"""A later version has more columns: `perennial init` adds them, whatever others have done to the tables meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pyiceberg.types import IntegerType, LongType, StringType, TimestamptzType

from perennial.errors import TerminalSettingError
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, SOURCES, TABLES, Column, Table
from perennial.warehouse import Warehouse, catalog
from tests.other_writers import append, load
from tests.rows import append_hot, hot_and_archive, interaction

SEEN_AT = Column("seen_at", "timestamptz", False, "When somebody looked")
SCORE = Column("score", "long", False, "How good it was")
FACTS = (INTERACTIONS.name, INTERACTIONS_ARCHIVE.name)


def later(table: Table) -> Table:
    return replace(table, columns=(*table.columns, SEEN_AT, SCORE))


@pytest.fixture
def upgraded(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """A warehouse of today under a version that gives three tables two more columns."""
    tables = tuple(
        later(table) if table in (INTERACTIONS, INTERACTIONS_ARCHIVE, SOURCES) else table for table in TABLES
    )
    monkeypatch.setattr(catalog, "TABLES", tables)
    return warehouse


def ids(warehouse: Warehouse, table: str) -> dict[str, int]:
    return {field.name: field.field_id for field in load(warehouse, table).schema().fields}


def test_hot_and_archive_get_a_new_column_under_one_id_though_theirs_differ(upgraded: Warehouse) -> None:
    with load(upgraded, FACTS[1]).update_schema() as update:
        update.add_column("theirs", StringType())
    append(upgraded, [{**interaction("a", 1), "theirs": "t"}], FACTS[1])
    append_hot(upgraded, [interaction("a", 2)])

    changes = upgraded.create_tables()

    assert any(change.startswith("gave interactions_archive column 'seen_at'") for change in changes)
    assert ids(upgraded, FACTS[0]) == ids(upgraded, FACTS[1])
    assert ids(upgraded, FACTS[0]).keys() > {"theirs", "seen_at", "score"}
    assert {"seen_at", "score"} <= ids(upgraded, SOURCES.name).keys()
    assert upgraded.create_tables() == []
    assert sum('"theirs":"t"' in row for row in hot_and_archive(upgraded)) == 1


@pytest.mark.long(but="^sources-")
@pytest.mark.parametrize("kind", [TimestamptzType(), LongType(), IntegerType(), StringType()], ids=str)
@pytest.mark.parametrize("table", [INTERACTIONS.name, SOURCES.name])
def test_a_column_of_the_same_name_that_somebody_added_is_taken_widened_or_refused(
    upgraded: Warehouse, table: str, kind: TimestamptzType | LongType | IntegerType | StringType
) -> None:
    name, wanted = ("seen_at", "timestamptz") if isinstance(kind, TimestamptzType) else ("score", "long")
    with load(upgraded, table).update_schema() as update:
        update.add_column(name, kind)
    theirs = ids(upgraded, table)[name]

    if isinstance(kind, StringType):
        said = f"Table {table} has column 'score', id {theirs}, optional string, where the contract has 'score', long"
        with pytest.raises(TerminalSettingError, match=said):
            upgraded.create_tables()
        with load(upgraded, table).update_schema() as update:
            update.rename_column("score", "their_score")
        upgraded.create_tables()
        assert ids(upgraded, table)["their_score"] == theirs
    else:
        upgraded.create_tables()
        assert ids(upgraded, table)[name] == theirs

    assert str(load(upgraded, table).schema().find_type(name)) == wanted
    assert upgraded.create_tables() == []
    assert ids(upgraded, FACTS[0]) == ids(upgraded, FACTS[1])
