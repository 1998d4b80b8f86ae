"""What decides which tests run together, and which in `make quick`, names what is there."""

from __future__ import annotations

from itertools import chain

import pytest

from tests import airflow, conftest
from tests.lanes import STARTING, TESTS, TOGETHER, WHOLE_RUNS


@pytest.mark.parametrize("place", [*WHOLE_RUNS, *chain(*TOGETHER.values())])
def test_directories_and_modules_that_are_named_exist(place: str) -> None:
    # One that has moved would have its tests run in the wrong lane, or make its world once a worker.
    assert (TESTS / place).exists()


def test_what_starts_a_server_for_everybody_is_named() -> None:
    named = vars(conftest) | vars(airflow)
    fixtures = {name: marker for name in named if (marker := getattr(named[name], "_fixture_function_marker", None))}
    started = {name for name, marker in fixtures.items() if marker.scope == "session"}
    # These start nothing themselves.
    assert started - {"empty_home", "tokens"} <= STARTING
    assert {"lake", "spark", "postgresql", "aws", "dags", "server"} <= started
