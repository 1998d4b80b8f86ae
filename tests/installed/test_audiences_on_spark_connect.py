"""Every filter on Apache Spark's own Spark Connect server, negated too."""

from __future__ import annotations

from typing import Any

import pytest

from perennial.warehouse import Warehouse
from tests.audiences.test_cases import CASES, WORLD, of_file, rows, session, test_a_definition_selects_its_users
from tests.audiences.worlds import NOW, ask, fill
from tests.installed.spark_connect import asking
from tests.spark import Spark


@pytest.fixture(scope="module")
def world(module_warehouse: Warehouse, spark_connect: Spark) -> Warehouse:
    fill(module_warehouse, WORLD, WORLD.interactions, steps=rows("steps"), variants=rows("variants"))
    return asking(spark_connect, module_warehouse)
