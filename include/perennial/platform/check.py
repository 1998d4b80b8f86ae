"""Checks whether a sync would accept the platform: runs every SELECT, lists every issue, changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from perennial.errors import TerminalMetadataError
from perennial.platform.columns import arrow_schema
from perennial.platform.database import PlatformDatabase, open_platform
from perennial.platform.integrity import KeyLedger
from perennial.platform.issues import Issue
from perennial.platform.reading import PlatformReading
from perennial.platform.vanished import KEYS
from perennial.tables import SYNCED, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from perennial.settings import Settings

_SHOWN_ROWS = 5


@dataclass(frozen=True)
class CheckedTable:
    """The result of one SELECT.

    Attributes:
        name: Name of the synced table.
        place: Where its SELECT is, as written in a sentence.
        row_count: Rows that it returned.
        columns: Names of the table's columns.
        first_rows: The first rows as the warehouse would have them; null for values that cannot be used.
        issues: What a sync would refuse or remark on.
    """

    name: str
    place: str
    row_count: int
    columns: list[str]
    first_rows: list[tuple[Any, ...]]
    issues: list[Issue]


def check_platform(settings: Settings, known: Mapping[str, pa.Table] | None = None) -> list[CheckedTable]:
    """Read every table of the platform as a sync does, and list all that it would refuse or remark on.

    Args:
        settings: Where the platform and its SELECTs are.
        known: `sources` and `audiences` of the warehouse, of which many must not be missing; None if there are none
            yet.

    Raises:
        TerminalSettingError: PERENNIAL_PLATFORM_URL or PERENNIAL_PLATFORM_SQL cannot be used.
        TransientError: The platform's database cannot be reached.
    """
    reading = PlatformReading(datetime.now(UTC))
    rows: dict[str, list[tuple[Any, ...]]] = {}
    waiting = list(SYNCED)
    with KeyLedger() as ledger:
        while waiting:
            # After a failed statement a transaction accepts no other one.
            with open_platform(settings) as database:
                while waiting and (table := waiting.pop(0)) and _is_read(reading, table, database, ledger, rows):
                    pass
    if known is not None and reading.keys.keys() >= KEYS.keys():
        reading.issues.add(reading.mass_vanishing(known))
    return [_checked(reading, table, rows[table.name]) for table in SYNCED]


def _is_read(
    reading: PlatformReading,
    table: Table,
    database: PlatformDatabase,
    ledger: KeyLedger,
    rows: dict[str, list[tuple[Any, ...]]],
) -> bool:
    first = rows[table.name] = []
    try:
        for batch in reading.batches(table, database, ledger):
            wanted = batch.slice(0, _SHOWN_ROWS - len(first)).to_pylist()
            first += [tuple(row.values()) for row in wanted]
    except TerminalMetadataError as error:
        reading.issues.add([Issue("refused", table.name, "", (str(error),))])
        return False
    return True


def _checked(reading: PlatformReading, table: Table, first_rows: list[tuple[Any, ...]]) -> CheckedTable:
    return CheckedTable(
        table.name,
        reading.places[table.name],
        reading.row_counts[table.name],
        arrow_schema(table).names,
        first_rows,
        [issue for issue in reading.issues if issue.table == table.name],
    )
