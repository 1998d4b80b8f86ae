"""PostgreSQL 15 with pg_partman: its retention moves each source's partition to the schema of the archive.

With the argument `dump` that schema then goes to a file by pg_dump and is dropped, and comes back by pg_restore.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import psycopg

from benchmarks.peers.peer import MODULUS, serve
from perennial_sample.ports import free_port

BIN = Path(os.environ["PEER_ENVIRONMENT"]).resolve() / "usr/lib/postgresql/15/bin"
# PostgreSQL does not run as root.
USER = "nobody" if os.geteuid() == 0 else None
START_SECONDS = 60
TO_CSV = """COPY (SELECT *, split_part(source_id, '-', 2)::INTEGER AS source_number FROM read_parquet({}))
TO '{}' (FORMAT csv, HEADER false)"""
TYPES = {"VARCHAR": "text", "TIMESTAMP WITH TIME ZONE": "timestamptz", "BOOLEAN": "boolean", "INTEGER": "integer"}
PARTITIONS = """SELECT partman.create_parent('public.interactions', 'source_number', 'native', '1',
    p_premake => %s, p_start_partition => '0')"""
RETENTION = """UPDATE partman.part_config SET retention = %s, retention_schema = 'archive', retention_keep_table = true,
    infinite_time_partitions = false WHERE parent_table = 'public.interactions'"""


class Postgres:
    def open(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        data = home / "data"
        if not data.exists():
            data.mkdir(parents=True)
            if USER:
                shutil.chown(home, USER)
                shutil.chown(data, USER)
            self._program("initdb", "--pgdata", str(data), "--username", "postgres", "--auth", "trust")
        (data / "postmaster.pid").unlink(missing_ok=True)
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        # A partition takes a lock, and all of them move in one transaction.
        settings |= {"max_wal_size": "4GB", "max_locks_per_transaction": 1024}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(BIN / "postgres"), "-D", str(data), *options]
        self.server = subprocess.Popen(command, user=USER, stdout=sys.stderr, stderr=sys.stderr)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.connection = self._connect()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self.server.poll() is not None:
                    raise
                time.sleep(0.1)

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(host="127.0.0.1", port=self.port, user="postgres", autocommit=True)

    def _program(self, name: str, *arguments: str) -> None:
        subprocess.run([str(BIN / name), *arguments], user=USER, cwd=self.home, stdout=sys.stderr, check=True)

    def load(self, files: list[str], moved: int) -> None:
        sources = len(files) // 2
        with duckdb.connect() as engine:
            described = engine.sql(f"DESCRIBE FROM read_parquet({files[:1]})").fetchall()
            engine.execute(TO_CSV.format(files, self.home / "rows.csv"))
        columns = ", ".join(f"{name} {TYPES[kind]}" for name, kind, *_ in described)
        run = self.connection.execute
        run("CREATE SCHEMA partman")
        run("CREATE EXTENSION pg_partman SCHEMA partman")
        run("CREATE SCHEMA archive")
        run(f"CREATE TABLE interactions ({columns}, source_number integer NOT NULL) PARTITION BY RANGE (source_number)")
        run(PARTITIONS, [sources])
        copying = self.connection.cursor().copy("COPY interactions FROM STDIN (FORMAT csv)")
        with copying as copy, (self.home / "rows.csv").open("rb") as rows:
            while block := rows.read(1 << 20):
                copy.write(block)
        (self.home / "rows.csv").unlink()
        # It keeps the partitions of this many numbers below the highest.
        run(RETENTION, [str(sources - 1 - moved)])
        run("CHECKPOINT")

    def move_out(self, sources: list[str], pause: Callable[[], None]) -> None:
        self.connection.execute("SELECT partman.run_maintenance('public.interactions', p_analyze => false)")

    def move_back(self, sources: list[str], pause: Callable[[], None]) -> None:
        with self.connection.transaction():
            self.connection.execute("LOCK TABLE interactions IN ACCESS EXCLUSIVE MODE")
            for source in sources:
                number = int(source.rpartition("-")[2])
                name = f"interactions_p{number}"
                self.connection.execute(f"ALTER TABLE archive.{name} SET SCHEMA public")
                bounds = f"FROM ({number}) TO ({number + 1})"
                self.connection.execute(f"ALTER TABLE interactions ATTACH PARTITION {name} FOR VALUES {bounds}")

    def rows_seen(self) -> tuple[int, int, int]:
        with self._connect() as reader, reader.transaction():
            # Otherwise a partition can change its schema between the look which there are and the count.
            reader.execute("LOCK TABLE interactions IN ACCESS SHARE MODE")
            return _count(reader)

    def close(self) -> None:
        self.connection.close()
        self.server.terminate()
        self.server.wait(60)


class Dumped(Postgres):
    def move_out(self, sources: list[str], pause: Callable[[], None]) -> None:
        super().move_out(sources, pause)
        pause()
        dump, part = self.home / "dump", self.home / "dump.part"
        shutil.rmtree(part, ignore_errors=True)
        self._program("pg_dump", *self._there, "-Fd", "-j2", "-n", "archive", "-f", str(part), "postgres")
        part.rename(dump)
        pause()
        self.connection.execute("DROP SCHEMA archive CASCADE")

    def move_back(self, sources: list[str], pause: Callable[[], None]) -> None:
        self._program("pg_restore", *self._there, "-Fd", "-j2", "-d", "postgres", str(self.home / "dump"))
        pause()
        super().move_back(sources, pause)
        pause()
        shutil.rmtree(self.home / "dump")

    @property
    def _there(self) -> list[str]:
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]


def _count(reader: psycopg.Connection) -> tuple[int, int]:
    """Count hot and all tables of the archive's schema; which there are has to be asked first."""
    tables = [name for (name,) in reader.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'archive'")]
    rows = "SELECT occurred_at, 0 AS archived FROM public.interactions"
    rows += "".join(f" UNION ALL SELECT occurred_at, 1 FROM archive.{name}" for name in tables)
    times = f"sum((extract(epoch FROM occurred_at) * 1000000)::bigint % {MODULUS})::bigint"
    return reader.execute(f"SELECT count(*), {times}, sum(archived)::bigint FROM ({rows}) r").fetchone()


if __name__ == "__main__":
    serve(Dumped() if sys.argv[1:] == ["dump"] else Postgres())
