"""R22: unusual persons, unusual files, and what the storage or a table's owner keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perennial.erase.locate import locate_rows
from perennial.erase.purge_history import purge_history
from perennial.erase.remove import remove_rows
from perennial.erase.verify_tables import verify_tables
from perennial.maintenance.last_copies import find_lost_sources
from perennial.moves import Run, expire_sources, restore_sources
from perennial.moves.thaw import thaw_files
from perennial.reports import BULK
from perennial.storage.s3 import s3_storage
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, USER_MESSAGE_SUMMARY
from perennial.warehouse import Warehouse
from tests.aws import Aws, archive_uri, archived, workspace_on
from tests.erase.persons import NOW, PERSON, append, assert_gone, erase, purge, summary
from tests.maintenance.deletes import delete_rows
from tests.maintenance.steps import data_files
from tests.moves.places import on_s3
from tests.rights import enforced
from tests.rows import append_hot, hot_and_archive, interaction, multiset
from tests.workspace import Workspace

HOSTILE = ["it's", '"; DROP TABLE users; --', "a/b/../c", "🦄" * 20, "x" * 500, "", "%", "null", " user-3", "USER-3"]


def of(rows: Counter[str], person: str) -> int:
    return sum(count for row, count in rows.items() if f'"user_id":"{person}"' in row)


def others(rows: Counter[str], *persons: str) -> Counter[str]:
    return Counter({row: count for row, count in rows.items() if not any(of(Counter([row]), one) for one in persons)})


def test_hostile_ids_stand_for_themselves_alone(warehouse: Warehouse) -> None:
    rows = [interaction("a", number, user_id=user) for number, user in enumerate([*HOSTILE, PERSON])]
    append_hot(warehouse, rows)
    append(warehouse, USER_MESSAGE_SUMMARY.name, [summary(user, 0) for user in [*HOSTILE, PERSON]])
    gone = HOSTILE[::2]

    removed = remove_rows(warehouse, gone)

    assert removed.rows == {INTERACTIONS.name: len(gone), USER_MESSAGE_SUMMARY.name: len(gone)}
    kept = sorted([*HOSTILE[1::2], PERSON])
    for name in removed.rows:
        assert sorted(warehouse.read(name)["user_id"].to_pylist()) == kept
    purge_history(warehouse, gone)
    assert verify_tables(warehouse, gone) == []


def test_nobody_and_ten_thousand_strangers_change_no_row_and_ten_thousand_people_all_go(warehouse: Warehouse) -> None:
    append_hot(warehouse, [interaction("a", number, user_id=f"u{number}") for number in range(10_010)])
    before, files = multiset(warehouse, INTERACTIONS.name), data_files(warehouse, INTERACTIONS.name)
    snapshot = warehouse.table(INTERACTIONS.name).current_snapshot()

    assert remove_rows(warehouse, []).is_complete
    assert verify_tables(warehouse, []) == []
    assert remove_rows(warehouse, [f"stranger-{number}" for number in range(10_000)]).file_count == 0
    assert warehouse.table(INTERACTIONS.name).current_snapshot() == snapshot
    assert data_files(warehouse, INTERACTIONS.name) == files

    everybody = [f"u{number}" for number in range(10_000)]
    located = locate_rows(warehouse, everybody)
    assert located.by_user == {user: {INTERACTIONS.name: 1} for user in everybody}
    assert remove_rows(warehouse, everybody, located).rows == {INTERACTIONS.name: 10_000}
    rest = multiset(warehouse, INTERACTIONS.name)
    assert rest.total() == 10
    assert not rest - before


@pytest.mark.long
def test_a_source_that_only_the_person_has_met_is_empty_afterwards_and_not_lost(warehouse: Warehouse) -> None:
    workspace = Workspace(warehouse)
    workspace.source("alone")
    append_hot(warehouse, [interaction("alone", number, user_id=PERSON) for number in range(5)])
    workspace.sync()
    expire_sources(warehouse, Run("r1", NOW))

    erase(warehouse, PERSON)
    assert find_lost_sources(warehouse) == []
    purge(warehouse, PERSON)

    assert find_lost_sources(warehouse) == []
    assert_gone(warehouse, PERSON)
    request = {"source_ids": ["alone"], "notify": ["ann@example.com"]}
    restore_sources(warehouse, request, Run("r2", NOW + timedelta(days=1)))
    assert hot_and_archive(warehouse) == {}


def test_rows_that_another_engine_has_deleted_leave_the_files_too_and_stay_deleted(warehouse: Warehouse) -> None:
    append_hot(warehouse, [interaction("a", number) for number in range(14)])
    # Rows 3 and 10 are the person's, 4 is somebody else's.
    delete_rows(warehouse, INTERACTIONS.name, "a", positions=[3, 4])
    before = multiset(warehouse, INTERACTIONS.name)
    assert locate_rows(warehouse, [PERSON]).rows == {INTERACTIONS.name: 2}

    erase(warehouse, PERSON)
    purge(warehouse, PERSON)

    assert multiset(warehouse, INTERACTIONS.name) == others(before, PERSON)
    assert multiset(warehouse, INTERACTIONS.name).total() == 11
    assert_gone(warehouse, PERSON)


def test_a_file_is_read_once_and_its_digest_goes_with_it(warehouse: Warehouse) -> None:
    append_hot(warehouse, [interaction(source, number) for source in ("a", "b") for number in range(3)])
    append_hot(warehouse, [interaction("a", 3)])
    assert locate_rows(warehouse, [PERSON]).rows == {INTERACTIONS.name: 1}
    # Whoever read these again would fail.
    untouched = list(warehouse.live_files(warehouse.table(INTERACTIONS.name), ["b"]))
    for live in untouched:
        Path(live.uri.removeprefix("file://")).write_bytes(b"")

    located = locate_rows(warehouse, [PERSON])
    assert located.rows == {INTERACTIONS.name: 1}
    remove_rows(warehouse, [PERSON], located)
    purge_history(warehouse, [PERSON])

    digests = list(Path(warehouse.operations_uri().removeprefix("file://"), "digests").iterdir())
    import pyarrow.parquet as pq

    digested = {row["file_uri"] for path in digests for row in pq.read_table(path).to_pylist()}
    assert digested == {live.uri for live in warehouse.live_files(warehouse.table(INTERACTIONS.name))}


def test_what_a_tag_or_a_branch_keeps_is_named_until_its_owner_lets_it_go(warehouse: Warehouse) -> None:
    append_hot(warehouse, [interaction("a", number) for number in range(10)])
    snapshot = warehouse.table(INTERACTIONS.name).current_snapshot()
    assert snapshot is not None
    warehouse.table(INTERACTIONS.name).manage_snapshots().create_tag(snapshot.snapshot_id, "audit").commit()

    erase(warehouse, PERSON)
    purged = purge(warehouse, PERSON)

    (remaining,) = purged.remaining
    assert (remaining.table, remaining.row_count) == (INTERACTIONS.name, 1)
    assert "tag audit keeps" in str(remaining)
    warehouse.table(INTERACTIONS.name).manage_snapshots().remove_tag("audit").commit()
    assert purge(warehouse, PERSON).remaining == ()
    assert_gone(warehouse, PERSON)


def test_what_a_dead_writer_has_left_unfinished_is_named_until_it_is_a_day_old(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_hot(warehouse, [interaction("a", number) for number in range(10)])
    (live,) = warehouse.live_files(warehouse.table(INTERACTIONS.name))
    path = Path(live.uri.removeprefix("file://"))
    whole, half = (path.with_name(f".{digit * 32}") for digit in "ab")
    whole.write_bytes(path.read_bytes())
    half.write_bytes(path.read_bytes()[:-100])
    erase(warehouse, PERSON)

    remaining = {one.uri.rpartition("/")[2]: one.row_count for one in purge(warehouse, PERSON).remaining}
    assert remaining == {whole.name: 1, half.name: None}
    later = datetime.now(UTC) + timedelta(days=1, minutes=5)
    monkeypatch.setattr("perennial.erase.purge_history.wall_clock", lambda: later)

    assert purge(warehouse, PERSON).remaining == ()
    assert_gone(warehouse, PERSON)


@pytest.mark.long
@on_s3
def test_on_s3_a_person_is_erased_from_both_tables_beside_a_move(warehouse: Warehouse) -> None:
    from perennial.moves.move_plan import EXPIRE
    from tests.maintenance.steps import Move

    append_hot(warehouse, [interaction(source, number) for source in ("a", "b") for number in range(10)])
    Move(warehouse, EXPIRE, ["a"]).run()
    before = hot_and_archive(warehouse)
    move = Move(warehouse, EXPIRE, ["b"])
    move.plan()
    move.copy()

    erase(warehouse, PERSON)
    move.add()
    move.remove()

    assert hot_and_archive(warehouse) == others(before, PERSON)
    assert multiset(warehouse, INTERACTIONS.name) == {}
    assert purge(warehouse, PERSON).remaining == ()
    assert_gone(warehouse, PERSON)


@pytest.fixture
def forget_server() -> Iterator[None]:
    """A process keeps the client of the server that it asked first."""
    yield
    s3_storage.cache_clear()


@pytest.mark.long
@pytest.mark.usefixtures("forget_server")
def test_cold_files_are_thawed_first_and_only_those_that_may_hold_the_person(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = workspace_on(aws, tmp_path / "home", "GLACIER", monkeypatch, local=True)
    workspace = Workspace(warehouse)
    for source in ("met", "unmet", "unknown"):
        workspace.source(source)
    append_hot(warehouse, [interaction("met", number) for number in range(30)])
    append_hot(warehouse, [interaction("unmet", number, user_id="user-1") for number in range(30)])
    # What is read while it is hot need not be thawed.
    locate_rows(warehouse, ["anybody"])
    append_hot(warehouse, [interaction("unknown", number, user_id="user-1") for number in range(30)])
    workspace.sync()
    before = multiset(warehouse, INTERACTIONS.name)
    expire_sources(warehouse, Run("r1", NOW))
    aws.hold_thaws(archive_uri(warehouse))

    located = locate_rows(warehouse, [PERSON])
    assert {file.source_id for file in located.cold} == {"met", "unknown"}
    assert remove_rows(warehouse, [PERSON], located).cold == located.cold
    assert thaw_files(warehouse, Run("r2", NOW), [(f"{warehouse.operations_uri()}/x", located.cold_files)], BULK)
    assert aws.asked_to_thaw(archive_uri(warehouse)) == set(located.cold_files)
    aws.finish_thaw(*located.cold_files)

    removed = remove_rows(warehouse, [PERSON])

    assert (removed.rows, removed.is_complete) == ({INTERACTIONS_ARCHIVE.name: 4}, True)
    assert aws.frozen(archive_uri(warehouse)).keys() >= set(archived(warehouse)), "the new one is cold as well"
    purged = purge_history(warehouse, [PERSON])
    assert purged.remaining == ()
    assert verify_tables(warehouse, [PERSON]) == []
    assert set(aws.frozen(archive_uri(warehouse))) == set(archived(warehouse))
    for file in archived(warehouse):
        s3_storage().thaw(file, BULK)
    aws.finish_thaw(*archived(warehouse))
    request: dict[str, Any] = {"source_ids": list(workspace.sources), "notify": ["ann@example.com"]}
    restore_sources(warehouse, request, Run("r3", NOW + timedelta(days=1)))
    assert multiset(warehouse, INTERACTIONS.name) == others(before, PERSON)


@pytest.mark.usefixtures("forget_server")
def test_a_bucket_that_keeps_what_is_deleted_is_named(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = workspace_on(aws, tmp_path / "home", "STANDARD", monkeypatch, local=True)
    bucket = archive_uri(warehouse).split("/")[2]
    append_hot(warehouse, [interaction("a", 3)])
    assert purge(warehouse, PERSON).kept == ()
    aws.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    (kept,) = purge(warehouse, PERSON).kept

    assert archive_uri(warehouse) in kept
    assert f"bucket {bucket} keeps versions" in kept
    with enforced(lambda action, _: action != "s3:GetBucketVersioning"):
        assert "may keep versions" in s3_storage().keeps_deleted(archive_uri(warehouse))
    aws.client().create_bucket(Bucket=f"{bucket}-locked", ObjectLockEnabledForBucket=True)
    assert "object lock" in s3_storage().keeps_deleted(f"s3://{bucket}-locked/archive")
