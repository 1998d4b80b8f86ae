"""Expire 10 million rows of 500 sources on S3: against Spark and DuckDB rewriting them, and against bare copies.

Ours costs requests, nothing a row; the others cost rows. So the same is measured with 10,000 and with 100,000 rows an
object.
"""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.lake import ARCHIVE, Lake, running_lake
from tests.spark import running_spark

from benchmarks.expire import REWRITE, expire, once
from benchmarks.figures import Cost, Figure, in_turn
from benchmarks.sample import fill_warehouse
from perennial.engines.duckdb import create_view, open_connection
from perennial.settings import Settings
from perennial.storage import storage_for
from perennial.storage.s3 import s3_storage
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE
from perennial.warehouse import FileChange, Warehouse
from perennial.warehouse.commits import commit_change

ROWS = 10_000_000
# Sources, loads of each; how many times as long rewriting should take, and has to.
SHAPES = ((500, 2, 7, 6), (100, 1, 20, 15))


def run() -> list[Figure]:
    """Measure all sides on the same objects of one server, in turn; Spark, the slowest, once."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as home, running_lake(Path(home) / "lake") as lake:
        for shape in SHAPES:
            figures += _measure_shape(lake, Path(home), *shape)
    return figures


def _measure_shape(lake: Lake, home: Path, sources: int, loads: int, aim: float, must: float) -> list[Figure]:
    name = f"bench{sources}x{loads}"
    os.environ |= lake.environment(name) | {"AIRFLOW_HOME": f"{home}/airflow"}
    warehouse = Warehouse(Settings.from_environment({**os.environ, "PERENNIAL_HOME": f"{home}/{name}"}))
    fill_warehouse(warehouse, ROWS, sources, loads=loads)
    originals = [live.data_file for live in warehouse.live_files(warehouse.table(INTERACTIONS.name))]
    sides = {
        "copies": partial(_copies, [file.file_path for file in originals]),
        "ours": once(expire, warehouse, originals),
        "duckdb": once(rewrite, warehouse, originals),
    }
    cost = in_turn(sides)
    cost["spark"] = _spark(lake, warehouse, home)
    ours = cost["ours"]
    what = f"expire {ROWS:,} rows of {sources} sources on S3, {len(originals):,} objects"
    # Bare copies of few objects are over before anything is decided.
    bounds = {"aim": 1.2, "must": 1.5} if len(originals) >= 1_000 else {}
    return [
        Figure(
            f"{what}, beside bare CopyObject",
            ours.seconds / cost["copies"].seconds,
            **bounds,
            ours=ours,
            other=cost["copies"],
            detail="ours / other; other: the service copies the same objects through boto3, nothing else is done",
        ),
        *(
            Figure(what, cost[side].seconds / ours.seconds, "x", aim, must, ours, cost[side], detail)
            for side, detail in (
                ("duckdb", "other: DuckDB reads the rows and writes them"),
                ("spark", "other: Spark Connect, INSERT then DELETE; the processor time is its client's"),
            )
        ),
    ]


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


def _copies(uris: list[str]) -> Cost:
    """Ask the service for the copies and for nothing else."""
    storage = s3_storage()
    place = f"bare/{uuid.uuid4().hex}"

    def copy(uri: str) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        source = {"Bucket": bucket, "Key": key}
        storage.client.copy_object(CopySource=source, Bucket=ARCHIVE, Key=f"{place}/{key.rpartition('/')[2]}")

    started, processors = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(storage.in_flight) as pool:
        list(pool.map(copy, uris))
    return Cost(time.monotonic() - started, time.process_time() - processors)


def _spark(lake: Lake, warehouse: Warehouse, home: Path) -> Cost:
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
            started, processors = time.monotonic(), time.process_time()
            session.table(f"{namespace}.interactions").select(*columns).writeTo(f"{namespace}.spark_archive").append()
            inserted = time.monotonic() - started
            session.sql(f"DELETE FROM {namespace}.interactions WHERE source_id LIKE 'source-%'").collect()
            print(f"spark: insert {inserted:.1f} s, both {time.monotonic() - started:.1f} s")
            return Cost(time.monotonic() - started, time.process_time() - processors)
        finally:
            session.stop()
