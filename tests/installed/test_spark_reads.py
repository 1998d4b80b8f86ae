"""Apache Spark reads every row of our tables as DuckDB does."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from perennial.moves import Run, expire_sources
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE
from perennial.warehouse import Warehouse
from tests.installed.spark import ApacheSpark
from tests.rows import append_hot, interaction, multiset
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
PLACES = [
    pytest.param("spark_on_disk", "local_warehouse", id="disk"),
    pytest.param("spark_on_s3", "lake_warehouse", id="s3", marks=pytest.mark.long),
]


@pytest.mark.parametrize(("spark", "warehouse"), PLACES)
def test_every_row_of_hot_and_archive_is_the_same_in_spark(
    request: pytest.FixtureRequest, spark: str, warehouse: str
) -> None:
    made: Warehouse = request.getfixturevalue(warehouse)
    apache: ApacheSpark = request.getfixturevalue(spark)
    workspace = Workspace(made)
    workspace.source("old")
    workspace.source("running", "active")
    workspace.sync()
    append_hot(made, *([interaction(source, number) for number in range(20)] for source in ("old", "running")))
    expire_sources(made, Run("expiry", NOW))
    for name, count in ((INTERACTIONS.name, 20), (INTERACTIONS_ARCHIVE.name, 20)):
        ours = multiset(made, name)
        assert ours.total() == count
        assert apache.multiset(name) == ours
