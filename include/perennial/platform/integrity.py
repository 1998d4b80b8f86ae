"""Checks that need a whole table: keys that come twice, tags and steps of sources that are not there."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from perennial.errors import TerminalMetadataError
from perennial.platform.columns import PRIMARY_KEYS, refused_value
from perennial.sql import statement
from perennial.tables import CANVAS_STEPS, SOURCE_TAGS, SOURCE_VARIANTS

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_TABLES_OF_SOURCES = {SOURCE_TAGS.name, SOURCE_VARIANTS.name, CANVAS_STEPS.name}
_MEMORY_LIMIT = "256MB"


class KeyLedger:
    """The keys one sync has read, in a scratch database on disk.

    DuckDB groups them and spills, so memory is flat for any number of users and nothing depends on the order in which
    an edited SELECT returns its rows, nor on the database's collation.
    """

    def __enter__(self) -> KeyLedger:
        import duckdb

        self._directory = tempfile.TemporaryDirectory(prefix="perennial-sync-")
        path = Path(self._directory.name) / "keys.duckdb"
        self._connection: duckdb.DuckDBPyConnection = duckdb.connect(path, config={"memory_limit": _MEMORY_LIMIT})
        self._connection.execute(statement("sync/create_platform_keys"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._directory.cleanup()

    def add(self, table: str, batch: pa.RecordBatch) -> None:
        """Remember the keys of one batch."""
        import pyarrow as pa

        absent = pa.nulls(batch.num_rows, pa.large_string())
        names = PRIMARY_KEYS[table]
        columns = {f"key_{place + 1}": batch[name] for place, name in enumerate(names)}
        columns |= {f"key_{place + 1}": absent for place in range(len(names), 3)}
        columns["source_id"] = batch["source_id"] if table in _TABLES_OF_SOURCES else absent
        self._connection.register("batch_keys", pa.table(columns))
        self._connection.execute(statement("sync/insert_platform_keys"), {"table_name": table})
        self._connection.unregister("batch_keys")

    def refuse_broken(self, table: str) -> None:
        """Check a table whose rows are all in, after `sources`.

        Raises:
            TerminalMetadataError: A key comes twice, or a row belongs to a source that is not there.
        """
        if found := self._connection.execute(statement("sync/find_duplicate_keys"), {"table_name": table}).fetchone():
            raise TerminalMetadataError(
                f"Platform table {table}, row {_row_name(table, found)}: this id comes {found[3]} times; it must be "
                f"unique. Correct the platform, or include/sql/platform/select_{table}.sql. "
                "The previous metadata stays in place."
            )
        if found := self._connection.execute(statement("sync/find_unknown_sources"), {"table_name": table}).fetchone():
            problem = "the platform's table sources has no such source"
            raise refused_value(table, _row_name(table, found), "source_id", found[3], problem)


def _row_name(table: str, found: tuple[str, ...]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in zip(PRIMARY_KEYS[table], found, strict=False))
