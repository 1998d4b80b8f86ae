"""Random definitions over random worlds, some of whose sources are expired or deleted, against the oracle (R14-R16)."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from perennial.moves import Run, expire_sources
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.audiences.oracle import Node, needed_sources, users_of
from tests.audiences.scenes import STEPS, VARIANTS, Scene, scenes
from tests.audiences.worlds import NOW, ask, fill, whole
from tests.rows import append_hot

ROUND = count()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    home = tmp_path_factory.mktemp("random")
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(home)}))
    warehouse.create_tables()
    return warehouse


def play(warehouse: Warehouse, scene: Scene) -> None:
    """Put a scene into the warehouse, let an expiry run, then let the late interactions arrive."""
    sources = [source["source_id"] for source in scene.whole.sources]
    steps = [{"source_id": source_id, "step_id": step} for source_id in sources for step in STEPS]
    variants = [{"source_id": source_id, "variant_id": variant} for source_id in sources for variant in VARIANTS]
    early = scene.rows(late=False)
    fill(warehouse, scene.whole, early, steps=steps, variants=variants)
    expire_sources(warehouse, Run(f"run-{next(ROUND)}", NOW, "ann"))
    append_hot(warehouse, [whole(scene.whole, row, f"late-{n}") for n, row in enumerate(scene.rows(late=True))])


# One scene costs a second, so there are few, with many questions each; shrinking would take its time for little.
@settings(max_examples=2, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate], suppress_health_check=list(HealthCheck))  # fmt: skip
@given(st.data())
def test_every_answer_is_the_oracles_and_says_what_it_leaves_out(shared: Warehouse, data: st.DataObject) -> None:
    scene = data.draw(scenes(f"{next(ROUND)}-"))
    play(shared, scene)
    for definition in scene.definitions:
        check(shared, scene, definition)


def check(warehouse: Warehouse, scene: Scene, definition: Node) -> None:
    answer = ask(warehouse, definition)
    short, full = (users_of(definition, world, NOW) for world in (scene.seen, scene.whole))
    assert answer.users == sorted(short), definition
    # R16: exactly what is needed and out of reach.
    needed = needed_sources(definition, scene.whole)
    assert {source.source_id for source in answer.completeness.missing} == needed & scene.missing, definition
    assert answer.files_of == needed & {row["source_id"] for row in scene.seen.interactions}, definition
    # And whoever is missing or too many was to be expected.
    assert answer.completeness.can_narrow or not full - short, definition
    assert answer.completeness.can_widen or not short - full, definition
