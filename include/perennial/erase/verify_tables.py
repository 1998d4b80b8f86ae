"""Looks for rows of erased users wherever a table's files lie: listed, in earlier snapshots, or left behind (R22)."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from perennial.engines.documents import NoColumnError, UnreadableError, divide_rows, show_file
from perennial.engines.duckdb import local_path, open_connection
from perennial.erase.digests import digested_files
from perennial.erase.locate import LocatedRows, locate_rows
from perennial.erase.tables import FACT_TABLES, conditions
from perennial.maintenance.operations import list_operations
from perennial.maintenance.purge import UNFINISHED, owned_names
from perennial.moves.move_plan import file_name
from perennial.moves.rewrite import Condition, fingerprint
from perennial.moves.thaw import find_cold
from perennial.storage import StoredFile, storage_for
from perennial.warehouse import Warehouse
from perennial.warehouse.history import directories, earlier_files, neighbours, reachable_files

if TYPE_CHECKING:
    from pyiceberg.table import Table


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Remaining:
    """A file that holds, or may hold, rows of erased users.

    Attributes:
        table: The table that it belongs to.
        uri: Its address.
        row_count: Their rows; None if it cannot be read.
        why: Why it is there: what refers to it.
    """

    table: str
    uri: str
    row_count: int | None
    why: str

    def __str__(self) -> str:
        rows = "may hold rows" if self.row_count is None else f"holds {self.row_count:,} rows"
        return f"{self.uri} of {self.table} {rows} of these users: {self.why}."


def verify_tables(
    warehouse: Warehouse, user_ids: Collection[str], rejected: Condition | None = None
) -> list[Remaining]:
    """Read every file that could hold a row of some users, whether a table lists it or not; nothing is changed.

    Args:
        warehouse: Where.
        user_ids: The users.
        rejected: As in `locate_rows`.

    Returns:
        The files that hold or may hold some; empty if they are gone from all tables and from storage.

    Raises:
        TransientError: A file vanished while it was read.
    """
    wanted = conditions(user_ids, rejected)
    if not wanted:
        return []
    listed = _listed(locate_rows(warehouse, user_ids, rejected))
    return [*listed, *earlier_rows(warehouse, wanted), *stray_rows(warehouse, wanted, stray_files(warehouse, wanted))]


def _listed(located: LocatedRows) -> Iterator[Remaining]:
    for file in located.files:
        yield Remaining(file.table, file.uri, file.row_count, "the table lists it")
    for file in located.cold:
        yield Remaining(file.table, file.uri, None, "it is cold, and has to be thawed before it can be read")


def earlier_rows(warehouse: Warehouse, wanted: Mapping[str, Condition]) -> list[Remaining]:
    """Find files that earlier snapshots still list, and that hold such rows."""
    found = []
    for name, condition in wanted.items():
        table = warehouse.table(name)
        files = {uri: ids for uri, ids in earlier_files(table).items() if uri.endswith(".parquet")}
        for uri, rows in count_rows(warehouse, table, condition, files):
            found.append(Remaining(name, uri, rows, _holders(table, files[uri])))
    return found


def _holders(table: Table, snapshot_ids: Collection[int]) -> str:
    refs = {ref.snapshot_id: f"{ref.snapshot_ref_type} {name}" for name, ref in table.metadata.refs.items()}
    named = [refs.get(snapshot_id, "") for snapshot_id in snapshot_ids]
    held = next(filter(None, named), "")
    return f"snapshot {min(snapshot_ids)} lists it" + (f", which {held} keeps" if held else "")


@dataclass(frozen=True)
class StrayFile:
    """A Parquet file beside a table's that no snapshot of any table refers to."""

    table: str
    stored: StoredFile

    @property
    def is_unfinished(self) -> bool:
        """Whether its writer has died or is still writing it."""
        return UNFINISHED.search(self.stored.uri) is not None


def stray_files(warehouse: Warehouse, names: Collection[str]) -> list[StrayFile]:
    """List the Parquet files in the directories of some tables that no snapshot refers to, as far as they are ours."""
    tables = {name: warehouse.table(name) for name in names}
    found: dict[str, StrayFile] = {}
    shared: set[str] = set()
    for name, table in tables.items():
        for directory in directories(table):
            for stored in storage_for(directory.uri).list_files(directory.uri):
                if stored.uri.endswith(".parquet") or UNFINISHED.search(stored.uri):
                    # Not by name: the files of one load have the same in every table.
                    found[local_path(stored.uri)] = StrayFile(name, stored)
                    shared |= set() if directory.exclusive else {local_path(stored.uri)}
    # After the listing: what enters a table meanwhile is not on it, or shows here.
    for uri in chain.from_iterable(map(reachable_files, [*map(warehouse.table, names), *neighbours(warehouse)])):
        found.pop(local_path(uri), None)
    foreign = {file_name(path) for path in shared & found.keys() if not found[path].is_unfinished}
    foreign -= owned_names(warehouse, list_operations(warehouse), foreign)
    return [stray for path, stray in found.items() if path not in shared or file_name(path) not in foreign]


def stray_rows(warehouse: Warehouse, wanted: Mapping[str, Condition], strays: Collection[StrayFile]) -> list[Remaining]:
    """Find the stray files that hold such rows, or cannot be read, as long as nobody has deleted them meanwhile."""
    found = []
    for name, condition in wanted.items():
        uris = [stray.stored.uri for stray in strays if stray.table == name]
        for uri, rows in count_rows(warehouse, warehouse.table(name), condition, uris):
            if storage_for(uri).stat(uri) is not None:
                found.append(Remaining(name, uri, rows, "no table lists it"))
    return found


def count_rows(
    warehouse: Warehouse, table: Table, condition: Condition, uris: Collection[str]
) -> Iterator[tuple[str, int | None]]:
    """Count the rows that fulfil a condition in files as they lie in storage.

    Yields:
        Address and number of each file that has any; the number is None if the file cannot be read.
    """
    if not uris:
        return
    cold = find_cold(warehouse, uris)
    with open_connection() as connection:
        meant = condition(connection)
        digests = digested_files(connection, warehouse) if table.name()[-1] in FACT_TABLES else (set(), set())
        without = digests[0] - digests[1]
        for uri in uris:
            if uri in without:
                continue
            rows: int | None = None
            try:
                if uri not in cold:
                    show_file(connection, "searched", uri, table)
                    divide_rows(connection, "searched", meant, "found", "others")
                    rows, _ = fingerprint(connection, "found")
            except NoColumnError:
                # Another engine's delete file, say.
                rows = 0
            except UnreadableError as error:
                log.info("%s cannot be read: %s", uri, error)
            if rows != 0:
                yield uri, rows
