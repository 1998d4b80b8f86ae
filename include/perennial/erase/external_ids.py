"""Finds who has an external id that `users` does not know, in the interactions, which carry both ids (R22)."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from perennial.engines.duckdb import create_view, open_connection, open_session
from perennial.moves.thaw import find_cold
from perennial.statements import statement
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, USERS
from perennial.text import pluralize

if TYPE_CHECKING:
    from perennial.warehouse import LiveFile, Warehouse

log = logging.getLogger(__name__)

# Files that one statement reads.
_FILES_AT_ONCE = 1_000


def known_users(warehouse: Warehouse, external_user_ids: Collection[str]) -> dict[str, str]:
    """Return the platform's ids of people by their external ids, as far as `users` knows them."""
    if not external_user_ids or warehouse.table(USERS.name).current_snapshot() is None:
        return {}
    with open_session(warehouse, [USERS.name]) as session:
        binds = {"external_user_ids": list(external_user_ids)}
        return dict(session.execute(statement("erase/find_user_ids"), binds).fetchall())


def search_interactions(warehouse: Warehouse, external_user_ids: Collection[str]) -> dict[str, set[str]]:
    """Return the platform's ids of everybody who has one of some external ids in an interaction that can be read.

    It reads that column of every file of both tables, so it is for ids that `users` does not know.
    """
    found: dict[str, set[str]] = {}
    for name in (INTERACTIONS.name, INTERACTIONS_ARCHIVE.name) if external_user_ids else ():
        table = warehouse.table(name)
        files: list[LiveFile] = list(warehouse.live_files(table))
        cold = find_cold(warehouse, [file.uri for file in files]) if name == INTERACTIONS_ARCHIVE.name else {}
        readable = [file for file in files if file.uri not in cold]
        log.info(
            "erase: %s of %s searched for external ids, %d cold", pluralize(len(readable), "file"), name, len(cold)
        )
        for start in range(0, len(readable), _FILES_AT_ONCE):
            with open_connection() as connection:
                schema = table.schema().select("user_id", "external_user_id")
                create_view(connection, "searched", readable[start : start + _FILES_AT_ONCE], table, schema)
                binds = {"external_user_ids": list(external_user_ids)}
                rows = connection.execute(statement("erase/search_external_ids"), binds).fetchall()
            for external_user_id, user_id in rows:
                found.setdefault(external_user_id, set()).add(user_id)
    return found
