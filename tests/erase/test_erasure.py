"""R22: a person's rows go from every table and from storage; everybody else's stay, row for row."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pyiceberg.exceptions import ValidationError
from pyiceberg.table import StaticTable

from perennial.drills.inline import check_archive
from perennial.erase.locate import locate_rows
from perennial.erase.verify_tables import verify_tables
from perennial.maintenance.last_copies import find_lost_sources
from perennial.moves import Run, expire_sources, restore_sources
from perennial.tables import TABLES as ALL_TABLES
from perennial.warehouse import Warehouse
from perennial.warehouse.heads import find_losses
from tests.conftest import MadeOnce
from tests.erase.persons import (
    FACTS,
    NOW,
    PERSON,
    TABLES,
    assert_gone,
    contents,
    erase,
    facts,
    populated,
    purge,
    records_of,
    without,
)

LATER = NOW + timedelta(days=1)
REQUEST: dict[str, Any] = {"source_ids": ["a", "b"], "notify": ["ann@example.com"]}


@pytest.fixture
def world(made_once: MadeOnce) -> Warehouse:
    return made_once(populated).warehouse


def assert_sound(warehouse: Warehouse) -> None:
    """What `perennial check` looks at, and a check of the whole archive with the rehearsal of a restore."""
    assert not list(find_losses(warehouse))
    assert find_lost_sources(warehouse) == []
    report = check_archive(warehouse, Run("check", LATER), 100)
    assert (report.damaged, report.checked_count) == ((), report.archived_count)


def test_r22_a_person_is_erased_everywhere_and_everybody_else_stays(world: Warehouse) -> None:
    before = contents(world)
    elsewhere = {table.name: world.read(table.name) for table in ALL_TABLES if table.name not in TABLES}
    located = locate_rows(world, [PERSON], records_of(PERSON))
    assert located.rows.keys() == set(TABLES)
    assert located.by_user is not None
    assert located.by_user[PERSON].items() <= located.rows.items()

    removed = erase(world, PERSON)

    assert removed.is_complete
    assert removed.rows == located.rows
    assert contents(world) == without(before, PERSON)
    assert sum(removed.rows.values()) == sum(rows.total() for rows in before.values()) - sum(
        rows.total() for rows in contents(world).values()
    )
    assert verify_tables(world, [PERSON], records_of(PERSON)), "earlier snapshots still have the rows"
    purged = purge(world, PERSON)
    assert (purged.remaining, purged.under_way, purged.kept) == ((), (), ())
    assert_gone(world, PERSON)
    for name, rows in elsewhere.items():
        if name not in ("archived_files", "loaded_events"):
            assert world.read(name).equals(rows), name
    assert_sound(world)
    assert erase(world, PERSON).rows == {}

    restore_sources(world, REQUEST, Run("back", LATER))
    assert facts(contents(world)) == facts(without(before, PERSON))
    assert contents(world)[FACTS[1]].total() == 0
    expire_sources(world, Run("again", LATER + timedelta(days=100)))
    assert facts(contents(world)) == facts(without(before, PERSON))
    assert_gone(world, PERSON)


def test_an_earlier_snapshot_cannot_be_used_to_read_the_person_after_the_purge(world: Warehouse) -> None:
    earlier = {name: world.table(name) for name in TABLES}
    erase(world, PERSON)
    purge(world, PERSON)

    for name, table in earlier.items():
        snapshot = table.current_snapshot()
        assert snapshot is not None
        with pytest.raises((ValueError, ValidationError)):
            world.table(name).scan(snapshot_id=snapshot.snapshot_id).to_arrow()
        # Whoever has kept the metadata file finds that what it refers to is gone.
        with pytest.raises(FileNotFoundError):
            StaticTable.from_metadata(table.metadata_location, table.io.properties).scan().to_arrow()
