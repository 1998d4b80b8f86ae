"""The whole job on Apache Spark's own Spark Connect server: audiences, exports, profiles, files, and analysts' queries."""

from __future__ import annotations

import pytest

from perennial.engines.analysts import open_query_session
from perennial.warehouse import Warehouse
from tests.analysts_page import QUERIES
from tests.engines import test_features_on_spark as features
from tests.engines.functions import kinds
from tests.engines.test_features_on_spark import (
    test_r14_what_is_expired_is_hidden_from_spark_and_named,
    test_r17_after_a_restore_spark_says_what_it_said,
    test_spark_says_what_duckdb_says,
    told,
)
from tests.installed.spark_connect import asking
from tests.spark import Spark


@pytest.fixture(scope="module")
def shared_lake_warehouse(module_warehouse: Warehouse) -> Warehouse:
    return module_warehouse


@pytest.fixture(scope="module")
def spark(spark_connect: Spark) -> Spark:
    return spark_connect


@pytest.mark.parametrize("query", QUERIES.values(), ids=[heading.replace(" ", "-") for _, heading in QUERIES])
def test_a_query_of_the_analysts_page_says_there_what_it_says_in_process(
    told: features.Told, module_warehouse: Warehouse, spark: Spark, query: str
) -> None:
    answers = []
    for warehouse in (module_warehouse, asking(spark, module_warehouse)):
        with open_query_session(warehouse) as session:
            answers.append(session.query(query).read_all())
    here, there = answers
    assert features.rows(there) == features.rows(here)
    assert kinds(there) == kinds(here)
