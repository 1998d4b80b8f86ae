"""Files on S3 as DuckDB reads them: one handle, many threads, each of which gets what it asked for."""

from __future__ import annotations

import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet
import pytest

from perennial.engines.duckdb import create_view, open_connection
from perennial.engines.remote_files import Buckets, RemoteFiles
from perennial.storage import storage_for
from perennial.warehouse import LiveFile, Warehouse
from perennial.warehouse.files import relocated
from tests.lake import ARCHIVE, KEY, REGION, SECRET, Lake
from tests.rows import append_hot, interaction

CONTENT = random.Random(1).randbytes(4 << 20)


@pytest.fixture
def path(lake: Lake) -> str:
    name = f"threads/{uuid.uuid4().hex}"
    lake.client().put_object(Bucket=ARCHIVE, Key=name, Body=CONTENT)
    return f"{ARCHIVE}/{name}"


@pytest.fixture
def files(lake: Lake) -> RemoteFiles:
    store = pyarrow.fs.S3FileSystem(access_key=KEY, secret_key=SECRET, region=REGION, endpoint_override=lake.s3_url)
    return RemoteFiles(store)


def test_threads_that_share_a_file_do_not_read_at_each_others_place(path: str, files: RemoteFiles) -> None:
    handle: Any = files.open(path)

    def read(seed: int) -> bool:
        places = random.Random(seed)
        for _ in range(100):
            start, count = places.randrange(len(CONTENT)), places.randrange(1, 50_000)
            handle.seek(start)
            if handle.read(count) != CONTENT[start : start + count]:
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))
    handle.close()


def test_a_file_is_read_from_any_place_to_its_end(path: str, files: RemoteFiles) -> None:
    handle: Any = files.open(path)
    assert handle.seek(-10, 2) == len(CONTENT) - 10
    assert handle.read() == CONTENT[-10:]
    assert (handle.tell(), handle.read(5)) == (len(CONTENT), b"")
    handle.seek(3)
    handle.seek(4, 1)
    assert handle.read(2) == CONTENT[7:9]
    handle.close()


def test_nothing_is_written(path: str, files: RemoteFiles) -> None:
    with pytest.raises(NotImplementedError, match=path):
        files.open(path, "wb")


def test_each_bucket_is_read_by_its_own_file_system(tmp_path: Path) -> None:
    """Two regions, as two directories, neither of which has the other's bucket."""
    regions = {"hot": tmp_path / "us-east-1", "cold": tmp_path / "eu-west-1"}
    for bucket, region in regions.items():
        (region / bucket).mkdir(parents=True)
        pyarrow.parquet.write_table(pa.table({"lies_in": [bucket]}), region / bucket / "file.parquet")

    def of_bucket(bucket: str) -> pyarrow.fs.FileSystem:
        return pyarrow.fs.SubTreeFileSystem(str(regions[bucket]), pyarrow.fs.LocalFileSystem())

    with duckdb.connect() as connection:
        connection.register_filesystem(RemoteFiles(Buckets(of_bucket)))
        rows = connection.execute(
            "SELECT lies_in FROM read_parquet(['s3://hot/file.parquet', 's3://cold/file.parquet']) ORDER BY ALL"
        ).fetchall()
        # DuckDB looks around in the directory where a file is missing.
        with pytest.raises(duckdb.IOException, match="No files found"):
            connection.execute("SELECT * FROM read_parquet(['s3://hot/file.parquet', 's3://cold/gone.parquet'])")

    assert rows == [("cold",), ("hot",)]


def test_a_table_whose_files_lie_here_and_on_s3_is_read_wherever_the_first_lies(
    lake_warehouse: Warehouse, tmp_path: Path
) -> None:
    """An archive that was on this machine, and that PERENNIAL_ARCHIVE_URI has moved."""
    append_hot(lake_warehouse, [interaction("a", 1)])
    table = lake_warehouse.table("interactions")
    (there,) = lake_warehouse.live_files(table)
    path = tmp_path / "here.parquet"
    path.write_bytes(storage_for(there.uri).read(there.uri))
    here = LiveFile(relocated(there.data_file, f"file://{path}"))

    for files in ([here, there], [there, here]):
        with open_connection() as connection:
            create_view(connection, "mixed", files, table)
            assert connection.execute("SELECT event_id FROM mixed").fetchall() == [("a#1",)] * 2
