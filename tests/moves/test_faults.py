"""S3 that fails now and then: nothing is lost, and a run succeeds or fails cleanly."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from perennial.moves import Run, expire_sources, restore_sources
from perennial.settings import Settings
from perennial.storage import s3
from perennial.warehouse import Warehouse
from tests.faults import Faults, faulty
from tests.lake import Lake
from tests.rows import append_hot, interaction, multiset
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
TRIES = 30
SOURCES = [f"s{number}" for number in range(12)]


@pytest.fixture
def bad_days(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Warehouse, Faults]]:
    """A workspace on S3 that is reached through the proxy, also by the catalog's file system."""
    with faulty(lake.s3_url) as faults:
        environment = Lake(faults.url, lake.catalog_url, lake.directory).environment(f"n{uuid.uuid4().hex}")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        s3.s3_storage.cache_clear()
        yield Warehouse(Settings.from_environment({**environment, "PERENNIAL_HOME": str(tmp_path)})), faults
        s3.s3_storage.cache_clear()


@pytest.mark.long
def test_an_expiry_and_a_restore_on_bad_days_lose_and_double_nothing(bad_days: tuple[Warehouse, Faults]) -> None:
    warehouse, faults = bad_days
    warehouse.create_tables()
    workspace = Workspace(warehouse)
    for source_id in SOURCES:
        workspace.source(source_id)
    append_hot(warehouse, [interaction(source_id, number) for source_id in SOURCES for number in range(30)])
    workspace.sync()
    before = multiset(warehouse, "interactions")

    def kept() -> None:
        assert set(multiset(warehouse, "interactions") | multiset(warehouse, "interactions_archive")) == set(before)

    _until_it_succeeds(faults, kept, lambda attempt: expire_sources(warehouse, Run(f"expire-{attempt}", NOW, "ann")))

    assert multiset(warehouse, "interactions") == Counter()
    assert multiset(warehouse, "interactions_archive") == before

    params = {"source_ids": SOURCES, "notify": ["ann@example.com"]}
    _until_it_succeeds(
        faults, kept, lambda attempt: restore_sources(warehouse, params, Run(f"restore-{attempt}", NOW, "ann"))
    )

    assert multiset(warehouse, "interactions") == before
    assert multiset(warehouse, "interactions_archive") == Counter()
    assert sum(faults.done[kind] for kind in faults.done if kind) > 10


def _until_it_succeeds(faults: Faults, kept: Callable[[], None], run: Callable[[int], object]) -> None:
    """Try as Airflow does: whatever was raised, every row is still there, and the next try goes on."""
    for attempt in range(TRIES):
        faults.share = 0.05
        try:
            run(attempt)
        except Exception as error:  # any: what matters is what it leaves behind
            print(f"attempt {attempt}: {type(error).__name__}: {error}")
            faults.share = 0.0
            kept()
            continue
        finally:
            faults.share = 0.0
        return
    raise AssertionError(f"{TRIES} attempts failed, {faults.done}")
