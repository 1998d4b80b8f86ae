"""Spark 3.5 with Iceberg's own runtime, two tables: `INSERT … SELECT`, then `DELETE`, which drops whole files."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.resources import files as package_files
from pathlib import Path

from pyspark.sql import SparkSession

from benchmarks.peers.peer import MODULUS, serve

EXTENSIONS = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
EVERY = """SELECT occurred_at, 0 AS archived FROM lake.messaging.hot
UNION ALL SELECT occurred_at, 1 FROM lake.messaging.archive"""


def session(settings: dict[str, str], jars: list[str] | None = None) -> SparkSession:
    """Start Spark on all cores, with the catalog `lake` as the settings have it."""
    iceberg = Path(str(package_files("snowpark_connect_deps_iceberg"))) / "jars"
    all_jars = [str(next(iceberg.glob("iceberg-spark-runtime-3.5_*.jar"))), *(jars or [])]
    builder = SparkSession.builder.master(f"local[{os.cpu_count()}]").appName("peers")
    fixed = {
        "spark.jars": ",".join(all_jars),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "4g",
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.extensions": EXTENSIONS,
        "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog",
    }
    for key, value in {**fixed, **{f"spark.sql.catalog.lake.{key}": value for key, value in settings.items()}}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


class Spark:
    def open(self, home: Path) -> None:
        self.spark = session({"type": "hadoop", "warehouse": f"file://{home}/warehouse"})
        self.spark.sql("SELECT 1").collect()

    def load(self, files: list[str], moved: int) -> None:
        for load in (files[: len(files) // 2], files[len(files) // 2 :]):
            self.spark.read.parquet(*load).createOrReplaceTempView("fresh")
            for name in ("hot", "archive"):
                made = f"CREATE TABLE IF NOT EXISTS lake.messaging.{name} USING iceberg PARTITIONED BY (source_id)"
                self.spark.sql(f"{made} AS SELECT * FROM fresh LIMIT 0")
            self.spark.sql("INSERT INTO lake.messaging.hot SELECT * FROM fresh")

    def move_out(self, sources: list[str], pause: Callable[[], None]) -> None:
        self._move("hot", "archive", sources, pause)

    def move_back(self, sources: list[str], pause: Callable[[], None]) -> None:
        self._move("archive", "hot", sources, pause)

    def _move(self, origin: str, destination: str, sources: list[str], pause: Callable[[], None]) -> None:
        these = "FROM lake.messaging.{} WHERE source_id IN ({})"
        these = these.format(origin, ", ".join(f"'{source}'" for source in sources))
        self.spark.sql(f"INSERT INTO lake.messaging.{destination} SELECT * {these}")
        pause()
        self.spark.sql(f"DELETE {these}")

    def rows_seen(self) -> tuple[int, int, int]:
        # Another session sees the tables as they are, not as this one has cached them.
        reader = self.spark.newSession()
        counted = f"SELECT count(*), sum(unix_micros(occurred_at) % {MODULUS}), sum(archived) FROM ({EVERY})"
        return tuple(reader.sql(counted).collect()[0])

    def close(self) -> None:
        self.spark.stop()


if __name__ == "__main__":
    serve(Spark())
