"""What each engine is sent is checked in, so that a change shows: `python -m tests.engines.golden` accepts it.

What Athena and Trino are sent has been read by sqlglot in their dialects; nothing here has run it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from perennial.engines.sqlalchemy import escaped
from tests.engines.golden import DIALECTS, FOLDER, STATEMENTS, files

FILES = files()
RENDERED = [path for path in FILES if ".duckdb." not in path.name]


def name(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", FILES, ids=name)
def test_what_an_engine_is_sent_is_what_was_checked_in(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == FILES[path], "accept it with: python -m tests.engines.golden"


def test_nothing_is_checked_in_that_is_not_sent() -> None:
    assert set(FOLDER.iterdir()) == FILES.keys()
    assert len(FILES) == len(STATEMENTS) * (1 + len(DIALECTS))


@pytest.mark.parametrize("path", RENDERED, ids=name)
def test_it_can_be_read_in_its_own_dialect_and_holds_no_value(path: Path) -> None:
    dialect = path.name.split(".")[-2]
    query = sqlglot.parse_one(FILES[path], dialect=dialect)
    assert isinstance(query, exp.Query | exp.Insert)
    binds = {found[1] for found in re.finditer(r"^-- (\w+) = ", FILES[path], flags=re.MULTILINE)}
    assert {place.name for place in query.find_all(exp.Placeholder)} == binds
    for value in ("it's spring", "promo", "2026-05-0", "'beta'"):
        assert value not in query.sql(dialect, comments=False)


@pytest.mark.parametrize("path", RENDERED, ids=name)
def test_every_table_is_read_at_the_snapshot_of_the_session(path: Path) -> None:
    query = sqlglot.parse_one(FILES[path], dialect=path.name.split(".")[-2])
    written = query.find(exp.Table) if isinstance(query, exp.Insert) else None
    read = [table for table in query.find_all(exp.Table) if table.db and table is not written]
    assert all(table.args.get("version") or table.name.endswith("$partitions") for table in read)
    assert read or "files_of_nothing" in path.name


def test_a_text_that_looks_like_a_bind_of_sqlalchemys_is_left_alone() -> None:
    assert escaped("SELECT 'a:b '':c' AS \"d:e\", :f") == r"SELECT 'a\:b ''\:c' AS " + r'"d\:e", :f'
