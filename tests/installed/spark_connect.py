"""Apache Spark's own Spark Connect server, without Iceberg, for which there is no release: tables are published to it.

Each snapshot that the project asks for becomes a Parquet table of its own, so `VERSION AS OF` is left out and what a
query sees is that snapshot all the same. Everything else is what the project sends.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from scripts.environments import java, python_environment
from sqlglot import exp

from perennial.engines import transpile
from perennial.engines.protocol import importing_spark
from perennial.engines.snapshots import TableAtSnapshot
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from perennial_sample.ports import free_port
from tests.spark import Spark, wait

with importing_spark():
    from pyspark.sql.connect.session import SparkSession

_SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"
_relations = transpile.relations_at_snapshots


@contextmanager
def running_spark_connect(directory: Path) -> Iterator[Spark]:
    """Serve until the block ends; the server works in the directory, and its log is there."""
    java()
    (home,) = python_environment("spark-connect").parents[1].glob("lib/*/site-packages/pyspark")
    port = free_port()
    settings = {
        "spark.master": "local[2]",
        "spark.driver.memory": "2g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": port,
        "spark.ui.enabled": "false",
        "spark.local.dir": directory / "scratch",
        "spark.sql.warehouse.dir": directory / "warehouse",
        # Tests have few rows.
        "spark.sql.shuffle.partitions": 2,
    }
    command = [str(home / "bin/spark-submit"), "--class", _SERVER]
    command += [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
    log = directory / "spark.log"
    with log.open("wb") as output:
        environment = os.environ | {"SPARK_HOME": str(home)}
        process = subprocess.Popen(
            [*command, "spark-internal"], stdout=output, stderr=output, cwd=directory, env=environment
        )
    try:
        wait(port, process, log)
        yield Spark(f"sc://127.0.0.1:{port}", log)
    finally:
        process.terminate()
        process.wait(60)


def asking(server: Spark, warehouse: Warehouse) -> Warehouse:
    """Return the same workspace, whose questions go to a server."""
    return Warehouse(replace(warehouse.settings, engine_url=server.url))


@dataclass(frozen=True)
class _Published(TableAtSnapshot):
    """A snapshot as a Parquet table."""

    def reference(self, alias: str) -> exp.Expr:
        if self.snapshot_id is None:
            return super().reference(alias)
        namespace, name = self.path
        return exp.alias_(exp.table_(name, namespace, quoted=True), alias, table=True)


class Publisher:
    """Publishes the snapshots that the project asks for to a server.

    Args:
        server: Where to.
        directory: Where the Parquet files lie.
    """

    def __init__(self, server: Spark, directory: Path) -> None:
        self._directory = directory
        self._session = SparkSession(connection=server.url)

    def relations_at_snapshots(self, settings: Settings, tables: Iterable[Any]) -> transpile.Relations:
        """Stand for the function of this name in `perennial.engines.transpile`."""
        tables = list(tables)
        relations = _relations(settings, tables)
        for table in tables:
            name, snapshot = table.name()[-1], table.current_snapshot()
            if snapshot is not None:
                place = (table.name()[0], f"{name}_at_{snapshot.snapshot_id}")
                self._publish(place, table)
                relations.tables[name] = _Published(name, place, snapshot.snapshot_id)
        return relations

    def _publish(self, place: tuple[str, str], table: Any) -> None:
        folder = self._directory.joinpath(*place)
        if folder.exists():
            return
        folder.mkdir(parents=True)
        pq.write_table(table.scan().to_arrow(), folder / "rows.parquet")
        namespace, name = place
        self._session.sql(f"CREATE DATABASE IF NOT EXISTS `{namespace}`")
        self._session.sql(f"CREATE TABLE `{namespace}`.`{name}` USING parquet LOCATION '{folder}'")

    def close(self) -> None:
        self._session.stop()
