"""Which users a data file of interactions may have rows of: one digest a file, made once, because files never change.

A digest is 32 bits of a hash of each user id in the file. It rules a file out without reading it, which is what counts
where the file is cold; what it does not rule out is read. A file without a digest, written by any program, is read once
and then has one. Digests are documents of many files each, below the operations directory. They may be deleted at any
time: what they said is then read again. A digest says the same of each copy of its file, so it outlives the file; but
where it names an erased user, it goes with it.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from perennial.engines.documents import show_documents, write_document
from perennial.engines.duckdb import open_connection, open_session
from perennial.moves.rewrite import Condition
from perennial.statements import statement
from perennial.storage import storage_for
from perennial.tables import ARCHIVED_FILES, INTERACTIONS, INTERACTIONS_ARCHIVE
from perennial.warehouse import Warehouse

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Not the name of a data file, because the directory may be inside that of the archive.
_ENDING = ".digests.parquet"
_COLUMNS = {"file_uri": "string", "user_hash": "long"}


def digested_files(connection: DuckDBPyConnection, warehouse: Warehouse) -> tuple[set[str], set[str]]:
    """Return the addresses of the files that have a digest, and of those that may have rows of `erased_users`."""
    _show(connection, warehouse, _documents(warehouse))
    digested, matching = (
        {uri for (uri,) in connection.execute(text).fetchall()}
        for text in (statement("erase/list_digested_files"), statement("erase/list_matching_files"))
    )
    return digested, matching


def add_digests(connection: DuckDBPyConnection, warehouse: Warehouse, uris: Mapping[str, str]) -> None:
    """Write the digests of some files whose rows are in the view `searched`.

    Args:
        connection: Where that is, with the columns `user_id` and FILE_COLUMN; it may have rows of other files too.
        warehouse: Where.
        uris: The addresses that the files have in their table, by what FILE_COLUMN calls them.
    """
    import pyarrow as pa

    files = {
        "path": list(uris.keys()),
        "file_uri": list(uris.values()),
        "number": pa.array(range(len(uris)), pa.int32()),
    }
    connection.register("digesting", pa.table(files))
    connection.execute(statement("erase/create_fresh_digests"))
    _write(connection, warehouse, "fresh_digests")


def drop_digests(warehouse: Warehouse, users: Condition) -> None:
    """Remove the digests of files that are gone and that had rows of some users, as `tables.rows_of` says."""
    import pyarrow as pa

    concerned = []
    with open_connection() as connection:
        users(connection)
        digested, matching = digested_files(connection, warehouse)
        uris = {uri for uri in matching if storage_for(uri).stat(uri) is None}
        # A copy in the archive that is too cold to be read is only known by the digest of its original.
        uris -= _awaited(warehouse, digested) if uris else set()
        connection.register("gone", pa.table({"file_uri": pa.array(sorted(uris), pa.string())}))
        for document in _documents(warehouse) if uris else ():
            _show(connection, warehouse, [document])
            if connection.execute(statement("erase/find_gone_digest")).fetchall():
                concerned.append(document)
        if concerned:
            _show(connection, warehouse, concerned)
            connection.execute(statement("erase/create_kept_digests"))
            # What is there twice after a crash says the same twice.
            _write(connection, warehouse, "kept_digests")
    for document in concerned:
        storage_for(document).delete(document)


def originals_of(warehouse: Warehouse, uris: Collection[str]) -> dict[str, list[str]]:
    """Return what archived files are copies of; those that are none are left out."""
    if not uris:
        return {}
    with open_session(warehouse, [ARCHIVED_FILES.name]) as session:
        return dict(session.execute(statement("erase/list_originals"), {"file_uris": list(uris)}).fetchall())


def _awaited(warehouse: Warehouse, digested: Collection[str]) -> set[str]:
    """Return the originals of the archived files that have no digest of their own."""
    archive = warehouse.table(INTERACTIONS_ARCHIVE.name)
    own = [live.uri for live in warehouse.live_files(archive) if live.uri not in digested]
    return {uri for originals in originals_of(warehouse, own).values() for uri in originals}


def _show(connection: DuckDBPyConnection, warehouse: Warehouse, documents: Collection[str]) -> None:
    show_documents(connection, "digests", documents, _COLUMNS, warehouse.table(INTERACTIONS.name))


def _documents(warehouse: Warehouse) -> list[str]:
    directory = _directory(warehouse)
    return [stored.uri for stored in storage_for(directory).list_files(directory) if stored.uri.endswith(_ENDING)]


def _directory(warehouse: Warehouse) -> str:
    return f"{warehouse.operations_uri()}/digests"


def _write(connection: DuckDBPyConnection, warehouse: Warehouse, relation: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "digests.parquet")
        write_document(connection, relation, path)
        uri = f"{_directory(warehouse)}/{uuid.uuid4().hex}{_ENDING}"
        storage_for(uri).upload(path, uri)
