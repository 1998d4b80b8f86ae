"""Somebody has added columns of every type to every table: every question is answered as if they were not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perennial.engines.duckdb import open_session
from perennial.exports.models import parse_request
from perennial.exports.profile import read_profile
from perennial.exports.users import export_users
from perennial.settings import Settings
from perennial.tables import TABLES
from perennial.warehouse import Warehouse
from tests.exports.conftest import Moment, Story, run
from tests.exports.received_world import PEOPLE, expire, filled, restore
from tests.other_writers import add_columns


@pytest.mark.long
def test_every_question_is_answered_as_without_them(story: Story, tmp_path: Path) -> None:
    home = tmp_path / "home"
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(home)}))
    warehouse.create_tables()
    for table in TABLES:
        add_columns(warehouse, table.name)
    filled(warehouse)
    look(warehouse, home, story.before)
    expire(warehouse)
    look(warehouse, home, story.expired)
    restore(warehouse)
    look(warehouse, home, story.restored)
    with open_session(warehouse) as session:
        for table in TABLES:
            session.execute(f'SELECT "select", "point", "by key", * FROM {table.name}').fetchall()


def look(warehouse: Warehouse, home: Path, moment: Moment) -> None:
    assert {user_id: read_profile(warehouse, user_id) for user_id in PEOPLE} == moment.profiles
    assert json.loads(export_users(warehouse, parse_request({"braze_id": PEOPLE})).to_json()) == moment.export
    for command in ("users-export --segment not-old --strict", "status"):
        found = run(home, *command.split())
        assert found.exception is None or isinstance(found.exception, SystemExit)
        if command in moment.printed:
            assert found.stdout == moment.printed[command].stdout
