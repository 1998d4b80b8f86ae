"""What each engine is sent is checked in, so that a change shows: `python -m tests.engines.golden` accepts it.

What Athena and Trino are sent has been read by sqlglot in their dialects; nothing here has run it.
"""

from __future__ import annotations

import pytest
import sqlglot
from sqlglot import exp

from perennial.engines.dialects import ATHENA, SPARK, TRINO, Dialect
from perennial.engines.sqlalchemy import escaped
from tests.engines.golden import FOLDER, STATEMENTS, files, sent

SENT = [(name, dialect) for name in STATEMENTS for dialect in (SPARK, TRINO)]


def labelled(value: str | Dialect) -> str:
    return value if isinstance(value, str) else value.name


def test_what_an_engine_is_sent_is_what_was_checked_in() -> None:
    found = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    expected = {path.name: text for path, text in files().items()}
    assert found == expected, "accept it with: python -m tests.engines.golden"


@pytest.mark.parametrize("name", STATEMENTS)
def test_athena_is_sent_what_trino_is_sent(name: str) -> None:
    assert sent(name, ATHENA) == sent(name, TRINO)


@pytest.mark.parametrize(("name", "dialect"), SENT, ids=labelled)
def test_it_can_be_read_in_its_own_dialect_and_holds_no_value(name: str, dialect: Dialect) -> None:
    rendered = sent(name, dialect)
    query = sqlglot.parse_one(rendered.sql, dialect=dialect.name)
    assert isinstance(query, exp.Query)
    assert {place.name for place in query.find_all(exp.Placeholder)} == rendered.binds.keys()
    for value in ("it's spring", "promo", "2026-05-0", "'beta'"):
        assert value not in query.sql(dialect.name, comments=False)


@pytest.mark.parametrize(("name", "dialect"), SENT, ids=labelled)
def test_every_table_is_read_at_the_snapshot_of_the_session(name: str, dialect: Dialect) -> None:
    query = sqlglot.parse_one(sent(name, dialect).sql, dialect=dialect.name)
    read = [table for table in query.find_all(exp.Table) if table.db]
    assert all(table.args.get("version") or table.name.endswith("$partitions") for table in read)
    assert read or name == "files_of_nothing"


def test_a_text_that_looks_like_a_bind_of_sqlalchemys_is_left_alone() -> None:
    assert escaped("SELECT 'a:b '':c' AS \"d:e\", :f") == r"SELECT 'a\:b ''\:c' AS " + r'"d\:e", :f'
