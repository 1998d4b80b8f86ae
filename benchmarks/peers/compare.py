"""Measures all peers on the same rows, kills each in the middle, and prints what became of the rows.

.venv/bin/python -m benchmarks.peers.compare --rows 100000 --sources 20 --rounds 1 --only delta
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.environments import MissingError

from benchmarks.figures import ROUNDS, Cost, Figure, median_cost
from benchmarks.peers.entries import PEERS, Entry
from benchmarks.peers.peer import MODULUS
from benchmarks.peers.process import PeerProcess, running
from benchmarks.processes import watched
from benchmarks.sample import ROWS as SAMPLE
from perennial.engines.duckdb import open_connection

ROW_COUNT, SOURCE_COUNT, LOADS = 2_000_000, 100, 2
USERS = 200_000
WRITE = "COPY (SELECT *, source_id AS partition FROM fresh) TO '{}' (FORMAT parquet, PARTITION_BY (partition))"


@dataclass(frozen=True)
class Rows:
    """What is moved.

    Attributes:
        files: Parquet files, one a source and load.
        moved: The sources that move.
        moved_count: How many rows these have.
        count: How many rows there are.
        total: The sum of what `MODULUS` leaves of their times, which differs if other rows are seen.
    """

    files: list[str]
    moved: list[str]
    moved_count: int
    count: int
    total: int

    @classmethod
    def make(cls, folder: Path, count: int, sources: int) -> Rows:
        """Write files with the rows that the other benchmarks have; the first half of the sources moves."""
        folder.mkdir()
        moved = [f"source-{number}" for number in range(sources // 2)]
        with open_connection() as connection:
            for load in range(LOADS):
                binds = {"load": load, "rows": count // LOADS, "sources": sources, "users": USERS}
                connection.execute(SAMPLE, binds)
                connection.execute(WRITE.format(folder / f"load-{load}"))
                # Not in folders with names like `partition=…`, which engines take for a column.
                for path in folder.glob(f"load-{load}/*/*.parquet"):
                    path.rename(folder / f"{load}-{path.parent.name.partition('=')[2]}.parquet")
            files = sorted(str(path) for path in folder.glob("*.parquet"))
            counted = f"""SELECT count(*) FILTER (list_contains(?, source_id)), count(*),
                sum(epoch_us(occurred_at) % {MODULUS})::BIGINT FROM read_parquet(?)"""
            return cls(files, moved, *connection.execute(counted, [moved, files]).fetchone())

    def judge(self, seen: Any) -> str:
        """Say what is wrong with what a query has returned; empty if it has every row once."""
        if isinstance(seen, str):
            return seen
        more = seen[0] - self.count
        if more:
            return f"{abs(more):,} rows {'twice' if more > 0 else 'missing'}"
        return "" if seen[1] == self.total else "as many rows, but others"


@dataclass(frozen=True)
class Found:
    """What was measured of one peer.

    Attributes:
        out: What moving out took.
        back: What moving back took.
        reads: What was wrong with each query that ran meanwhile, empty for nothing.
        kills: By when it was killed, what was wrong afterwards, and what when the move had been run again.
    """

    out: Cost
    back: Cost
    reads: list[str]
    kills: dict[str, tuple[str, str]]

    @property
    def both(self) -> Cost:
        """Out and back together."""
        cpu, peak = self.out.cpu_seconds + self.back.cpu_seconds, max(self.out.peak_bytes, self.back.peak_bytes)
        return Cost(self.out.seconds + self.back.seconds, cpu, peak)


def measure(entry: Entry, home: Path, rows: Rows, rounds: int) -> Found:
    """Load, move out and back some times, once more while queries run, then twice to be killed."""
    home.mkdir()
    with running(entry, home) as peer:
        peer.ask("load", files=rows.files, moved=len(rows.moved))
    subprocess.run(["cp", "-a", str(home), f"{home}.loaded"], check=True)
    with running(entry, home) as peer:
        costs: dict[str, list[Cost]] = {"move_out": [], "move_back": []}
        for _ in range(rounds):
            for way, archived in (("move_out", rows.moved_count), ("move_back", 0)):
                costs[way].append(_cost(peer, way, rows))
                _expect(entry, peer, rows, archived)
        reading = [peer.ask(way, sources=rows.moved, reading=True) for way in costs]
    out, back = (median_cost(found) for found in costs.values())
    kills = {"after half of the time": _kill(entry, home, rows, wait=out.seconds / 2)}
    if pauses := reading[0]["pauses"]:
        kills["between its statements"] = _kill(entry, home, rows, halt=(pauses + 1) // 2)
    return Found(out, back, [rows.judge(seen) for answer in reading for seen in answer["seen"]], kills)


def _cost(peer: PeerProcess, way: str, rows: Rows) -> Cost:
    with watched(peer.process.pid) as watch:
        peer.ask(way, sources=rows.moved)
        return watch.cost()


def _expect(entry: Entry, peer: PeerProcess, rows: Rows, archived: int) -> None:
    """Refuse to measure a move that did not do it."""
    count, total, found = peer.ask("rows_seen")
    if not entry.readable:
        count, found = count + archived, archived
    if (count, found) != (rows.count, archived) or (entry.readable and total != rows.total):
        raise RuntimeError(f"{entry.title}: {count:,} rows, {found:,} of them archived; expected {archived:,}")


def _kill(entry: Entry, home: Path, rows: Rows, wait: float = 0, halt: int = 0) -> tuple[str, str]:
    """Kill it after some time or some statements; returns what is wrong then, and when the move has been run again."""
    shutil.rmtree(home)
    subprocess.run(["cp", "-a", f"{home}.loaded", str(home)], check=True)
    with running(entry, home) as peer:
        peer.send("move_out", sources=rows.moved, halt=halt)
        if halt:
            peer.answer()
        else:
            time.sleep(wait)
        peer.kill()
    with running(entry, home) as peer:
        left, _ = _judge(entry, peer, rows)
        try:
            peer.ask("move_out", sources=rows.moved)
        except RuntimeError as error:
            return left, str(error).partition("\n")[0]
        wrong, done = _judge(entry, peer, rows)
        return left, wrong or ("" if done else "not moved")


def _judge(entry: Entry, peer: PeerProcess, rows: Rows) -> tuple[str, bool]:
    """Say what is wrong with the rows, and whether all that should move have moved."""
    try:
        seen = peer.ask("rows_seen")
    except RuntimeError as error:
        return f"queries fail with {str(error).partition(':')[0]}", False
    if not entry.readable and seen[0] == rows.count - rows.moved_count:
        return "", True
    return rows.judge(seen), seen[2] == rows.moved_count


def compare(
    count: int = ROW_COUNT, sources: int = SOURCE_COUNT, rounds: int = ROUNDS, only: list[str] | None = None
) -> list[Figure]:
    """Measure the peers one after the other and print their table; returns each beside ours."""
    found: dict[str, Found | str] = {}
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        # PostgreSQL runs as another user.
        folder = Path(name)
        folder.chmod(0o755)
        rows = Rows.make(folder / "rows", count, sources)
        for key in only or PEERS:
            started = time.monotonic()
            try:
                found[key] = measure(PEERS[key], folder / key, rows, rounds)
            except MissingError as missing:
                found[key] = f"not measured, missing: {missing}"
            except Exception:
                # The others are worth having all the same.
                traceback.print_exc()
                found[key] = "failed, its error is printed above"
            print(f"{time.monotonic() - started:.0f} s: {_line(key, found[key])}", flush=True)
            for left in (folder / key, folder / f"{key}.loaded"):
                shutil.rmtree(left, ignore_errors=True)
    print(
        f"\n{rows.moved_count:,} of {count:,} rows move: {len(rows.moved)} of {sources} sources, {LOADS} files each.\n"
    )
    print(markdown(found), flush=True)
    ours = found.get("ours")
    if not isinstance(ours, Found):
        return []
    return [_figure(key, ours, peer) for key, peer in found.items() if isinstance(peer, Found) and key != "ours"]


def _figure(key: str, ours: Found, peer: Found) -> Figure:
    ratio = peer.both.seconds / ours.both.seconds
    return Figure(f"out and back: {PEERS[key].title} ÷ ours", ratio, ours=ours.both, other=peer.both)


def markdown(found: dict[str, Found | str]) -> str:
    """Lay out the table as the documentation has it."""
    headings = (
        "",
        "out",
        "back",
        "CPU, both",
        "peak memory",
        "queries meanwhile see every row once",
        "killed on the way",
    )
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    return "\n".join([*lines, *(_line(key, peer) for key, peer in found.items())])


def _line(key: str, peer: Found | str) -> str:
    cells = [peer, *[""] * 5] if isinstance(peer, str) else _cells(peer)
    return f"| {' | '.join([PEERS[key].title, *cells])} |"


def _cells(peer: Found) -> list[str]:
    seconds = [f"{value:.2f} s" for value in (peer.out.seconds, peer.back.seconds, peer.both.cpu_seconds)]
    wrong = Counter(filter(None, peer.reads))
    reads = f"yes, {len(peer.reads)} of {len(peer.reads)}"
    if wrong:
        reads = "no: " + "; ".join(f"{times} of {len(peer.reads)}: {what}" for what, times in wrong.items())
    kills = [f"{when}: {_left(*after)}" for when, after in peer.kills.items()]
    return [*seconds, f"{peer.both.peak_bytes / 1e6:,.0f} MB", reads, "; ".join(kills)]


def _left(left: str, again: str) -> str:
    return f"{left or 'every row once'}, run again: {again or 'done'}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.compare", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROW_COUNT)
    parser.add_argument("--sources", type=int, default=SOURCE_COUNT)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="*", choices=PEERS)
    given = parser.parse_args()
    compare(given.rows, given.sources, given.rounds, given.only)


if __name__ == "__main__":
    main()
