"""R22: a person goes from tables that others have partitioned anew, widened, or written to in their way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from pyiceberg.table.update.spec import UpdateSpec
from pyiceberg.transforms import BucketTransform

from perennial.moves import Run, expire_sources, restore_sources
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, USER_MESSAGE_SUMMARY
from perennial.warehouse import Warehouse
from tests.conftest import MadeOnce
from tests.erase.persons import NOW, PERSON, TABLES, assert_gone, erase, populated, purge, summary
from tests.other_writers import add_columns, as_others_read, values
from tests.others.writer import append, repartition
from tests.rows import interaction


@pytest.fixture
def world(made_once: MadeOnce) -> Warehouse:
    return made_once(populated).warehouse


def others(rows: Counter[str]) -> Counter[str]:
    return Counter({row: count for row, count in rows.items() if f"'{PERSON}'" not in row and f'"{PERSON}"' not in row})


def by_user(update: UpdateSpec) -> object:
    return update.add_identity("user_id")


def by_bucket(update: UpdateSpec) -> object:
    return update.remove_field("source_id").add_field("user_id", BucketTransform(4), "bucket")


@pytest.mark.parametrize("change", [by_user, by_bucket], ids=["user", "bucket"])
def test_r22_a_person_goes_from_tables_of_others_and_nobody_else_does(
    world: Warehouse, change: Callable[[UpdateSpec], object]
) -> None:
    for table in (INTERACTIONS.name, INTERACTIONS_ARCHIVE.name):
        add_columns(world, table)
    repartition(world, change)
    repartition(world, by_user, USER_MESSAGE_SUMMARY.name)
    append(world, [{**interaction("running", 400 + n), **values(n)} for n in range(21)])
    append(world, [summary(f"user-{n % 7}", n) for n in range(14)], USER_MESSAGE_SUMMARY.name)
    before = as_others_read(world, *TABLES)

    removed = erase(world, PERSON)
    assert removed.is_complete
    assert as_others_read(world, *TABLES) == others(before)
    assert purge(world, PERSON).remaining == ()
    assert_gone(world, PERSON)
    restore_sources(world, {"source_ids": ["a", "b"], "notify": ["a@example.com"]}, Run("r", NOW))
    expire_sources(world, Run("again", NOW))
    assert as_others_read(world, *TABLES) == others(before)
