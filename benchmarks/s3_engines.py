"""Expire 100 sources on S3, an object each, with 10,000 and with 100,000 rows: DuckDB and Spark rewriting beside ours.

Spark is 3.5 with Iceberg's own runtime, over the same REST catalog; its start is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import uuid
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from scripts.environments import MissingError, jars
from tests.lake import REGION, Lake, running_lake

from benchmarks.expire import NOW, start_again
from benchmarks.figures import ROUNDS, Cost, Figure, in_turn
from benchmarks.peers.entries import PEERS
from benchmarks.peers.process import PeerProcess, running
from benchmarks.peers.spark_catalogs import AWS, rest_catalog
from benchmarks.processes import measured, watched
from benchmarks.s3 import rewrite
from benchmarks.sample import fill_warehouse
from perennial.moves import Run, expire_sources
from perennial.settings import Settings
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE
from perennial.warehouse import Warehouse

SOURCES = 100
# Rows an object, aim, must.
SHAPES = ((10_000, 7, 6), (100_000, 20, 15))


def run(sources: int = SOURCES, rounds: int = ROUNDS) -> list[Figure]:
    """Measure all sides in turn, on the same objects of one server."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as home, running_lake(Path(home) / "lake") as lake:
        for rows, aim, must in SHAPES:
            figures += _measure(lake, Path(home), sources, rounds, rows, aim, must)
    return figures


def _measure(lake: Lake, home: Path, sources: int, rounds: int, rows: int, aim: float, must: float) -> list[Figure]:
    name = f"rows{rows}"
    os.environ |= lake.environment(name) | {"AIRFLOW_HOME": f"{home}/airflow"}
    warehouse = Warehouse(Settings.from_environment({**os.environ, "PERENNIAL_HOME": f"{home}/{name}"}))
    fill_warehouse(warehouse, rows * sources, sources, loads=1)
    originals = [live.data_file for live in warehouse.live_files(warehouse.table(INTERACTIONS.name))]

    def done(measure: Any) -> Cost:
        cost = measure()
        assert not warehouse.source_totals(INTERACTIONS.name)
        start_again(warehouse, originals)
        return cost

    sides = {"ours": partial(measured, expire, warehouse.settings)}
    sides["DuckDB"] = partial(measured, rewrite, warehouse.settings)
    with ExitStack() as stack:
        try:
            spark = stack.enter_context(_running_spark(lake, warehouse, home / f"{name}-spark"))
            sides["Spark"] = partial(_spark, spark, [f"source-{number}" for number in range(sources)])
        except MissingError as missing:
            print(f"Spark is not measured, missing: {missing}")
        costs = in_turn({side: partial(done, measure) for side, measure in sides.items()}, rounds)
    what = f"expire {len(originals)} objects of {rows:,} rows on S3"
    ours = costs.pop("ours")
    return [
        Figure(
            f"{what}: {side} rewriting ÷ ours",
            other.seconds / ours.seconds,
            aim=aim,
            must=must,
            ours=ours,
            other=other,
            detail=f"peak memory of {side}: {other.peak_bytes / 1e6:,.0f} MB",
        )
        for side, other in costs.items()
    ]


def expire(warehouse: Warehouse) -> None:
    """The whole of an expiry run."""
    assert expire_sources(warehouse, Run(uuid.uuid4().hex, NOW)).sources


def _running_spark(lake: Lake, warehouse: Warehouse, home: Path) -> Any:
    """Start Spark on the lake, with a table like the archive for what it inserts."""
    namespace = warehouse.settings.namespace
    archive = warehouse.table(INTERACTIONS_ARCHIVE.name)
    warehouse.catalog.create_table((namespace, "spark_archive"), archive.schema(), partition_spec=archive.spec())
    catalog, libraries = rest_catalog(lake), [str(jar) for jar in jars(*AWS)]
    tables = {"hot": f"lake.{namespace}.interactions", "archive": f"lake.{namespace}.spark_archive"}
    os.environ |= {"PEER_SPARK": json.dumps({"catalog": catalog, "jars": libraries, **tables}), "AWS_REGION": REGION}
    return running(PEERS["spark"], home)


def _spark(spark: PeerProcess, sources: list[str]) -> Cost:
    with watched(spark.process.pid) as watch:
        spark.ask("move_out", sources=sources)
        return watch.cost()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=int, default=SOURCES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    for figure in run(given.sources, given.rounds):
        print(figure)
