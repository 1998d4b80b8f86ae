"""Sums of each source, kept for each manifest: always what the manifests say, whatever has become of what is kept."""

from __future__ import annotations

import random
import shutil
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perennial.settings import Settings
from perennial.tables import INTERACTIONS
from perennial.warehouse import FileChange, Warehouse, totals
from perennial.warehouse.commits import commit_change, order_manifests
from perennial.warehouse.files import FileStatistics, SourceTotal, written_file
from tests.kill import Point, run_and_kill

NAME = INTERACTIONS.name
SOURCES = ["a", "b", "ä", "b/c?d=%25", "🦄"]


@pytest.fixture(autouse=True)
def everything_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "KEPT_FROM_FILES", 1)


def add(warehouse: Warehouse, *sources: str) -> None:
    """Describe a file of each source; sums never open one."""
    table = warehouse.table(NAME)
    place = table.location_provider().new_data_location
    files = [
        written_file(table, place(f"{uuid.uuid4().hex}.parquet"), source, FileStatistics(10 + at, 100 * at, ()))
        for at, source in enumerate(sources)
    ]
    warehouse.append_files(NAME, files, uuid.uuid4().hex)


def counted(warehouse: Warehouse) -> dict[str, SourceTotal]:
    """What every file says."""
    counts: dict[str, Counter[str]] = {}
    for live in warehouse.live_files(warehouse.table(NAME)):
        one = {"file_count": 1, "row_count": live.row_count, "total_bytes": live.file_bytes}
        counts.setdefault(live.source_id, Counter()).update(one)
    return {source_id: SourceTotal(source_id, **counter) for source_id, counter in counts.items()}


def kept(warehouse: Warehouse) -> Path:
    return Path(f"{warehouse.operations_uri()}/totals/{NAME}".removeprefix("file://"))


def read_manifests(monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse) -> int:
    """How many manifests are read to answer, and that the answer is right."""
    expected = counted(warehouse)
    read = []
    with monkeypatch.context() as patched:
        patched.setattr(totals, "entries_of", lambda *asked: read.append(asked) or manifest_entries(*asked))
        assert warehouse.source_totals(NAME) == expected
    return len(read)


manifest_entries = totals.entries_of


def test_each_manifest_is_read_once_whatever_is_added_removed_and_ordered(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(1)
    assert read_manifests(monkeypatch, warehouse) == 0
    for number in range(8):
        add(warehouse, *chance.choices(SOURCES, k=4))
        assert read_manifests(monkeypatch, warehouse) == 1
        assert read_manifests(monkeypatch, warehouse) == 0
        if number % 3 == 2:
            gone = chance.sample(list(warehouse.live_files(warehouse.table(NAME))), 2)
            removal = FileChange(remove=[live.data_file for live in gone])
            commit_change(warehouse, NAME, lambda _, change=removal: change, uuid.uuid4().hex)
            assert 1 <= read_manifests(monkeypatch, warehouse) <= 2
    assert warehouse.source_totals(NAME, ["a", "none"]) == {"a": counted(warehouse)["a"]}
    assert warehouse.source_totals(NAME, []) == {}
    monkeypatch.setattr("perennial.warehouse.commits.MAX_MANIFESTS_OF_A_SOURCE", 1)
    assert order_manifests(warehouse, NAME)
    assert read_manifests(monkeypatch, warehouse) == 1
    size = kept(warehouse).stat().st_size
    assert size < 3_000, "only what is listed now is kept"


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "of another kind", "a directory", "gone"])
def test_what_is_damaged_is_not_believed(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    add(warehouse, "a", "b")
    read_manifests(monkeypatch, warehouse)
    path = kept(warehouse)
    content = path.read_bytes()
    path.unlink()
    if damage == "a directory":
        path.mkdir()
    elif damage != "gone":
        flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
        path.write_bytes({"cut": content[:-20], "empty": b"", "flipped": flipped, "of another kind": b"{}"}[damage])

    assert read_manifests(monkeypatch, warehouse) == 1
    if damage != "a directory":
        assert read_manifests(monkeypatch, warehouse) == 0


def test_a_manifest_at_the_address_of_another_is_not_taken_for_it(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A catalog from a backup may write the same address once more; here the sums kept are those of another table."""
    add(warehouse, "a", "b")
    read_manifests(monkeypatch, warehouse)
    sums = totals._read(str(kept(warehouse)))
    (key,) = sums
    wrong = totals._sum([("a", 10, 0), ("a", 10, 0), ("c", 1, 1)])
    totals._write(str(kept(warehouse)), {key: wrong})
    assert read_manifests(monkeypatch, warehouse) == 1, "the manifest list says how many files and rows there are"
    table = warehouse.table(NAME)
    (manifest,) = table.current_snapshot().manifests(table.io)
    others = [("manifest_length", 1), ("added_snapshot_id", 2), ("sequence_number", 7)]
    assert len({totals._key(manifest), *(totals._key(_with(manifest, *other)) for other in others)}) == 4


def _with(manifest: object, name: str, value: int) -> object:
    class Other:
        def __getattr__(self, asked: str) -> object:
            return value if asked == name else getattr(manifest, asked)

    return Other()


def test_processes_at_once_and_one_that_is_killed_leave_what_is_right(
    warehouse: Warehouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(warehouse, "a", "b")
    run_and_kill(settings, Point("before", "os:replace"), sum_up)
    assert read_manifests(monkeypatch, warehouse) == 1, "what was half written is nothing"
    add(warehouse, "a", "🦄")
    expected = counted(warehouse)
    with ThreadPoolExecutor(4) as pool:
        others = pool.map(lambda _: Warehouse(settings).source_totals(NAME), range(8))
        assert all(found == expected for found in others)
    shutil.rmtree(kept(warehouse).parent)
    assert read_manifests(monkeypatch, warehouse) == 2


def sum_up(warehouse: Warehouse) -> None:
    totals.KEPT_FROM_FILES = 1
    warehouse.source_totals(NAME)
