"""Finds the data files that hold rows of some users: one pass for all users, over the column `user_id` alone (R22)."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perennial.engines.documents import UnreadableError, divide_rows
from perennial.engines.duckdb import create_view, local_path, open_connection
from perennial.erase.digests import add_digests, digested_files, originals_of
from perennial.erase.tables import FACT_TABLES, USER_TABLES, conditions
from perennial.errors import TransientError
from perennial.moves.rewrite import Condition
from perennial.moves.thaw import Files, find_cold
from perennial.statements import statement
from perennial.tables import INTERACTIONS_ARCHIVE
from perennial.text import pluralize
from perennial.warehouse import LiveFile, Warehouse

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

# What one statement reads: the different users of each file are in memory.
_FILES_AT_ONCE, _ROWS_AT_ONCE = 200, 1_000_000


@dataclass(frozen=True)
class LocatedFile:
    """A data file with rows of the users, or one that may have some and is too cold to be read.

    Attributes:
        table: The table that lists it.
        uri: Its address.
        source_id: Its source; empty in tables that are not partitioned by source.
        file_bytes: Its size.
        row_count: Rows of the users, also those that another engine's deletes hide; 0 in a cold file.
    """

    table: str
    uri: str
    source_id: str
    file_bytes: int
    row_count: int


@dataclass(frozen=True)
class LocatedRows:
    """Where the rows of some users are.

    Attributes:
        files: The files that hold them.
        cold: Files of the archive that may hold some, and have to be thawed before that is known.
        by_user: Their rows by user and table; users without any are left out, and so is `rejected_events`.
        cold_users: Those of whom the cold files may have some.
    """

    files: tuple[LocatedFile, ...] = ()
    cold: tuple[LocatedFile, ...] = ()
    by_user: Mapping[str, Mapping[str, int]] | None = None
    cold_users: frozenset[str] = frozenset()

    @property
    def rows(self) -> dict[str, int]:
        """Rows by table."""
        counts: Counter[str] = Counter()
        for file in self.files:
            counts[file.table] += file.row_count
        return dict(counts)

    @property
    def cold_files(self) -> Files:
        """What `moves.thaw.thaw_files` takes: source and size of each cold file, by address."""
        return {file.uri: (file.source_id, file.file_bytes) for file in self.cold}


def locate_rows(warehouse: Warehouse, user_ids: Collection[str], rejected: Condition | None = None) -> LocatedRows:
    """Find the files that hold rows of some users, in all tables that may have any.

    Args:
        warehouse: Where.
        user_ids: The users.
        rejected: Which rows of `rejected_events` are theirs; None to leave that table out.

    Raises:
        TerminalDataError: A file is of a kind that cannot be read; its table, its address and a remedy are named.
        TransientError: A file vanished while it was read.
    """
    found: list[LocatedFile] = []
    cold: list[LocatedFile] = []
    by_user: dict[str, Counter[str]] = {}
    cold_users: frozenset[str] = frozenset()
    for name, condition in conditions(user_ids, rejected).items():
        table = warehouse.table(name)
        with open_connection() as connection:
            search = _Search(warehouse, table, connection, condition(connection))
            files, frozen = search.divided()
            cold += [_located(name, live, 0) for live in frozen.values()]
            cold_users |= search.users_of(frozen) if frozen else frozenset()
            counts: Counter[str] = Counter()
            for uri, user_id, rows in search.rows(files.values()):
                counts[uri] += rows
                if user_id is not None:
                    by_user.setdefault(user_id, Counter())[name] += rows
            found += [_located(name, files[uri], rows) for uri, rows in counts.items()]
    counted = pluralize(len(found), "file"), pluralize(len(by_user), "user")
    log.info("erase: %s with rows of %s, and %d cold ones", *counted, len(cold))
    return LocatedRows(tuple(found), tuple(cold), by_user, cold_users)


def digest_new_files(warehouse: Warehouse) -> None:
    """Make a digest of each file that has none and can be read: once it is cold in the archive, it cannot.

    Raises:
        TransientError: A file vanished while it was read.
    """
    nobody = conditions([uuid.uuid4().hex], None)
    for name in FACT_TABLES:
        table = warehouse.table(name)
        with open_connection() as connection:
            search = _Search(warehouse, table, connection, nobody[name](connection))
            files, _ = search.divided()
            for _ in search.rows(files.values()):
                pass
            log.info("%s: %s had no digest", name, pluralize(len(files), "readable file"))


def _located(name: str, live: LiveFile, rows: int) -> LocatedFile:
    source_id = live.source_id if name in FACT_TABLES and not live.is_mixed else ""
    return LocatedFile(name, live.uri, source_id, live.file_bytes, rows)


@dataclass(frozen=True)
class _Search:
    """A search for rows in the data files of one table."""

    warehouse: Warehouse
    table: Table
    connection: DuckDBPyConnection
    condition: str
    undigested: set[str] = field(default_factory=set)
    made_of: dict[str, list[str]] = field(default_factory=dict)

    def divided(self) -> tuple[dict[str, LiveFile], dict[str, LiveFile]]:
        """Return the files that may have such rows: those that can be read, and those that are cold."""
        name = self.table.name()[-1]
        files = {live.uri: live for live in self.warehouse.live_files(self.table)}
        if name in FACT_TABLES:
            files = self._narrowed(files)
        cold = find_cold(self.warehouse, files) if name == INTERACTIONS_ARCHIVE.name else {}
        readable = {uri: live for uri, live in files.items() if uri not in cold}
        return readable, {uri: files[uri] for uri in cold}

    def _narrowed(self, files: Mapping[str, LiveFile]) -> dict[str, LiveFile]:
        """Leave out files that have no such row, by their own digests or by those of the files they are copies of."""
        digested, matching = digested_files(self.connection, self.warehouse)
        is_archive = self.table.name()[-1] == INTERACTIONS_ARCHIVE.name
        originals = originals_of(self.warehouse, [uri for uri in files if is_archive and uri not in digested])
        chosen = {}
        for uri, live in files.items():
            made_of = [uri] if uri in digested else originals.get(uri, [])
            known = bool(made_of) and digested.issuperset(made_of)
            if known:
                self.made_of[uri] = made_of
            else:
                self.undigested.add(uri)
            if not known or not matching.isdisjoint(made_of):
                chosen[uri] = live
        return chosen

    def users_of(self, uris: Collection[str]) -> frozenset[str]:
        """Return the users who may have rows in some of the files, by their digests; all users if a file has none."""
        digested = [original for uri in uris for original in self.made_of.get(uri, ())]
        binds = {"file_uris": digested, "any_user": not self.undigested.isdisjoint(uris)}
        found = self.connection.execute(statement("erase/list_matching_users"), binds).fetchall()
        return frozenset(user_id for (user_id,) in found)

    def rows(self, files: Iterable[LiveFile]) -> Iterator[tuple[str, str | None, int]]:
        """Count the rows by file and user, hidden ones included; files that lack a digest get one."""
        by_user = self.table.name()[-1] in USER_TABLES
        schema = self.table.schema().select("user_id") if by_user else self.table.schema()
        counting = statement("erase/count_user_rows") if by_user else statement("erase/count_rejected_rows")
        for some in _portions(files):
            uris = {local_path(live.uri): live.uri for live in some}
            fresh = {path: uri for path, uri in uris.items() if uri in self.undigested}
            # Rows that are deleted in another engine's delete files are still in the data files.
            whole = [LiveFile(live.data_file) for live in some]
            create_view(self.connection, "searched", whole, self.table, schema, with_file=True)
            try:
                divide_rows(self.connection, "searched", self.condition, "found", "others")
                found = self.connection.execute(counting).fetchall()
                if fresh:
                    add_digests(self.connection, self.warehouse, fresh)
            except UnreadableError as error:
                raise TransientError(
                    f"A file of {self.table.name()[-1]} cannot be read ({error}). Nothing was removed. Run again; if "
                    "that does not help, run `perennial check`."
                ) from error
            yield from ((uris[path], user_id, count) for path, user_id, count in found)


def _portions(files: Iterable[LiveFile]) -> Iterator[list[LiveFile]]:
    portion: list[LiveFile] = []
    rows = 0
    for live in files:
        if portion and (len(portion) == _FILES_AT_ONCE or rows + live.row_count > _ROWS_AT_ONCE):
            yield portion
            portion, rows = [], 0
        portion.append(live)
        rows += live.row_count
    if portion:
        yield portion
