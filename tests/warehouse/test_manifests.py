"""What a commit writes into the metadata: the right files, in manifests of bounded size, in order of source."""

from __future__ import annotations

import random
import uuid
from pathlib import Path

import pytest
from pyiceberg.exceptions import ValidationException
from pyiceberg.manifest import DataFile, ManifestContent, ManifestFile

from perennial.maintenance import compact_tables
from perennial.maintenance.groups import SMALL_BYTES
from perennial.tables import INTERACTIONS
from perennial.warehouse import FileChange, Warehouse, manifests
from perennial.warehouse.commits import commit_change, order_manifests, removed_since
from perennial.warehouse.files import ColumnStatistics, FileStatistics, written_file
from perennial.warehouse.manifests import SnapshotProducer, may_hold, overlap
from tests.kill import Point, run_and_kill
from tests.maintenance.deletes import delete_rows
from tests.rows import append_hot, interaction, multiset

SOURCES = ["", "a", "b", "ä", "b/c?d=%25", "🦄", "z"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three files a manifest, and little patience with small ones."""
    monkeypatch.setattr(manifests, "MANIFEST_FILES", 3)
    monkeypatch.setattr(manifests, "MERGE_MANIFESTS", 4)
    monkeypatch.setattr(manifests, "MERGE_FILES", 5)
    monkeypatch.setattr(manifests, "OPEN_MANIFESTS", 50)


def described(warehouse: Warehouse, source_id: str, row_count: int = 10) -> DataFile:
    """A file that is only described."""
    table = warehouse.table(INTERACTIONS.name)
    column = ColumnStatistics("user_id", 100, row_count, 0, "a", f"user-{row_count}")
    uri = table.location_provider().new_data_location(f"{uuid.uuid4().hex}.parquet")
    # So large that compaction leaves it alone.
    return written_file(table, uri, source_id, FileStatistics(row_count, SMALL_BYTES, (column,)))


def change(warehouse: Warehouse, wanted: FileChange) -> None:
    assert commit_change(warehouse, INTERACTIONS.name, lambda _: wanted, uuid.uuid4().hex)


def listed(warehouse: Warehouse) -> dict[str, tuple[str, int, bytes]]:
    """What the table lists, as pyiceberg itself plans it: source, rows and an upper bound, by address."""
    files = [task.file for task in warehouse.table(INTERACTIONS.name).scan().plan_files()]
    assert len(files) == len({file.file_path for file in files})
    return {file.file_path: (file.partition[0], file.record_count, file.upper_bounds[4]) for file in files}


def data_manifests(warehouse: Warehouse) -> list[ManifestFile]:
    table = warehouse.table(INTERACTIONS.name)
    snapshot = table.current_snapshot()
    return [found for found in snapshot.manifests(table.io) if found.content == ManifestContent.DATA]


@pytest.mark.long(but="^1$")
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_added_removed_and_ordered_the_table_lists_exactly_what_it_should(
    warehouse: Warehouse, seed: int
) -> None:
    choice = random.Random(seed)
    expected: dict[str, DataFile] = {}
    for number in range(25):
        added = [described(warehouse, choice.choice(SOURCES), 10 + number) for _ in range(choice.choice([0, 1, 2, 9]))]
        chosen = choice.sample(sorted(expected), choice.randint(0, len(expected) // 2))
        snapshot = warehouse.table(INTERACTIONS.name).current_snapshot()
        if added or chosen:
            change(warehouse, FileChange(add=added, remove=[expected[uri] for uri in chosen]))
            since = removed_since(warehouse.table(INTERACTIONS.name), snapshot.snapshot_id if snapshot else None)
            assert since.keys() == set(chosen)
        expected |= {file.file_path: file for file in added}
        for uri in chosen:
            del expected[uri]
        if number % 7 == 6:
            change(warehouse, FileChange(clustered=True))
            assert overlap(warehouse.table(INTERACTIONS.name)) <= 2

        assert listed(warehouse) == {
            uri: (file.partition[0], file.record_count, file.upper_bounds[4]) for uri, file in expected.items()
        }
        for source_id in SOURCES:
            found = {live.uri for live in warehouse.live_files(warehouse.table(INTERACTIONS.name), [source_id])}
            assert found == {uri for uri, file in expected.items() if file.partition[0] == source_id}
        current = warehouse.table(INTERACTIONS.name).current_snapshot()
        totals = current.summary.additional_properties if current else {"total-data-files": 0, "total-records": 0}
        assert int(totals["total-data-files"]) == len(expected)
        assert int(totals["total-records"]) == sum(file.record_count for file in expected.values())


@pytest.mark.usefixtures("small")
def test_loads_of_many_sources_are_ordered_so_that_one_source_is_in_few_manifests(warehouse: Warehouse) -> None:
    sources = [f"source-{number:02}" for number in range(12)]
    for _ in range(10):
        change(warehouse, FileChange(add=[described(warehouse, source_id) for source_id in sources]))
    before = listed(warehouse)
    assert overlap(warehouse.table(INTERACTIONS.name)) > 2

    compact_tables(warehouse)

    assert listed(warehouse) == before
    for source_id in sources:
        found = [manifest for manifest in data_manifests(warehouse) if may_hold(manifest, [source_id], {0: 0})]
        # Ten files of a source, and twice three in a manifest.
        assert len(found) <= 3
    assert not order_manifests(warehouse, INTERACTIONS.name)
    assert warehouse.table(INTERACTIONS.name).current_snapshot().summary.operation.value == "replace"


@pytest.mark.usefixtures("small")
def test_one_commit_of_many_files_writes_manifests_of_bounded_size_and_merges_small_ones(warehouse: Warehouse) -> None:
    change(warehouse, FileChange(add=[described(warehouse, f"s{number % 4}") for number in range(20)]))
    assert all(manifest.added_files_count <= 3 for manifest in data_manifests(warehouse))
    assert overlap(warehouse.table(INTERACTIONS.name)) <= 3
    for _ in range(12):
        change(warehouse, FileChange(add=[described(warehouse, "s1")]))
    single = [found for found in data_manifests(warehouse) if found.added_files_count + found.existing_files_count == 1]
    assert len(single) < 6
    assert len(listed(warehouse)) == 32


def test_a_file_that_is_not_listed_cannot_be_removed_and_nothing_is_left_behind(warehouse: Warehouse) -> None:
    here, stranger = described(warehouse, "a"), described(warehouse, "a")
    change(warehouse, FileChange(add=[here]))
    table = warehouse.table(INTERACTIONS.name)
    metadata = Path(table.metadata_location.removeprefix("file://")).parent
    before = set(metadata.iterdir())

    with pytest.raises(ValidationException, match=stranger.file_path.rpartition("/")[2]):
        SnapshotProducer(table.transaction(), table.io, remove=[here, stranger]).commit()

    assert set(metadata.iterdir()) == before
    assert list(listed(warehouse)) == [here.file_path]


def test_rows_that_another_engine_has_deleted_stay_deleted_when_manifests_are_written_anew(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        append_hot(warehouse, [interaction(source_id, 10 * number + n) for source_id in "ab" for n in range(3)])
    delete_rows(warehouse, INTERACTIONS.name, "a", [0, 2])
    before = multiset(warehouse, INTERACTIONS.name)
    assert sum(before.values()) == 22

    change(warehouse, FileChange(clustered=True))
    assert multiset(warehouse, INTERACTIONS.name) == before
    monkeypatch.setattr(manifests, "MERGE_MANIFESTS", 1)
    append_hot(warehouse, [interaction("c", 1)])
    append_hot(warehouse, [interaction("c", 2)])
    assert multiset(warehouse, INTERACTIONS.name, "ab") == before


@pytest.mark.long(but="^after-range_starts$")
@pytest.mark.parametrize(
    "point",
    [
        Point("after", "perennial.warehouse.manifests:_range_starts"),
        # Once for each of seventy files, to count them; then to write them.
        Point("before", "perennial.warehouse.manifests:_source", 75),
        Point("before", "commit:order-manifests"),
        Point("after", "commit:order-manifests"),
    ],
    ids=str,
)
def test_ordering_that_is_killed_leaves_every_row_where_it_is(warehouse: Warehouse, point: Point) -> None:
    for number in range(10):
        append_hot(warehouse, [interaction(source_id, number) for source_id in SOURCES])
    before = multiset(warehouse, INTERACTIONS.name)

    run_and_kill(warehouse.settings, point, ordered)
    assert multiset(warehouse, INTERACTIONS.name) == before

    ordered(warehouse)
    assert overlap(warehouse.table(INTERACTIONS.name)) == 1
    assert multiset(warehouse, INTERACTIONS.name) == before


def ordered(warehouse: Warehouse) -> None:
    order_manifests(warehouse, INTERACTIONS.name)
