"""Apache Spark writes between any two steps of a move, both ways, killed or not: nothing is lost, doubled or brought back."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from perennial.errors import TerminalDataError, TerminalSettingError, TransientConflictError, TransientError
from perennial.moves import Run, expire_sources, recovery, restore_sources
from perennial.moves.expire import decide_expiry, plan_expiry
from perennial.moves.move_plan import find_plan, read_plan
from perennial.moves.restore import check_request, plan_restore
from perennial.operations import pending_records
from perennial.storage import local_name
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE
from perennial.warehouse import Warehouse
from perennial.warehouse.heads import find_losses
from tests.installed.spark import ApacheSpark
from tests.installed.writes import WRITES, Write, append, binpack, binpack_and_expire, delete
from tests.kill import Point, run_and_kill
from tests.moves.steps import add_copies, copy_files, finish_move, prepare, verify_copies
from tests.rows import append_hot, interaction, multiset, visible
from tests.workspace import Workspace

HOT, ARCHIVE = INTERACTIONS.name, INTERACTIONS_ARCHIVE.name
NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
REQUEST = {"source_ids": ["old"], "notify": ["ann@example.com"]}
# Where a process dies that had come so far; the steps before the commits are also called one by one.
POINTS = {
    "plan": Point("after", "perennial.moves.plan:write_plan"),
    "copy": Point("after", "perennial.moves.copy:_write_results"),
    "verify": Point("before", "commit:add"),
    "add": Point("after", "commit:add"),
    "record": Point("after", "commit:record"),
    "remove": Point("after", "commit:remove"),
}


@dataclass(frozen=True)
class Case:
    """Who writes when.

    Attributes:
        write: What Spark does.
        step: After which step of the move.
        way: expire or restore.
        table: To which table it does it.
        killed: Whether the process dies there; else the steps are called one by one.
    """

    write: Write
    step: str
    way: str
    table: str
    killed: bool

    def __str__(self) -> str:
        return f"{self.write.__name__}-in-{self.table}-{self.way}-{self.step}{'-killed' * self.killed}"


def cases() -> list[Any]:
    """Every write after every step, where there are rows: in turn both ways, killed or not. CI runs one of each write."""
    found = []
    for number, write in enumerate(WRITES):
        for at, step in enumerate(POINTS):
            way = ("expire", "restore")[(number + at) % 2]
            origin, destination = (HOT, ARCHIVE) if way == "expire" else (ARCHIVE, HOT)
            in_both = step == "add" or (way, step) == ("expire", "record")
            moved = step == "remove" or (way, step) == ("restore", "record") or (in_both and number // 2 % 2 == 0)
            killed = step in ("record", "remove") or (number + at) // 2 % 2 == 0
            case = Case(write, step, way, destination if moved else origin, killed)
            marks = () if at == (3 + number // 2) % len(POINTS) else pytest.mark.long
            found.append(pytest.param(case, id=str(case), marks=marks))
    return found


def rows_of(warehouse: Warehouse, *tables: str) -> Counter[str]:
    """Every row of tables; a column that one of them lacks is as if it were null."""
    rows: Counter[str] = Counter()
    for table in tables:
        rows += whole(multiset(warehouse, table))
    return rows


def whole(rows: Counter[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for text, count in rows.items():
        found[json.dumps({name: value for name, value in json.loads(text).items() if value is not None})] += count
    return found


def declared(rows: Counter[str]) -> Counter[str]:
    """Rows without columns of others, which features do not see."""
    names = {column.name for column in INTERACTIONS.columns}
    found: Counter[str] = Counter()
    for text, count in rows.items():
        found[json.dumps({name: value for name, value in json.loads(text).items() if name in names})] += count
    return found


def world(warehouse: Warehouse) -> None:
    workspace = Workspace(warehouse)
    workspace.source("old")
    workspace.source("running", "active")
    for first in (0, 10):
        append_hot(warehouse, *([interaction(source, first + n) for n in range(10)] for source in ("old", "running")))
    workspace.sync()


def expire(warehouse: Warehouse, run_id: str = "r1", days: int = 0) -> None:
    expire_sources(warehouse, Run(run_id, NOW + timedelta(days=days)))


def restore(warehouse: Warehouse, run_id: str = "r2", days: int = 1) -> None:
    restore_sources(warehouse, REQUEST, Run(run_id, NOW + timedelta(days=days), "ann"))


WAYS: dict[str, tuple[Callable[..., None], Run]] = {
    "expire": (expire, Run("r1", NOW)),
    "restore": (restore, Run("r2", NOW + timedelta(days=1), "ann")),
}


def come_to(warehouse: Warehouse, case: Case) -> str:
    """Make the first steps of a move; returns the address of its plan."""
    work, run = WAYS[case.way]
    if case.killed:
        run_and_kill(warehouse.settings, POINTS[case.step], work)
        return next(
            (record.plan_uri for record in pending_records(warehouse, case.way) if find_plan(record.plan_uri)), ""
        )
    if case.way == "expire":
        (plan_uri,) = plan_expiry(warehouse, decide_expiry(warehouse, run).uri, run)
    else:
        (plan_uri,) = plan_restore(warehouse, check_request(warehouse, REQUEST), run)
    steps: dict[str, Callable[[], object]] = {
        "copy": lambda: copy_files(warehouse, plan_uri, 0),
        "verify": lambda: verify_copies(warehouse, plan_uri),
        "add": lambda: add_copies(warehouse, plan_uri),
    }
    names = list(steps)
    for name in names[: names.index(case.step) + 1] if case.step in steps else ():
        steps[name]()
    return plan_uri


def written(warehouse: Warehouse, spark: ApacheSpark, case: Case) -> tuple[Counter[str], Counter[str]]:
    """Let Spark write; returns the rows that left the table and those that came, on which both readers agree."""
    before = rows_of(warehouse, case.table)
    case.write(spark, case.table)
    after = rows_of(warehouse, case.table)
    assert whole(spark.multiset(case.table)) == after
    return before - after, after - before


def go_on(warehouse: Warehouse, case: Case, plan_uri: str) -> bool:
    """Repeat the steps of a move as its next try does, or, where it was killed, have a later run find it.

    Returns:
        Whether they are done; where Spark has made the past unknown, they may be refused.
    """
    work, run = WAYS[case.way]
    refused = (TransientConflictError, *(TerminalDataError,) * (case.write is binpack_and_expire))
    if plan_uri and not (case.killed and WRITES.index(case.write) % 2):
        with suppress(*refused):
            prepare(warehouse, plan_uri)
            finish_move(warehouse, plan_uri, run)
    try:
        work(warehouse, "later", 2)
    except TerminalDataError as error:
        if case.write is not binpack_and_expire or "expired" not in str(error):
            raise
        return False
    return True


def check(warehouse: Warehouse, spark: ApacheSpark, case: Case) -> None:
    world(warehouse)
    if case.way == "restore":
        expire(warehouse)
    before = rows_of(warehouse, HOT, ARCHIVE)
    plan_uri = come_to(warehouse, case)
    left, came = written(warehouse, spark, case)
    expected = before - left + came
    # Where rows are in both tables, features see those of hot, whatever becomes of the others.
    assert not whole(visible(warehouse)) - declared(before + came), "features see no row twice"

    stand = {table: rows_of(warehouse, table) for table in (HOT, ARCHIVE)}
    if not go_on(warehouse, case, plan_uri):
        assert {table: rows_of(warehouse, table) for table in (HOT, ARCHIVE)} == stand
        assert not whole(visible(warehouse)) - declared(before + came)
        return
    assert rows_of(warehouse, HOT, ARCHIVE) == expected
    assert whole(visible(warehouse)) == declared(rows_of(warehouse, HOT))
    assert list(find_losses(warehouse)) == []
    places = {"expire": (ARCHIVE, HOT), "restore": (HOT, ARCHIVE)}[case.way]
    assert [bool([row for row in rows_of(warehouse, place) if '"old"' in row]) for place in places] == [True, False]
    if case.way == "expire":
        restore(warehouse, "back", 3)
        assert rows_of(warehouse, HOT) == expected
        assert whole(visible(warehouse)) == declared(expected)
    for table in (HOT, ARCHIVE):
        assert whole(spark.multiset(table)) == rows_of(warehouse, table)


@pytest.mark.parametrize("case", cases())
def test_whatever_spark_writes_between_two_steps_is_kept(
    local_warehouse: Warehouse, spark_on_disk: ApacheSpark, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "RESTORE_SILENT_SECONDS", 0)
    check(local_warehouse, spark_on_disk, case)


ON_S3 = [
    Case(append, "verify", "expire", HOT, killed=True),
    Case(delete, "add", "restore", HOT, killed=True),
    Case(binpack_and_expire, "add", "expire", HOT, killed=False),
]


@pytest.mark.long
@pytest.mark.parametrize("case", ON_S3, ids=str)
def test_on_s3_too(
    lake_warehouse: Warehouse, spark_on_s3: ApacheSpark, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "RESTORE_SILENT_SECONDS", 0)
    check(lake_warehouse, spark_on_s3, case)


def copied(warehouse: Warehouse, way: str, step: str) -> tuple[Counter[str], str]:
    """Kill a move that has made its copies; returns the rows, and the address of the plan."""
    world(warehouse)
    for uri in (live.uri for live in warehouse.live_files(warehouse.table(HOT))):
        os.utime(local_name(uri), (0, 0))
    if way == "restore":
        expire(warehouse)
    return rows_of(warehouse, HOT, ARCHIVE), come_to(warehouse, Case(append, step, way, HOT, killed=True))


def remove_orphans(warehouse: Warehouse, spark: ApacheSpark, way: str, older_than: timedelta) -> None:
    """Remove what the destination does not list, as an operator would who does not know of moves."""
    name = {"expire": ARCHIVE, "restore": HOT}[way]
    location = warehouse.table(name).location_provider().data_path
    moment = int((datetime.now(UTC) - older_than).timestamp() * 1000)
    spark.ask("remove_orphans", table=spark.table(name), location=location, older_than_ms=moment)


ORPHANS = [
    pytest.param("expire", "copy", marks=pytest.mark.long),
    ("expire", "verify"),
    ("restore", "verify"),
    pytest.param("restore", "copy", marks=pytest.mark.long),
]


@pytest.mark.parametrize(("way", "step"), ORPHANS)
def test_copies_that_spark_removes_as_orphans_are_missed_and_made_again(
    local_warehouse: Warehouse,
    spark_on_disk: ApacheSpark,
    way: str,
    step: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "RESTORE_SILENT_SECONDS", 0)
    before, plan_uri = copied(local_warehouse, way, step)
    copies = [step.copy_uri for step in read_plan(plan_uri).steps]

    # Spark's default is three days; originals are older, and copies of them are links on a disk.
    remove_orphans(local_warehouse, spark_on_disk, way, timedelta(days=3))
    assert all(map(os.path.exists, map(local_name, copies)))
    remove_orphans(local_warehouse, spark_on_disk, way, timedelta(seconds=-5))
    assert not any(map(os.path.exists, map(local_name, copies)))

    if step == "copy":
        verify_copies(local_warehouse, plan_uri)
    with pytest.raises(
        TransientError, match=r"is not what was verified; nothing was committed. Run the copy tasks again"
    ):
        add_copies(local_warehouse, plan_uri)
    assert rows_of(local_warehouse, HOT, ARCHIVE) == before
    prepare(local_warehouse, plan_uri)
    finish_move(local_warehouse, plan_uri, WAYS[way][1])
    assert rows_of(local_warehouse, HOT, ARCHIVE) == before
    assert whole(visible(local_warehouse)) == rows_of(local_warehouse, HOT)
    assert rows_of(local_warehouse, HOT).total() == {"expire": 20, "restore": 40}[way]


@pytest.mark.parametrize(
    ("way", "step"),
    [
        pytest.param("expire", "verify", marks=pytest.mark.long),
        pytest.param("restore", "verify", marks=pytest.mark.long),
        ("expire", "add"),
    ],
)
def test_a_table_that_spark_upgrades_to_version_3_is_read_with_its_deletion_vectors_and_never_written(
    local_warehouse: Warehouse, spark_on_disk: ApacheSpark, way: str, step: str
) -> None:
    world(local_warehouse)
    if way == "restore":
        expire(local_warehouse)
    plan_uri = come_to(local_warehouse, Case(append, step, way, HOT, killed=False))
    tables = {name: rows_of(local_warehouse, name) for name in (HOT, ARCHIVE)}
    spark_on_disk.sql(f"ALTER TABLE {spark_on_disk.table(HOT)} SET TBLPROPERTIES ('format-version' = '3')")
    delete(spark_on_disk, HOT)
    gone = {f'"event_id": "{name}"' for name in ("old#4", "old#15", "running#2")}
    left = Counter({row: n for row, n in tables[HOT].items() if not any(name in row for name in gone)})
    assert rows_of(local_warehouse, HOT) == left == whole(spark_on_disk.multiset(HOT))
    assert spark_on_disk.sql(f"SELECT DISTINCT file_format FROM {spark_on_disk.table(HOT)}.delete_files") == [
        ["PUFFIN"]
    ]

    work, run = WAYS[way]
    seen = visible(local_warehouse)
    next_try = prepare if step == "verify" else partial(finish_move, run=run)
    for again in (lambda: next_try(local_warehouse, plan_uri), lambda: work(local_warehouse, "later", 2)):
        with pytest.raises(TerminalSettingError, match="format version 3"):
            again()
        assert {name: rows_of(local_warehouse, name) for name in (HOT, ARCHIVE)} == {**tables, HOT: left}
        assert visible(local_warehouse) == seen, "nothing was recorded"


@pytest.mark.parametrize("kind", ["avro", pytest.param("orc", marks=pytest.mark.long)])
def test_a_file_that_spark_writes_as_something_else_is_refused_until_spark_has_rewritten_it(
    local_warehouse: Warehouse, spark_on_disk: ApacheSpark, kind: str
) -> None:
    world(local_warehouse)
    table = spark_on_disk.table(HOT)
    spark_on_disk.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('write.format.default' = '{kind}')")
    append(spark_on_disk, HOT)
    counted = spark_on_disk.multiset(HOT)
    with pytest.raises(
        TerminalDataError, match=rf"interactions holds the file .*\.{kind}, which is {kind.capitalize()}; only plain"
    ):
        expire(local_warehouse)

    spark_on_disk.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('write.format.default' = 'parquet')")
    binpack(spark_on_disk, HOT)
    expected = rows_of(local_warehouse, HOT)
    assert expected == whole(counted)
    expire(local_warehouse)
    assert rows_of(local_warehouse, HOT, ARCHIVE) == expected
