"""Who is erased, so that what arrives for them later is not stored (R22): known by hashes, looked up in DuckDB."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from perennial.erasures.hashes import erasure_key, hash_binds, hash_external_user_id, hash_user_id, mark_of
from perennial.erasures.payloads import named_in
from perennial.errors import TerminalSettingError
from perennial.operations import wall_clock
from perennial.settings import PREFIX
from perennial.statements import statement
from perennial.tables import ERASURES
from perennial.text import pluralize

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection
    from pyiceberg.table import Table

    from perennial.warehouse import Warehouse


@dataclass(frozen=True)
class Suppressed:
    """The people whose erasure was approved, less those who have come back; false where there is nobody.

    Attributes:
        hashes: Their keyed hashes.
        key: The key of the hashes.
    """

    hashes: tuple[str, ...] = ()
    key: bytes = field(default=b"", repr=False)

    def __bool__(self) -> bool:
        return bool(self.hashes)

    def show(self, connection: DuckDBPyConnection, relation: str) -> None:
        """Create table `suppressed_users`: each suppressed `user_id` and `external_user_id` of a relation, once.

        Args:
            connection: Where.
            relation: Name, from code, of what has these two columns.
        """
        import pyarrow as pa

        connection.register("suppressed_hashes", pa.table({"user_id_hash": pa.array(self.hashes, pa.string())}))
        ids = "user_id, external_user_id"
        connection.execute(f"CREATE OR REPLACE TEMP VIEW arrived_users AS SELECT {ids} FROM {relation}")  # noqa: S608 - from code
        binds = hash_binds(self.key) if self else {"inner_pad": b"", "outer_pad": b""}
        connection.execute(statement("erasures/create_suppressed_users"), binds)
        connection.execute("DROP VIEW arrived_users")
        connection.unregister("suppressed_hashes")

    def is_named(self, payload: str) -> bool:
        """Whether the text of a record that has no readable user id names one of them."""
        named = named_in(payload)
        known = frozenset(self.hashes)
        return not known.isdisjoint(hash_user_id(self.key, user_id) for user_id in named.user_ids | named.words) or (
            not known.isdisjoint(hash_external_user_id(self.key, one) for one in named.external_user_ids | named.words)
        )

    def without(self, rows: pa.Table) -> pa.Table:
        """Return the rows of an Arrow table of users that are nobody's who is suppressed, in order."""
        from perennial.engines.duckdb import open_connection

        if not self or not rows.num_rows:
            return rows
        with open_connection() as connection:
            connection.register("arrived_rows", rows)
            self.show(connection, "arrived_rows")
            found = connection.table("suppressed_users").to_arrow_table()
        for name in ("user_id", "external_user_id"):
            rows = _without(rows, name, found.column(name).drop_null())
        return rows


def _without(rows: pa.Table, column: str, ids: pa.ChunkedArray) -> pa.Table:
    import pyarrow.compute as pc

    return rows.filter(pc.invert(pc.is_in(rows.column(column), value_set=ids.combine_chunks()))) if len(ids) else rows


def suppressed(warehouse: Warehouse) -> Suppressed:
    """Return the people whose records are no longer stored.

    Where nobody was ever erased, no key is needed.

    Raises:
        TerminalSettingError: They are known by hashes of another key than the one that is set.
    """
    table = warehouse.table(ERASURES.name)
    found = _suppressed_in(warehouse, table) if table.current_snapshot() is not None else []
    if not found:
        return Suppressed()
    key = erasure_key(warehouse.settings)
    if others := [found_hash for found_hash, mark, *_ in found if mark != mark_of(key)]:
        raise TerminalSettingError(
            f"{pluralize(len(others), 'person was', 'people were')} erased with another key than {PREFIX}ERASURE_KEY "
            "has now, so what arrives for them would be stored again. Set it to the former key; if that is lost, run "
            "`perennial erase --forget-lost-key`, which lets them be stored again."
        )
    return Suppressed(tuple(found_hash for found_hash, *_ in found), key)


def forget_suppression(
    warehouse: Warehouse, user_ids: Iterable[str], requested_by: str, external_user_ids: Iterable[str] = ()
) -> int:
    """Store again what arrives for people who have come back under the ids that were erased.

    Returns:
        How many of the ids were suppressed until now.
    """
    key = erasure_key(warehouse.settings)
    wanted = {hash_user_id(key, user_id) for user_id in user_ids}
    wanted |= {hash_external_user_id(key, user_id) for user_id in external_user_ids}
    return _forget(warehouse, requested_by, "{}", lambda found_hash, _: found_hash in wanted)


def forget_lost_key(warehouse: Warehouse, requested_by: str) -> int:
    """Store again what arrives for everybody who was erased with another key than the present one.

    Returns:
        How many people that were.
    """
    present = mark_of(erasure_key(warehouse.settings))
    # Nothing can be recorded of these hashes any more, so no request waits for them.
    return _forget(warehouse, requested_by, '{"lost_key": true}', lambda _, mark: mark != present)


def _forget(warehouse: Warehouse, requested_by: str, detail: str, is_wanted: Callable[[str, str], bool]) -> int:
    forgotten: list[dict[str, object]] = []

    def decide(table: Table) -> list[dict[str, object]]:
        forgotten[:] = [
            {
                "request_id": request_id,
                "user_id_hash": found_hash,
                "event": "forgotten",
                "at": wall_clock(),
                "requested_by": requested_by,
                "due_at": due_at,
                "detail": detail,
            }
            for found_hash, mark, request_id, due_at in _suppressed_in(warehouse, table)
            if is_wanted(found_hash, mark)
        ]
        return forgotten

    warehouse.append_decided(ERASURES.name, decide, f"erasure:forgotten:{uuid.uuid4().hex}")
    return len(forgotten)


def _suppressed_in(warehouse: Warehouse, table: Table) -> list[tuple[str, str, str, datetime]]:
    """Read from the loaded table: hash, mark of the key, request and its deadline of everybody who is suppressed."""
    from perennial.engines.duckdb import create_view, open_connection

    with open_connection() as connection:
        create_view(connection, ERASURES.name, list(warehouse.live_files(table)), table)
        return connection.execute(statement("erasures/select_suppressed")).fetchall()
