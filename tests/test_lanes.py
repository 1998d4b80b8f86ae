"""What decides which tests run together, and which in `make quick`, names what is there."""

from __future__ import annotations

import pytest

from tests import conftest
from tests.lanes import CHECKING, SHARED_WORLDS, STARTING, TESTS, WHOLE_RUNS


@pytest.mark.parametrize("place", [*WHOLE_RUNS, *SHARED_WORLDS, *CHECKING])
def test_directories_and_modules_that_are_named_exist(place: str) -> None:
    # One that has moved would have its tests run in the wrong lane, or make its world once a worker.
    assert (TESTS / place).exists()


def test_what_starts_a_server_for_everybody_is_named() -> None:
    names = {name for name, found in vars(conftest).items() if getattr(found, "_fixture_function_marker", None)}
    started = {name for name in names if vars(conftest)[name]._fixture_function_marker.scope == "session"}
    # The one fixture of a session that starts nothing.
    assert started - {"empty_home"} <= STARTING
    assert {"lake", "spark", "postgresql", "aws"} <= started
