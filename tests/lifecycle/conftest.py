"""The rules hold wherever the tables lie: every test here runs on a local disk, and on S3 with a REST catalog."""

from __future__ import annotations

import pytest

from perennial.warehouse import Warehouse


@pytest.fixture(params=["local", "lake"])
def warehouse(request: pytest.FixtureRequest) -> Warehouse:
    if request.param == "lake":
        return request.getfixturevalue("lake_warehouse")
    warehouse = Warehouse(request.getfixturevalue("settings"))
    warehouse.create_tables()
    return warehouse
