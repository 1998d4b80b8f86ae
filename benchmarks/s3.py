"""Expire 10 million rows of 500 sources on S3: against Spark and DuckDB rewriting them, and against bare copies."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.lake import ARCHIVE, Lake, running_lake
from tests.spark import running_spark

from benchmarks.expire import REWRITE, expire, start_again
from benchmarks.processes import measured
from benchmarks.sample import fill_warehouse
from perennial.engines.duckdb import create_view, open_connection
from perennial.settings import Settings
from perennial.storage import storage_for
from perennial.storage.s3 import s3_storage
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE
from perennial.warehouse import FileChange, Warehouse
from perennial.warehouse.commits import commit_change

ROWS, SOURCES, ROUNDS = 10_000_000, 500, 3


def run() -> list[dict[str, Any]]:
    """Measure all sides on the same objects of one server, in turn; Spark, the slowest, once."""
    seconds: dict[str, list[float]] = {"ours": [], "duckdb": [], "copies": [], "spark": []}
    with tempfile.TemporaryDirectory() as home, running_lake(Path(home) / "lake") as lake:
        os.environ |= lake.environment("bench") | {"AIRFLOW_HOME": f"{home}/airflow"}
        warehouse = Warehouse(Settings.from_environment({**os.environ, "PERENNIAL_HOME": f"{home}/home"}))
        fill_warehouse(warehouse, ROWS, SOURCES)
        originals = [live.data_file for live in warehouse.live_files(warehouse.table(INTERACTIONS.name))]
        for _ in range(ROUNDS):
            seconds["copies"].append(_copies([file.file_path for file in originals]))
            for name, work in (("ours", expire), ("duckdb", rewrite)):
                seconds[name].append(measured(work, warehouse.settings)[0])
                start_again(warehouse, originals)
        seconds["spark"].append(_spark(lake, warehouse, Path(home)))
    median = {name: statistics.median(found) for name, found in seconds.items()}
    what = f"expire {ROWS:,} rows of {SOURCES} sources on S3"
    files = f"{len(originals):,} objects"
    return [
        _row(what, median, "duckdb", "at least 10x, aim 20x", f"other: DuckDB reads the rows and writes them; {files}"),
        _row(what, median, "spark", "at least 10x, aim 20x", f"other: Spark Connect, INSERT then DELETE; {files}"),
        {
            "name": f"{what}, beside bare CopyObject",
            "ours_seconds": median["ours"],
            "other_seconds": median["copies"],
            "ratio": median["ours"] / median["copies"],
            "target": "at most 1.5x (ratio: ours / other)",
            "detail": "other: the same objects copied by the service, nothing decided, checked, committed or told",
        },
    ]


def _row(name: str, median: dict[str, float], other: str, target: str, detail: str) -> dict[str, Any]:
    return {
        "name": name,
        "ours_seconds": median["ours"],
        "other_seconds": median[other],
        "ratio": median[other] / median["ours"],
        "target": target,
        "detail": detail,
    }


def rewrite(warehouse: Warehouse) -> None:
    """DuckDB on all cores reads from S3 and writes local files, unsorted, which are then uploaded side by side.

    In its favour, the archive's commit and any check of what was written are left out.
    """
    hot = warehouse.table(INTERACTIONS.name)
    live = list(warehouse.live_files(hot))
    with open_connection() as connection, tempfile.TemporaryDirectory() as directory:
        create_view(connection, "hot", live, hot)
        connection.execute(REWRITE.format(archive=directory))
        storage, place = storage_for(f"s3://{ARCHIVE}"), f"s3://{ARCHIVE}/rewritten/{uuid.uuid4().hex}"
        with ThreadPoolExecutor(storage.in_flight) as pool:
            for path in Path(directory).rglob("*.parquet"):
                pool.submit(storage.upload, path, f"{place}/{uuid.uuid4().hex}.parquet")
    removed = FileChange(remove=[file.data_file for file in live])
    commit_change(lambda: warehouse.table(INTERACTIONS.name), lambda _: removed, uuid.uuid4().hex)


def _copies(uris: list[str]) -> float:
    """Ask the service for the copies and for nothing else."""
    storage = s3_storage()
    place = f"bare/{uuid.uuid4().hex}"

    def copy(uri: str) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        source = {"Bucket": bucket, "Key": key}
        storage.client.copy_object(CopySource=source, Bucket=ARCHIVE, Key=f"{place}/{key.rpartition('/')[2]}")

    started = time.monotonic()
    with ThreadPoolExecutor(storage.in_flight) as pool:
        list(pool.map(copy, uris))
    return time.monotonic() - started


def _spark(lake: Lake, warehouse: Warehouse, home: Path) -> float:
    """Spark inserts the rows into a table like the archive and deletes them from hot; its start is not counted.

    That table's files lie beside hot's: Sail writes to no other bucket.
    """
    from pyspark.sql import SparkSession

    namespace = warehouse.settings.namespace
    archive = warehouse.table(INTERACTIONS_ARCHIVE.name)
    warehouse.catalog.create_table((namespace, "spark_archive"), archive.schema(), partition_spec=archive.spec())
    columns = [field.name for field in archive.schema().fields]
    with running_spark(lake, home / "spark", mode="local") as spark:
        session = SparkSession.builder.remote(spark.url).getOrCreate()
        try:
            session.sql("SELECT 1").collect()
            started = time.monotonic()
            session.table(f"{namespace}.interactions").select(*columns).writeTo(f"{namespace}.spark_archive").append()
            inserted = time.monotonic() - started
            session.sql(f"DELETE FROM {namespace}.interactions WHERE source_id LIKE 'source-%'").collect()
            print(f"spark: insert {inserted:.1f} s, both {time.monotonic() - started:.1f} s")
            return time.monotonic() - started
        finally:
            session.stop()
