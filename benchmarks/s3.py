"""Expire 10 million rows of 500 sources on S3: against Spark and DuckDB rewriting them, and against bare copies.

Ours costs requests, nothing a row; the others cost rows. So the same is measured as two loads have left the table, as
compaction leaves it, and with five times the rows in as many objects.
"""

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

SOURCES = 500
# Rows, objects a source, rounds.
SHAPES = ((10_000_000, 2, 3), (10_000_000, 1, 3), (50_000_000, 1, 1))


def run() -> list[dict[str, Any]]:
    """Measure all sides on the same objects of one server, in turn; Spark, the slowest, once."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as home, running_lake(Path(home) / "lake") as lake:
        for shape in SHAPES:
            rows += _measure_shape(lake, Path(home), *shape)
    return rows


def _measure_shape(lake: Lake, home: Path, row_count: int, loads: int, rounds: int) -> list[dict[str, Any]]:
    seconds: dict[str, list[float]] = {"ours": [], "duckdb": [], "copies": []}
    name = f"bench{row_count}x{loads}"
    os.environ |= lake.environment(name) | {"AIRFLOW_HOME": f"{home}/airflow"}
    warehouse = Warehouse(Settings.from_environment({**os.environ, "PERENNIAL_HOME": f"{home}/{name}"}))
    fill_warehouse(warehouse, row_count, SOURCES, loads=loads)
    originals = [live.data_file for live in warehouse.live_files(warehouse.table(INTERACTIONS.name))]
    for _ in range(rounds):
        seconds["copies"].append(_copies([file.file_path for file in originals]))
        for side, work in (("ours", expire), ("duckdb", rewrite)):
            seconds[side].append(measured(work, warehouse.settings).seconds)
            start_again(warehouse, originals)
    if loads > 1:
        seconds["spark"] = [_spark(lake, warehouse, home)]
    median = {side: statistics.median(found) for side, found in seconds.items()}
    what = f"expire {row_count:,} rows of {SOURCES} sources on S3, {len(originals):,} objects"
    target = "at least 10x, aim 20x"
    spark = [_row(what, median, "spark", target, "other: Spark Connect, INSERT then DELETE")] if loads > 1 else []
    return [
        _row(what, median, "duckdb", target, "other: DuckDB reads the rows and writes them"),
        *spark,
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
    commit_change(warehouse, INTERACTIONS.name, lambda _: removed, uuid.uuid4().hex)


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
