"""When sources would expire again if they were restored now, according to the policy's own SQL (R2, R3, R13)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from perennial import text as formatting
from perennial.sql import statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb


@dataclass(frozen=True)
class ExpiringAgain:
    """When restored sources expire again, unless something keeps them.

    Attributes:
        source_count: How many come back.
        first_at: When the first of them expires; None where none does.
        last_at: When the last one does.
        active_count: How many do not expire, because they are active.
    """

    source_count: int
    first_at: datetime | None
    last_at: datetime | None
    active_count: int

    @property
    def sentence(self) -> str:
        """The dates as a sentence."""
        one = self.source_count == 1
        if self.first_at is None or self.last_at is None:
            return f"{'It does' if one else 'They do'} not expire while {'it is' if one else 'they are'} active."
        first, last = formatting.day(self.first_at), formatting.day(self.last_at)
        when = f"on {first}" if first == last else f"between {first} and {last}"
        they, are = ("It", "it is") if one else ("They", "they are")
        dates = f"{they} will expire again {when}, unless {are} active or used by an active audience then."
        if not self.active_count:
            return dates
        verb = "is active and does not expire" if self.active_count == 1 else "are active and do not expire"
        return f"{dates} {formatting.pluralize(self.active_count, 'source')} {verb} until stopped."


def expiring_again(
    cursor: duckdb.DuckDBPyConnection, source_ids: Sequence[str], now: datetime, months: int
) -> ExpiringAgain:
    """Find out when some sources would expire again.

    Args:
        cursor: With view `known_sources`.
        source_ids: The sources to restore.
        now: When they are restored.
        months: PERENNIAL_RETENTION_MONTHS.
    """
    from perennial.engines.duckdb import create_views, open_connection

    chosen = {"source_ids": list(source_ids)}
    known = cursor.sql(statement("web/select_known_sources"), params=chosen).to_arrow_table()
    with open_connection() as connection:
        connection.register("known_sources", known)
        connection.sql(statement("web/list_moves_if_restored"), params={**chosen, "now": now}).create("source_moves")
        connection.execute(statement("views/create_retention"), {"months": months})
        create_views(connection, ["source_states"])
        first_at, last_at, active_count = connection.execute(statement("web/sum_expiry_days")).fetchall()[0]
    return ExpiringAgain(len(source_ids), first_at, last_at, active_count)
