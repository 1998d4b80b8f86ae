"""Checks that need a whole table: duplicate keys, and tags and steps of unknown sources."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from perennial.platform.columns import PRIMARY_KEYS, TABLES_OF_SOURCES, value_example, value_remedy
from perennial.platform.issues import EXAMPLES, Issue
from perennial.statements import statement
from perennial.tables import SOURCES

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_MEMORY_LIMIT = "256MB"


class KeyLedger:
    """The keys one sync has read, in a scratch database on disk.

    DuckDB groups them and spills to disk, so memory is bounded for any number of users, and nothing depends on the
    order in which an edited SELECT returns its rows, nor on the database's collation.
    """

    def __enter__(self) -> KeyLedger:
        import duckdb

        self._directory = tempfile.TemporaryDirectory(prefix="perennial-sync-")
        path = Path(self._directory.name) / "keys.duckdb"
        self._connection: duckdb.DuckDBPyConnection = duckdb.connect(path, config={"memory_limit": _MEMORY_LIMIT})
        self._connection.execute(statement("sync/create_platform_keys"))
        self._checked: set[str] = set()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._directory.cleanup()

    def add(self, table: str, batch: pa.RecordBatch) -> None:
        """Store the keys of one batch."""
        import pyarrow as pa

        names = PRIMARY_KEYS[table]
        for name in names:  # A refused key is null, and does not count as a key.
            batch = batch.filter(batch[name].is_valid())
        absent = pa.nulls(batch.num_rows, pa.large_string())
        columns = {f"key_{place + 1}": batch[name] for place, name in enumerate(names)}
        columns |= {f"key_{place + 1}": absent for place in range(len(names), 3)}
        columns["source_id"] = batch["source_id"] if table in TABLES_OF_SOURCES else absent
        self._connection.register("batch_keys", pa.table(columns))
        self._connection.execute(statement("sync/insert_platform_keys"), {"table_name": table})
        self._connection.unregister("batch_keys")

    def issues(self, table: str, place: str) -> Iterator[Issue]:
        """Check a complete table, `sources` first: duplicate keys, unknown sources.

        Args:
            table: Name of the table.
            place: Where its SELECT is, as written in a sentence.
        """
        binds = {"table_name": table, "example_count": EXAMPLES}
        if found := self._connection.execute(statement("sync/find_duplicate_keys"), binds).fetchall():
            problem = "it must be unique"
            examples = tuple(
                f"Platform table {table}, row {_row_name(table, row)}: this id comes {row[3]:,} times; {problem}"
                for row in found
            )
            remedy = f"Correct the platform, or {place}."
            yield Issue("refused", table, problem, examples, remedy, row_count=found[0][4])
        if table in TABLES_OF_SOURCES and SOURCES.name in self._checked:
            yield from self._unknown_sources(table, place, binds)
        self._checked.add(table)

    def _unknown_sources(self, table: str, place: str, binds: dict[str, Any]) -> Iterator[Issue]:
        if found := self._connection.execute(statement("sync/find_unknown_sources"), binds).fetchall():
            problem = "the platform's table sources has no such source"
            examples = tuple(value_example(table, _row_name(table, row), "source_id", row[3], problem) for row in found)
            remedy = value_remedy(place)
            yield Issue("refused", table, problem, examples, remedy, "source_id", row_count=found[0][4])


def _row_name(table: str, found: tuple[Any, ...]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in zip(PRIMARY_KEYS[table], found, strict=False))
