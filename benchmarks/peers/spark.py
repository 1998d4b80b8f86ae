"""Spark 3.5 with Iceberg's own runtime, two tables: `INSERT … SELECT`, then `DELETE`, which drops whole files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.resources import files as package_files
from pathlib import Path

from pyspark.sql import SparkSession

from benchmarks.peers.peer import MODULUS, serve

EXTENSIONS = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"


class Spark:
    """In a catalog of its own; or, if PEER_SPARK has `catalog`, `jars`, `hot` and `archive` as JSON, with those."""

    def open(self, home: Path) -> None:
        there = json.loads(os.environ.get("PEER_SPARK", "{}"))
        self.hot, self.archive = (there.get(name, f"lake.messaging.{name}") for name in ("hot", "archive"))
        catalog = there.get("catalog", {"type": "hadoop", "warehouse": f"file://{home}/warehouse"})
        self.spark = start_spark(home, catalog_settings("lake", catalog), there.get("jars", []))
        self.spark.sql("SELECT 1").collect()

    def load(self, files: list[str], moved: int) -> None:
        for load in (files[: len(files) // 2], files[len(files) // 2 :]):
            self.spark.read.parquet(*load).createOrReplaceTempView("fresh")
            for name in (self.hot, self.archive):
                made = f"CREATE TABLE IF NOT EXISTS {name} USING iceberg PARTITIONED BY (source_id)"
                self.spark.sql(f"{made} AS SELECT * FROM fresh LIMIT 0")
            self.spark.sql(f"INSERT INTO {self.hot} SELECT * FROM fresh")

    def move_out(self, sources: list[str], pause: Callable[[], None]) -> None:
        self._move(self.hot, self.archive, sources, pause)

    def move_back(self, sources: list[str], pause: Callable[[], None]) -> None:
        self._move(self.archive, self.hot, sources, pause)

    def _move(self, origin: str, destination: str, sources: list[str], pause: Callable[[], None]) -> None:
        these = "FROM {} WHERE source_id IN ({})".format(origin, ", ".join(f"'{source}'" for source in sources))
        columns = ", ".join(self.spark.table(destination).columns)
        self.spark.sql(f"INSERT INTO {destination} SELECT {columns} {these}")
        pause()
        self.spark.sql(f"DELETE {these}")

    def erase(self, users: list[str]) -> None:
        self.spark.createDataFrame([(user,) for user in users], "user_id STRING").createOrReplaceTempView("erased")
        self.spark.sql(f"DELETE FROM {self.hot} WHERE user_id IN (SELECT user_id FROM erased)")

    def rows_seen(self) -> tuple[int, int, int]:
        every = f"SELECT occurred_at, 0 AS archived FROM {self.hot} UNION ALL SELECT occurred_at, 1 FROM {self.archive}"
        counted = f"SELECT count(*), sum(unix_micros(occurred_at) % {MODULUS}), sum(archived) FROM ({every})"
        return tuple(self.spark.sql(counted).collect()[0])

    def close(self) -> None:
        self.spark.stop()


def start_spark(home: Path, settings: dict[str, str], jars: list[str], memory: str = "4g") -> SparkSession:
    """Start Spark with Iceberg on all cores; it works in a folder beside `home`."""
    (iceberg,) = Path(str(package_files("snowpark_connect_deps_iceberg"))).glob(
        "jars/iceberg-spark-runtime-3.5_2.12-*.jar"
    )
    settings = {
        "spark.jars": ",".join([str(iceberg), *jars]),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": memory,
        "spark.local.dir": str(home.with_suffix(".spark")),
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.extensions": EXTENSIONS,
        **settings,
    }
    builder = SparkSession.builder.master(f"local[{os.cpu_count()}]")
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def catalog_settings(name: str, options: dict[str, str]) -> dict[str, str]:
    """Return what declares a catalog of Iceberg tables to Spark."""
    catalog = f"spark.sql.catalog.{name}"
    # Others commit too, and queries have to see it.
    declared = {catalog: "org.apache.iceberg.spark.SparkCatalog", f"{catalog}.cache-enabled": "false"}
    return declared | {f"{catalog}.{key}": value for key, value in options.items()}


if __name__ == "__main__":
    serve(Spark())
