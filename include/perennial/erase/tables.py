"""Which tables hold rows of people, and how those rows are recognised (R22)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from perennial.moves.rewrite import Condition
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, REJECTED_EVENTS, USER_MESSAGE_SUMMARY, USERS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FACT_TABLES = (INTERACTIONS.name, INTERACTIONS_ARCHIVE.name)
# Each has the column `user_id`.
USER_TABLES = (*FACT_TABLES, USER_MESSAGE_SUMMARY.name, USERS.name)


def rows_of(user_ids: Collection[str]) -> Condition:
    """Return the condition that a row is of one of some users."""

    def condition(connection: DuckDBPyConnection) -> str:
        import pyarrow as pa

        connection.register("erased_users", pa.table({"erased_id": pa.array(sorted(set(user_ids)), pa.string())}))
        return "user_id IN (SELECT erased_id FROM erased_users)"

    return condition


def conditions(user_ids: Collection[str], rejected: Condition | None = None) -> Mapping[str, Condition]:
    """Return, for each table that may hold rows of some users, the condition that a row is theirs.

    Args:
        user_ids: The users; with none of them only `rejected_events` is looked at.
        rejected: The same for `rejected_events`, whose rows are of any form; None to leave that table out.
    """
    found = dict.fromkeys(USER_TABLES, rows_of(user_ids)) if user_ids else {}
    return found if rejected is None else {**found, REJECTED_EVENTS.name: rejected}
