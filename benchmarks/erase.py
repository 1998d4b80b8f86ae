"""Erase 1,000 people from 100 million interactions: against the same deletes by plain pyiceberg, and by Spark.

A smaller one: .venv/bin/python -m benchmarks.erase --rows 2000000 --sources 50 --users 50000 --people 100
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from scripts.environments import MissingError

from benchmarks.figures import ROUNDS, Cost, Figure, in_turn, table
from benchmarks.peers.entries import PEERS
from benchmarks.peers.process import running
from benchmarks.processes import measured, watched
from benchmarks.sample import ROWS as SAMPLE
from benchmarks.sample import create_warehouse
from perennial.engines.duckdb import open_connection
from perennial.erase.locate import locate_rows
from perennial.erase.purge_history import purge_history
from perennial.erase.remove import remove_rows
from perennial.erase.verify_tables import verify_tables
from perennial.settings import Settings
from perennial.tables import INTERACTIONS
from perennial.warehouse import Warehouse

LOADS = 20
# One source in so many has met the people.
CONCERNED = 5
WRITE = "COPY (SELECT *, source_id AS partition FROM fresh) TO '{}' (FORMAT parquet, PARTITION_BY (partition))"


@dataclass(frozen=True)
class Size:
    """How much there is: a file a source and load, and each user has met one source."""

    rows: int = 100_000_000
    sources: int = 500
    users: int = 1_000_000
    people: int = 1_000

    @property
    def user_ids(self) -> list[str]:
        """The people, spread evenly over the sources that are concerned."""
        return [hashlib.md5(str(number).encode()).hexdigest() for number in self._numbers]

    @property
    def _numbers(self) -> list[int]:
        concerned = self.sources // CONCERNED
        return [n % concerned + self.sources * (n // concerned) for n in range(self.people)]

    @property
    def rows_left(self) -> int:
        """How many rows there are without those of the people."""
        each, more = divmod(self.rows // LOADS, self.users)
        return self.rows - LOADS * sum(each + (number < more) for number in self._numbers)

    def __str__(self) -> str:
        files = self.sources * LOADS
        return f"{self.people:,} of {self.users:,} users, {self.rows:,} rows in {files:,} files"


def run() -> list[Figure]:
    """Measure the size that the issue names."""
    return compare(Size())


def compare(size: Size, rounds: int = ROUNDS) -> list[Figure]:
    """Erase the same people on each side in turn, each time from a fresh copy of its folder."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        home = place / "ours"
        create_warehouse(home, size.rows, size.sources, loads=LOADS, users=size.users)
        sides: dict[str, Callable[[], Cost]] = {"ours": _fresh(home, partial(_ours, home, size))}
        missing = []
        for name in ("iceberg", "spark"):
            try:
                sides[name] = _fresh(place / name, _peer(place, name, size))
                print(f"{name}: loaded", flush=True)
            except MissingError as error:
                missing.append(f"{name}: {error}")
        costs = in_turn(sides, rounds)
        found = json.loads((home / "found.json").read_text())
    return [*_figures(size, costs, found), *(Figure(f"erase {size}", detail=text) for text in missing)]


def _figures(size: Size, costs: dict[str, Cost], found: dict[str, Any]) -> list[Figure]:
    ours = costs["ours"]
    figures = [
        Figure(
            f"{PEERS[name].title.partition(':')[0]} ÷ ours: erase {size}",
            costs[name].seconds / ours.seconds,
            aim=aim,
            must=must,
            ours=ours,
            other=costs[name],
            detail="ours: found, removed with proof, purged from storage and looked for again; other: deletes alone",
        )
        for name, aim, must in (("iceberg", 5, 2), ("spark", 1.5, 0.75))
        if name in costs
    ]
    read, written, files = found["read_bytes"], found["written_bytes"], found["files"]
    spent = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in found["seconds"].items())
    detail = f"{read / size.people / 1e6:.2f} MB read and {written / size.people / 1e6:.2f} MB written a person"
    figures.append(
        Figure(
            f"erase {size}: a person",
            ours.seconds / size.people,
            unit=" s",
            aim=0.3,
            must=1,
            ours=ours,
            detail=f"{detail}, {files:,} files rewritten, {found['digest_bytes'] / 1e6:.1f} MB of digests; {spent}",
        )
    )
    return figures


def _fresh(home: Path, work: Callable[[], Cost]) -> Callable[[], Cost]:
    """Measure from a copy of the folder at its own place, because addresses in Iceberg's files are absolute."""
    kept = home.with_suffix(".kept")
    shutil.copytree(home, kept)

    def measure() -> Cost:
        shutil.rmtree(home)
        subprocess.run(["cp", "-a", str(kept), str(home)], check=True)
        cost = work()
        print(f"{home.name}: {cost}", flush=True)
        return cost

    return measure


def _ours(home: Path, size: Size) -> Cost:
    settings = Settings.from_environment({"PERENNIAL_HOME": str(home)})
    return measured(partial(_erase, size), settings)


def _erase(size: Size, warehouse: Warehouse) -> None:
    people, seconds = size.user_ids, {}

    def timed(step: str, work: Callable[[], Any]) -> Any:
        started = time.monotonic()
        done = work()
        seconds[step] = time.monotonic() - started
        return done

    located = timed("first search", lambda: locate_rows(warehouse, people))
    removed = timed("removal with a search after it", lambda: remove_rows(warehouse, people, located))
    purged = timed("purge", lambda: purge_history(warehouse, people))
    left = timed("verification", lambda: verify_tables(warehouse, people))
    rows = sum(total.row_count for total in warehouse.source_totals(INTERACTIONS.name).values())
    assert (left, purged.remaining, removed.is_complete) == ([], (), True)
    assert rows == size.rows_left, rows
    digests = Path(warehouse.operations_uri().removeprefix("file://"), "digests")
    (warehouse.settings.home / "found.json").write_text(
        json.dumps(
            {
                "seconds": seconds,
                "read_bytes": removed.read_bytes,
                "written_bytes": removed.written_bytes,
                "files": removed.file_count,
                "digest_bytes": sum(path.stat().st_size for path in digests.iterdir()),
            }
        )
    )


def _peer(place: Path, name: str, size: Size) -> Callable[[], Cost]:
    """Load the same rows into a peer, load by load."""
    entry, home, rows = PEERS[name], place / name, place / f"rows-{name}"
    home.mkdir()
    rows.mkdir()
    with running(entry, home) as peer, open_connection() as connection:
        for load in range(0, LOADS, 2):
            # It makes two loads of the files that it is given.
            for half in (load, load + 1):
                binds = {"load": half, "rows": size.rows // LOADS, "sources": size.sources, "users": size.users}
                connection.execute(SAMPLE, binds)
                connection.execute(WRITE.format(rows / str(half)))
                # Not in folders with names like `partition=…`, which engines take for a column.
                for path in rows.glob(f"{half}/*/*.parquet"):
                    path.rename(rows / f"{half}-{path.parent.name.partition('=')[2]}.parquet")
            files = [str(path) for half in (load, load + 1) for path in sorted(rows.glob(f"{half}-*.parquet"))]
            peer.ask("load", files=files, moved=0)
            for file in files:
                Path(file).unlink()

    def erase() -> Cost:
        with running(entry, home) as peer, watched(peer.process.pid) as watch:
            peer.ask("erase", users=size.user_ids)
            cost = watch.cost()
            count, *_ = peer.ask("rows_seen")
            assert count == size.rows_left, count
        return cost

    return erase


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.erase")
    for name in ("rows", "sources", "users", "people"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Size(), name))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = vars(parser.parse_args())
    figures = compare(rounds=arguments.pop("rounds"), size=Size(**arguments))
    Console(width=200).print(table({"erase": figures}))


if __name__ == "__main__":
    main()
