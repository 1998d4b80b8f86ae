"""The rules hold wherever the tables lie: what asks for `warehouse` runs on a local disk, and on S3 with a REST catalog."""

from __future__ import annotations

import pytest

from perennial.settings import Settings
from perennial.warehouse import Warehouse


@pytest.fixture
def local_warehouse(settings: Settings) -> Warehouse:
    warehouse = Warehouse(settings)
    warehouse.create_tables()
    return warehouse


@pytest.fixture(params=["local", "lake"])
def warehouse(request: pytest.FixtureRequest) -> Warehouse:
    return request.getfixturevalue(f"{request.param}_warehouse")
