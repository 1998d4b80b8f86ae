"""Landing files: found by the loader's own reader, rewritten without the people's records, not loaded again (R22)."""

from __future__ import annotations

import logging
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from perennial.currents.fields import is_damage
from perennial.currents.landing import (
    AVRO_ENDINGS,
    JSON_ENDINGS,
    LandingFile,
    is_landed,
    landing_place,
    read_landing_file,
    select_new,
)
from perennial.currents.load import load_interactions, quality_gate
from perennial.currents.rewrite import DamagedFileError, copy_without, read_texts
from perennial.engines.duckdb import open_connection, open_session
from perennial.erase.files import FoundFile, LeftFile, kept, replaced
from perennial.erase.people import People
from perennial.errors import TerminalDataError
from perennial.moves.rewrite import fingerprint
from perennial.operations import wall_clock
from perennial.statements import statement
from perennial.storage import StoredFile, storage_for
from perennial.tables import LOADED_FILES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)

PLACE = "landing files"
# Says that the profile of its user was merged into that of another one, whom it names in a field of its own.
ORPHANS = "users.UserOrphan"
# Files that are replaced with two commits.
_FILES_AT_ONCE = 50
_READ_BYTES, _WORD_CHARACTERS = 16 << 20, 1_000


@dataclass(frozen=True)
class _Search:
    """What was found in one file.

    Attributes:
        stored: The file.
        lines: The people's records, as the loader numbers them.
        problem: Why the file cannot be read in full, or cannot be rewritten; empty if it can.
    """

    stored: StoredFile
    lines: tuple[int, ...]
    problem: str = ""


def locate(warehouse: Warehouse, people: People) -> list[FoundFile]:
    """Find the landing files with records of some people."""
    found = (_found(search) for search in _searched(warehouse, people))
    return [one for one in found if one.count]


def _found(search: _Search) -> FoundFile:
    return FoundFile(PLACE, search.stored.uri, len(search.lines))


def erase(warehouse: Warehouse, people: People) -> list[LeftFile]:
    """Rewrite landing files without the records of some people; returns those that had to stay as they are.

    What is not loaded yet is loaded first, so that nobody else's record depends on the rewritten file.
    """
    _confirm(warehouse)
    found = [search for search in _searched(warehouse, people) if search.lines]
    if _unloaded(warehouse, found):
        load_interactions(warehouse, wall_clock(), check=quality_gate(warehouse))
    waiting = _unloaded(warehouse, found)
    left = [LeftFile(PLACE, uri, "it is not loaded yet; load_interactions has to load it first") for uri in waiting]
    left += kept(_left(search) for search in found if search.problem)
    ready = [search for search in found if search.stored.uri not in waiting and not search.problem]
    for start in range(0, len(ready), _FILES_AT_ONCE):
        left += _rewrite(warehouse, ready[start : start + _FILES_AT_ONCE])
    return left


def remaining(warehouse: Warehouse, people: People) -> list[LeftFile]:
    """Read every landing file, and return those that hold, or may hold, records of some people."""
    return kept(map(_left, _searched(warehouse, people)))


def _left(search: _Search) -> LeftFile | None:
    uri = search.stored.uri
    if search.lines:
        return LeftFile(PLACE, uri, search.problem or "it holds records of these people")
    if search.problem:
        why = (
            f"{search.problem}; whether it holds records of these people is not known, so delete it if nobody needs it"
        )
        return LeftFile(PLACE, uri, why, is_final=True)
    return None


# --- reading ---------------------------------------------------------------------------------------------------------


def _searched(warehouse: Warehouse, people: People) -> Iterator[_Search]:
    """Search every file of the landing place, whatever its name."""
    if not people:
        return
    with _known_people(people) as connection:
        for prefix in _places(warehouse):
            for stored in storage_for(prefix).list_files(prefix):
                try:
                    yield _search(connection, stored, people)
                except FileNotFoundError:
                    log.info("%s has vanished", stored.uri)


def _places(warehouse: Warehouse) -> list[str]:
    settings = warehouse.settings
    # The sample's platform delivers in two chapters; the second one waits here.
    waiting = [f"file://{settings.below_home('demo/waiting')}"] if settings.home is not None else []
    return [landing_place(settings), *waiting] if settings.landing_uri is not None else waiting


@contextmanager
def _known_people(people: People) -> Iterator[DuckDBPyConnection]:
    import pyarrow as pa

    users, external = sorted(people.user_ids), sorted(people.external_user_ids)
    columns = {
        "user_id": pa.array(users + [None] * len(external), pa.string()),
        "external_user_id": pa.array([None] * len(users) + external, pa.string()),
    }
    with open_connection() as connection:
        connection.register("erased_people", pa.table(columns))
        yield connection


def _search(connection: DuckDBPyConnection, stored: StoredFile, people: People) -> _Search:
    if not is_landed(stored.uri):
        return _search_words(stored, people, "it is still being written, or its writer has died")
    lines: list[int] = []
    event_types: set[str] = set()
    problem = ""
    for part in read_landing_file(LandingFile(stored, known_before=False), decode=True):
        rows = part.rows
        if rows is None:
            continue
        if "event_type" in rows.column_names:
            event_types |= set(rows.column("event_type").unique().to_pylist())
        if {"user_id", "external_user_id"} & set(rows.column_names):
            for name in {"user_id", "external_user_id"} - set(rows.column_names):
                rows = rows.append_column(name, [[None] * rows.num_rows])
            connection.register("part", rows)
            lines += [line for (line,) in connection.execute(statement("erase/list_named_records")).fetchall()]
            connection.unregister("part")
        if "reason" in rows.column_names:
            for row in rows.select(["line", "reason", "payload"]).to_pylist():
                if row["reason"] and people.are_named(row["payload"] or ""):
                    lines.append(row["line"])
                if row["reason"] and is_damage(row["reason"]):
                    problem = row["reason"]
    if ORPHANS in (LandingFile(stored, known_before=False).event_type, *event_types):
        try:
            lines += [number for number, text in read_texts(stored.uri) if people.are_named(text)]
        except DamagedFileError as error:
            problem = problem or str(error)
    if not stored.uri.lower().endswith((*AVRO_ENDINGS, *JSON_ENDINGS)):
        return _search_words(stored, people, "its format is unknown")
    return _Search(stored, tuple(dict.fromkeys(lines)), problem)


def _search_words(stored: StoredFile, people: People, problem: str) -> _Search:
    """Search a file of another kind for whole words."""
    with storage_for(stored.uri).open(stored.uri) as file:
        end = ""
        while piece := file.read(_READ_BYTES):
            text = end + piece.decode("utf-8", "replace")
            if people.are_in(text):
                return _Search(stored, (0,), problem)
            # A word may go on in the next piece.
            end = text[-_WORD_CHARACTERS:]
    return _Search(stored, ())


# --- rewriting -------------------------------------------------------------------------------------------------------


def _unloaded(warehouse: Warehouse, found: Iterable[_Search]) -> set[str]:
    """Return the files that a load has still to read as they are now."""
    landed, *_ = _places(warehouse)
    stored = [one.stored for one in found if one.stored.uri.startswith(f"{landed}/") and is_landed(one.stored.uri)]
    return {file.uri for file in select_new(warehouse, stored)} if stored else set()


def _rewrite(warehouse: Warehouse, found: Iterable[_Search]) -> list[LeftFile]:
    """Replace files; each is announced before, and confirmed afterwards, so that no load reads it again."""
    left: list[LeftFile | None] = []
    copies: dict[str, Path] = {}
    with tempfile.TemporaryDirectory(prefix="perennial-erase-") as folder:
        for number, search in enumerate(found):
            uri, path = search.stored.uri, Path(folder, f"{number}-{search.stored.uri.rpartition('/')[2]}")
            try:
                copy_without(uri, search.lines, path)
            except DamagedFileError as error:
                left.append(LeftFile(PLACE, uri, f"it is damaged and has to be deleted or delivered anew: {error}"))
                continue
            _refuse_other_records(search, path)
            copies[uri] = path
        _announce(warehouse, copies)
        left += [replaced(uri, PLACE, path) for uri, path in copies.items()]
    _confirm(warehouse)
    return kept(left)


def _refuse_other_records(search: _Search, path: Path) -> None:
    """Compare a copy with its original: every other record has to be there, once, as it was.

    Raises:
        TerminalDataError: One is not; the original stays in place.
    """
    import pyarrow as pa

    copy = replace(search.stored, uri=str(path))
    with open_connection() as connection:
        connection.execute(statement("load/create_records"))
        for file_no, stored in enumerate((search.stored, copy)):
            for part in read_landing_file(LandingFile(stored, known_before=False), decode=True):
                # The copy has no record at all if each of them was the people's.
                if part.rows is None:
                    continue
                connection.register("part", part.rows)
                connection.execute(statement("load/insert_records"), {"file_no": file_no})
                connection.unregister("part")
        connection.register("left_out", pa.table({"line": pa.array(search.lines, pa.int64())}))
        connection.execute("DELETE FROM records WHERE file_no = 0 AND line IN (FROM left_out)")
        # The number of a record of an Avro file changes with those before it.
        for view, file_no in (("original", 0), ("copy", 1)):
            connection.execute(
                f"CREATE VIEW {view} AS SELECT * EXCLUDE (file_no, line) FROM records WHERE file_no = {file_no}"  # noqa: S608 - both are written here
            )
        prints = [fingerprint(connection, view) for view in ("original", "copy")]
    if prints[0] != prints[1]:
        raise TerminalDataError(
            f"A copy of {search.stored.uri} without {len(search.lines)} of its records does not hold the others as "
            "they are; the file stays as it is. Report this, and keep the file."
        )


def _announce(warehouse: Warehouse, copies: Mapping[str, Path]) -> None:
    rows = [_row(uri, path.stat().st_size, f"erasure:{uuid.uuid4().hex}") for uri, path in copies.items()]
    if rows:
        warehouse.append_rows(LOADED_FILES.name, rows, f"erasure:announce:{uuid.uuid4().hex}")


def _confirm(warehouse: Warehouse) -> None:
    """Note when the announced files were replaced; one that is not there in its new size was not."""
    with open_session(warehouse, [LOADED_FILES.name]) as session:
        announced = session.execute(statement("erase/list_unconfirmed_files")).fetchall()
    rows = []
    for uri, file_bytes, load_id in announced:
        stored = storage_for(uri).stat(uri)
        if stored is not None and stored.file_bytes == file_bytes:
            rows.append(_row(uri, file_bytes, load_id) | {"modified_at": stored.modified_at})
    if rows:
        warehouse.append_rows(LOADED_FILES.name, rows, f"erasure:confirm:{uuid.uuid4().hex}")


def _row(uri: str, file_bytes: int, load_id: str) -> dict[str, object]:
    counts = dict.fromkeys(("row_count", "rejected_count", "ignored_count", "duplicate_count", "erased_count"), 0)
    return {"file_uri": uri, "loaded_at": wall_clock(), "file_bytes": file_bytes, "load_id": load_id, **counts}
