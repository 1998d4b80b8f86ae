"""A huge run moves in batches: each is a move of its own, and a source is never divided."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from perennial.moves import Run, expire_sources, restore_sources
from perennial.moves import plan as planning
from perennial.moves.expire import decide_expiry, plan_expiry
from perennial.moves.move_plan import EXPIRE, read_plan
from perennial.moves.plan import RUN_CHUNKS, batched_sources
from perennial.warehouse import Warehouse
from tests.moves.places import on_s3
from tests.moves.steps import add_copies, chunk_count, copy_files, finish_move, verify_copies
from tests.rows import append_hot, hot_and_archive, interaction, multiset
from tests.workspace import Workspace

pytestmark = on_s3

RUN = Run("r1", datetime(2026, 6, 1, 4, tzinfo=UTC), "ann")
FILES = {"a": 3, "b": 1, "c": 4, "d": 2, "e": 6}


@pytest.fixture
def before(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Sixteen files of five sources, and moves of five files at most."""
    monkeypatch.setattr(planning, "MOVE_FILES", 5)
    workspace = Workspace(warehouse)
    for source_id in FILES:
        workspace.source(source_id)
    for number in range(max(FILES.values())):
        rows = [interaction(source_id, number) for source_id, count in FILES.items() if number < count]
        append_hot(warehouse, rows)
    workspace.sync()
    return multiset(warehouse, "interactions")


def test_a_source_is_in_one_batch_and_only_one_that_is_larger_exceeds_the_bound(
    warehouse: Warehouse, before: Counter[str]
) -> None:
    batches = batched_sources(warehouse, EXPIRE, FILES)

    assert sorted(source_id for batch in batches for source_id in batch) == sorted(FILES)
    assert len(batches) > 2
    assert all(sum(FILES[source_id] for source_id in batch) <= 5 or batch == ["e"] for batch in batches)
    assert batched_sources(warehouse, EXPIRE, []) == []
    assert len(before) == sum(FILES.values())


@pytest.mark.long
def test_batches_move_everything_and_bring_it_back(warehouse: Warehouse, before: Counter[str]) -> None:
    report = expire_sources(warehouse, RUN)

    assert {source.source_id: source.file_count for source in report.sources} == FILES
    assert multiset(warehouse, "interactions") == Counter()
    assert multiset(warehouse, "interactions_archive") == before

    restored = restore_sources(warehouse, {"source_ids": list(FILES), "notify": ["ann@example.com"]}, RUN)

    assert restored.state == "finished"
    assert {source.source_id: source.file_count for source in restored.sources} == FILES
    assert multiset(warehouse, "interactions") == before
    assert multiset(warehouse, "interactions_archive") == Counter()


@pytest.mark.long
def test_batches_that_were_done_stay_done_when_the_run_dies(warehouse: Warehouse, before: Counter[str]) -> None:
    first, *others = plan_expiry(warehouse, decide_expiry(warehouse, RUN).uri, RUN)
    assert all(chunk_count(plan_uri) * len([first, *others]) <= RUN_CHUNKS for plan_uri in [first, *others])
    copy_files(warehouse, first, 0)
    verify_copies(warehouse, first)
    add_copies(warehouse, first)
    finish_move(warehouse, first, RUN)
    for plan_uri in others[:1]:
        copy_files(warehouse, plan_uri, 0)

    gone = set(read_plan(first).source_ids)
    assert multiset(warehouse, "interactions_archive") == multiset(warehouse, "interactions_archive", gone)
    assert hot_and_archive(warehouse) == before

    expire_sources(warehouse, Run("r2", RUN.now, "ann"))

    assert multiset(warehouse, "interactions") == Counter()
    assert multiset(warehouse, "interactions_archive") == before
