"""Where the tables of a test lie: on a local disk, and for those marked with `everywhere` on S3 with a REST catalog too."""

from __future__ import annotations

import pytest

from perennial.warehouse import Warehouse


@pytest.fixture
def warehouse(request: pytest.FixtureRequest) -> Warehouse:
    return request.getfixturevalue(f"{getattr(request, 'param', 'local')}_warehouse")
