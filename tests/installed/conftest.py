"""Engines for all the tests of this process; without what they need, one line says so and the run ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from benchmarks.peers.spark_catalogs import embedded_catalog, rest_catalog
from scripts.environments import MissingError

from perennial.warehouse import Warehouse, catalog_file
from tests.installed.spark import ApacheSpark, running_spark
from tests.lake import Lake


@pytest.fixture(scope="session")
def apache_spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheSpark]:
    """One Java process with Apache Spark; a test connects it to its own workspace."""
    with ExitStack() as stack:
        try:
            spark = stack.enter_context(running_spark(tmp_path_factory.mktemp("apache") / "spark"))
        except MissingError as missing:
            pytest.exit(f"The tests of Apache Spark need {missing}", returncode=1)
        yield spark


@pytest.fixture
def spark_on_disk(apache_spark: ApacheSpark, local_warehouse: Warehouse) -> ApacheSpark:
    """Spark over the embedded catalog of the test's workspace on this disk."""
    with closing(sqlite3.connect(catalog_file(local_warehouse.settings))) as catalog:
        catalog.execute("PRAGMA journal_mode = WAL")
    apache_spark.connect(local_warehouse, embedded_catalog(local_warehouse.settings))
    return apache_spark


@pytest.fixture
def spark_on_s3(apache_spark: ApacheSpark, lake: Lake, lake_warehouse: Warehouse) -> ApacheSpark:
    """Spark over the REST catalog and the S3 of the test's workspace on the lake."""
    apache_spark.connect(lake_warehouse, rest_catalog(lake))
    return apache_spark
