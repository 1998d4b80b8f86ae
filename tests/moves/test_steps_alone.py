"""Every step of a move in a process of its own, with directories of its own: nothing but S3 joins them."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from perennial.moves.expire import decide_expiry, plan_expiry
from perennial.moves.recovery import recover_interrupted_moves
from perennial.moves.restore import check_request, plan_restore
from perennial.operations import Run
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.kill import forked
from tests.lake import Lake
from tests.moves.steps import add_copies, chunk_count, copy_files, finish_move, verify_copies
from tests.rows import append_hot, interaction, multiset
from tests.workspace import Workspace

RUN = Run("alone", datetime(2026, 6, 1, 4, tzinfo=UTC), "ann")
SOURCES = [f"s{number}" for number in range(6)]


@pytest.fixture
def environment(lake: Lake) -> dict[str, str]:
    return lake.environment(f"n{uuid.uuid4().hex}")


@pytest.fixture
def alone(environment: dict[str, str], tmp_path: Path) -> Callable[..., Any]:
    """Run a step by itself and return what it says; nothing may be left in its directories."""

    def run(work: Callable[..., Any], *args: Any) -> Any:
        place = tmp_path / uuid.uuid4().hex
        for name in ("home", "temporary", "workspace"):
            (place / name).mkdir(parents=True)
        said = forked(_step, environment, place, work, args)
        left = [path for path in place.rglob("*") if path.is_file() and "airflow" not in path.parts]
        assert not left, f"{work.__name__} left {left}"
        shutil.rmtree(place)
        return said

    return run


def _step(environment: dict[str, str], place: Path, work: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    own = {"HOME": place / "home", "TMPDIR": place / "temporary", "PERENNIAL_HOME": place / "workspace"}
    os.environ |= environment | {name: str(directory) for name, directory in own.items()}
    tempfile.tempdir = None
    os.chdir(place)
    return work(Warehouse(Settings.from_environment()), *args)


def _splits(_: Warehouse, plan_uri: str) -> int:
    return chunk_count(plan_uri)


def _move(alone: Callable[..., Any], plan_uris: list[str]) -> int:
    chunks = 0
    for plan_uri in plan_uris:
        for chunk in range(alone(_splits, plan_uri)):
            alone(copy_files, plan_uri, chunk)
            chunks += 1
        for work in (verify_copies, add_copies):
            alone(work, plan_uri)
        alone(finish_move, plan_uri, RUN)
    return chunks


@pytest.mark.long
def test_a_move_passes_nothing_on_but_through_s3(
    environment: dict[str, str], alone: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    warehouse = Warehouse(Settings.from_environment({**environment, "PERENNIAL_HOME": str(tmp_path / "mine")}))
    warehouse.create_tables()
    workspace = Workspace(warehouse)
    for source_id in SOURCES:
        workspace.source(source_id)
    # Nine tiny files of one source, which are merged on their way out (M7), and one of each other.
    for batch in range(9):
        append_hot(warehouse, [interaction("s0", 1000 + 10 * batch + number) for number in range(10)])
    append_hot(warehouse, [interaction(source_id, number) for source_id in SOURCES for number in range(30)])
    workspace.sync()
    before = multiset(warehouse, "interactions")

    alone(recover_interrupted_moves, RUN)
    decided = alone(decide_expiry, RUN)
    assert _move(alone, alone(plan_expiry, decided.uri, RUN)) >= 1

    assert multiset(warehouse, "interactions") == Counter()
    assert multiset(warehouse, "interactions_archive") == before

    request_uri = alone(check_request, {"source_ids": SOURCES, "notify": ["ann@example.com"]})
    assert _move(alone, alone(plan_restore, request_uri, RUN)) >= 1

    assert multiset(warehouse, "interactions") == before
    assert multiset(warehouse, "interactions_archive") == Counter()
