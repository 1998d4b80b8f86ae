"""Where the tables of a test lie: on a local disk, and for those marked with `everywhere` on S3 with a REST catalog too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from perennial import operations
from perennial.refusals import refuse_future_date
from perennial.warehouse import Warehouse

SetClock = Callable[[datetime], None]


@pytest.fixture
def warehouse(request: pytest.FixtureRequest) -> Warehouse:
    return request.getfixturevalue(f"{getattr(request, 'param', 'local')}_warehouse")


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Return a function that sets the wall clock by which the date of a run is judged (R24)."""

    def set_to(moment: datetime) -> None:
        monkeypatch.setattr(operations, "refuse_future_date", lambda now, _: refuse_future_date(now, moment))

    return set_to
