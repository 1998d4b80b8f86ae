"""A real Apache Spark 3.5 with Iceberg's own runtime, in one Java process for all tests, over the tables of a workspace."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.peers.process import AskedProcess, ending
from benchmarks.peers.spark_catalogs import AWS
from scripts.environments import debian_environment, jars, java, python_environment

from perennial.engines.duckdb import open_connection
from perennial.warehouse import Warehouse
from tests.lake import REGION

CATALOG = "perennial"
"""The name has to be pyiceberg's: a catalog in SQLite holds several, and Iceberg's own library takes Spark's for theirs."""


class ApacheSpark(AskedProcess):
    """A running Spark; `connect` says whose tables it sees."""

    def connect(self, warehouse: Warehouse, catalog: dict[str, str]) -> None:
        """See the tables of a workspace, in the catalog that is described as Spark wants it."""
        self.namespace = warehouse.settings.namespace
        self.ask("connect", name=CATALOG, options=catalog)

    def table(self, name: str) -> str:
        return f"{CATALOG}.{self.namespace}.{name}"

    def sql(self, statement: str) -> list[Any]:
        """Run a statement; returns its rows as lists."""
        return self.ask("run", statement=statement)

    def multiset(self, name: str) -> Counter[str]:
        """Every row of a table as Spark reads it, in the form of `tests.rows.multiset`."""
        with tempfile.TemporaryDirectory() as folder, open_connection() as connection:
            self.ask("save", statement=f"SELECT * FROM {self.table(name)}", path=f"{folder}/rows")
            rows = connection.execute(f"SELECT to_json(r) FROM read_parquet('{folder}/rows/*.parquet') AS r").fetchall()
        return Counter(str(text) for (text,) in rows)


@contextmanager
def running_spark(home: Path) -> Iterator[ApacheSpark]:
    """Start Spark for a block; `home` need not exist, its log and its scratch files lie beside it."""
    java()
    sqlite = debian_environment("sqlite-jdbc")
    (native,) = sqlite.glob("usr/lib/*/jni/libsqlitejdbc.so")
    libraries = [sqlite / "usr/share/java/xerial-sqlite-jdbc.jar", *jars(*AWS)]
    sqlite_library = f"-Dorg.sqlite.lib.path={native.parent} -Dorg.sqlite.lib.name={native.name}"
    options = {
        # A process of minutes does not earn back what the second compiler costs.
        "spark.driver.extraJavaOptions": f"{sqlite_library} -XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        # Tests have few rows.
        "spark.sql.shuffle.partitions": "2",
    }
    settings = json.dumps({"options": options, "jars": [str(jar) for jar in libraries]})
    process = ApacheSpark(
        python_environment("spark"),
        "tests.installed.spark_process",
        log=home.with_suffix(".log"),
        SPARK_SETTINGS=settings,
        AWS_REGION=REGION,
    )
    with ending(process) as spark:
        spark.ask("open", home=str(home))
        yield spark
