"""Engines for all the tests of this process; without what they need, one line says so and the run ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import TypeVar

import pytest
from benchmarks.peers.spark_catalogs import embedded_catalog, rest_catalog
from scripts.environments import MissingError

from perennial.engines import transpile
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.installed.ceph import Ceph, running_ceph
from tests.installed.spark import ApacheSpark, running_spark
from tests.installed.spark_connect import Publisher, running_spark_connect
from tests.lake import Lake
from tests.spark import Spark

Started = TypeVar("Started")


def entered(stack: ExitStack, starting: AbstractContextManager[Started], name: str) -> Started:
    """Start an engine for the rest of the stack; where it cannot be had, one line says what is missing."""
    try:
        return stack.enter_context(starting)
    except MissingError as missing:
        pytest.exit(f"The tests of {name} need {missing}", returncode=1)


@pytest.fixture(scope="session")
def apache_spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheSpark]:
    """One Java process with Apache Spark; a test connects it to its own workspace."""
    with ExitStack() as stack:
        spark = entered(stack, running_spark(tmp_path_factory.mktemp("apache") / "spark"), "Apache Spark")
        yield spark


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """One Ceph with its S3 gateway for all the tests of this process; each makes buckets of its own."""
    with ExitStack() as stack:
        running = entered(stack, running_ceph(tmp_path_factory.mktemp("ceph")), "Ceph")
        yield running


@pytest.fixture(scope="session")
def spark_connect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    """Apache Spark's own Spark Connect server; what is asked of it is published to it first."""
    with ExitStack() as stack:
        server = entered(stack, running_spark_connect(tmp_path_factory.mktemp("connect")), "Spark Connect")
        publisher = Publisher(server, tmp_path_factory.mktemp("published"))
        stack.callback(publisher.close)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(transpile, "relations_at_snapshots", publisher.relations_at_snapshots)
        yield server


@pytest.fixture(scope="module")
def module_warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """An empty workspace on this disk, for all tests of a module."""
    home = {"PERENNIAL_HOME": str(tmp_path_factory.mktemp("module")), "PERENNIAL_LANDING_SETTLE_SECONDS": "0"}
    warehouse = Warehouse(Settings.from_environment(home))
    warehouse.create_tables()
    return warehouse


@pytest.fixture
def spark_on_disk(apache_spark: ApacheSpark, local_warehouse: Warehouse) -> ApacheSpark:
    """Spark over the embedded catalog of the test's workspace on this disk."""
    apache_spark.connect(local_warehouse, embedded_catalog(local_warehouse.settings))
    return apache_spark


@pytest.fixture
def spark_on_s3(apache_spark: ApacheSpark, lake: Lake, lake_warehouse: Warehouse) -> ApacheSpark:
    """Spark over the REST catalog and the S3 of the test's workspace on the lake."""
    apache_spark.connect(lake_warehouse, rest_catalog(lake))
    return apache_spark
