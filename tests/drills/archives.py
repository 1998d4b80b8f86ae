"""An archive for drills, and what can be done to a file of it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from perennial.drills.check import check_chunk, plan_check, read_check
from perennial.moves import Run, expire_sources
from perennial.storage import storage_for
from perennial.tables import ARCHIVED_FILES, INTERACTIONS_ARCHIVE
from perennial.warehouse import FileChange, LiveFile, Warehouse
from perennial.warehouse.commits import commit_change
from perennial.warehouse.files import relocated
from tests.rows import append_hot, interaction
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
# Where a DataFile has these.
_ROWS, _BYTES = 4, 5


def archive_of(warehouse: Warehouse, *sources: str) -> Workspace:
    """Expire some sources with one file each; one more stays hot."""
    workspace = Workspace(warehouse)
    for source in sources:
        workspace.source(source, owner_email=f"{source}@example.com")
    workspace.source("running", "active")
    append_hot(warehouse, [interaction(source, number) for source in workspace.sources for number in range(30)])
    workspace.sync()
    expire_sources(warehouse, Run("expiry", NOW))
    return workspace


def three(warehouse: Warehouse) -> Workspace:
    return archive_of(warehouse, "a", "b", "it's/ü")


def archived(warehouse: Warehouse, source_id: str) -> LiveFile:
    (live,) = warehouse.live_files(warehouse.table(INTERACTIONS_ARCHIVE.name), [source_id])
    return live


def check(warehouse: Warehouse, run_id: str, sample_percent: float) -> list[dict[str, Any]]:
    """Check a sample, without a rehearsal; returns the recorded rows."""
    plan = plan_check(warehouse, sample_percent)
    for chunk in range(plan.chunk_count):
        check_chunk(warehouse, Run(run_id, NOW), read_check(plan.uri), chunk)
    return [row for row in warehouse.read("archive_checks").to_pylist() if row["run_id"] == run_id]


def delete(warehouse: Warehouse, live: LiveFile) -> None:
    storage_for(live.uri).delete(live.uri)


def flip_a_bit(warehouse: Warehouse, live: LiveFile) -> None:
    content = bytearray(storage_for(live.uri).read(live.uri))
    content[len(content) // 3] ^= 1
    storage_for(live.uri).write(live.uri, bytes(content))


def truncate(warehouse: Warehouse, live: LiveFile) -> None:
    storage_for(live.uri).write(live.uri, storage_for(live.uri).read(live.uri)[:-10])


def replace_by_other_rows(warehouse: Warehouse, live: LiveFile) -> None:
    """Put another valid file of the same source and the same size there: the manifest says its size, not its content."""
    other = _write(warehouse, live, lambda rows: rows.set_column(3, rows.field(3), pa.array(["x"] * rows.num_rows)))
    storage_for(live.uri).write(live.uri, storage_for(other).read(other))
    _list_instead(warehouse, live, live.uri)


def list_wrong_row_count(warehouse: Warehouse, live: LiveFile) -> None:
    _list_instead(warehouse, live, live.uri, {_ROWS: live.row_count + 1})


def record_wrong_row_count(warehouse: Warehouse, live: LiveFile) -> None:
    (row,) = [row for row in warehouse.read(ARCHIVED_FILES.name).to_pylist() if row["file_uri"] == live.uri]
    later = {"row_count": row["row_count"] + 1, "archived_at": datetime.now(UTC)}
    warehouse.append_rows(ARCHIVED_FILES.name, [row | later], f"test:{uuid.uuid4().hex}")


def list_for_another_source(warehouse: Warehouse, live: LiveFile) -> None:
    """A file of the archive that nothing is recorded of holds the rows of another source."""
    _forget(warehouse, live, lambda rows: rows.set_column(5, rows.field(5), pa.array(["other"] * rows.num_rows)))


def drop_a_column(warehouse: Warehouse, live: LiveFile) -> None:
    _forget(warehouse, live, lambda rows: rows.drop_columns(["link_alias"]))


def drop_a_required_column(warehouse: Warehouse, live: LiveFile) -> None:
    _forget(warehouse, live, lambda rows: rows.drop_columns(["user_id"]))


def cut_the_pages(warehouse: Warehouse, live: LiveFile) -> None:
    """Zeros where the values were, in a file that no checksum is recorded of."""
    uri = _forget(warehouse, live, lambda rows: rows)
    content = storage_for(uri).read(uri)
    storage_for(uri).write(uri, content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :])


def _forget(warehouse: Warehouse, live: LiveFile, changed: Callable[[pa.Table], pa.Table]) -> str:
    """List another file with other content in place of one, under a name that nothing is recorded of."""
    uri = _write(warehouse, live, changed)
    _list_instead(warehouse, live, uri)
    return uri


def _write(warehouse: Warehouse, live: LiveFile, changed: Callable[[pa.Table], pa.Table]) -> str:
    with storage_for(live.uri).open(live.uri) as file:
        rows = changed(pq.read_table(file))
    buffer = pa.BufferOutputStream()
    pq.write_table(rows, buffer, compression="zstd")
    uri = live.uri.rpartition("/")[0] + f"/{uuid.uuid4().hex}-0.parquet"
    storage_for(uri).write(uri, buffer.getvalue().to_pybytes())
    return uri


def _list_instead(warehouse: Warehouse, live: LiveFile, uri: str, fields: dict[int, Any] | None = None) -> None:
    stored = storage_for(uri).stat(uri)
    assert stored is not None
    listed = relocated(live.data_file, uri)
    for place, value in {_BYTES: stored.file_bytes, **(fields or {})}.items():
        listed[place] = value
    change = FileChange(add=[listed], remove=[live.data_file])
    commit_change(warehouse, INTERACTIONS_ARCHIVE.name, lambda _: change, f"test:{uuid.uuid4().hex}")
