"""Where the tables of a test lie: on a local disk, and for those marked with `everywhere` on S3 with a REST catalog too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from perennial.moves import runs
from perennial.warehouse import Warehouse

SetClock = Callable[[datetime], None]


@pytest.fixture
def warehouse(request: pytest.FixtureRequest) -> Warehouse:
    return request.getfixturevalue(f"{getattr(request, 'param', 'local')}_warehouse")


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Return a function that sets the wall clock by which the date of a run is judged (R24)."""
    return lambda moment: monkeypatch.setattr(runs, "wall_clock", lambda: moment)
