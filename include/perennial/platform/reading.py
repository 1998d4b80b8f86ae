"""One read of the platform, shared by sync and check: every table is converted and checked while it streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from perennial.erasures import Suppressed
from perennial.platform.columns import SelectedColumns, arrow_batch
from perennial.platform.database import PlatformDatabase
from perennial.platform.integrity import KeyLedger
from perennial.platform.issues import Issue, Issues
from perennial.platform.legacy_deletions import with_legacy_deletions
from perennial.platform.vanished import KEYS, find_mass_vanishing
from perennial.settings import dag_id
from perennial.tables import SOURCES, USERS, Table

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class PlatformReading:
    """The results of one read of the platform so far.

    Attributes:
        now: Wall clock: no deletion is later (R24).
        deletions: Marks of what the previous policy deleted, applied to `sources` (R18).
        issues: What is wrong, or worth a person's look.
        row_counts: By table.
        keys: The keys of the rows of the tables in KEYS.
        erased_counts: Rows of people who were erased (R22), which are left out; by table.
        places: Where the SELECT of each table is, as written in a sentence.
    """

    now: datetime
    deletions: Mapping[str, datetime] = field(default_factory=dict)
    issues: Issues = field(default_factory=Issues)
    row_counts: dict[str, int] = field(default_factory=dict)
    keys: dict[str, pa.Table] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    erased_counts: dict[str, int] = field(default_factory=dict)

    def checked_batches(self, table: Table, database: PlatformDatabase, ledger: KeyLedger) -> Iterator[pa.RecordBatch]:
        """As `batches`, of rows that a sync accepts.

        Raises:
            TerminalMetadataError: The first issue that a sync refuses.
        """
        for batch in self.batches(table, database, ledger):
            self.issues.refuse()
            yield batch
        self.issues.refuse()

    def batches(self, table: Table, database: PlatformDatabase, ledger: KeyLedger) -> Iterator[pa.RecordBatch]:
        """Stream a table, with null for unusable values, and record issues; `sources` has to be the first.

        Raises:
            TerminalMetadataError: The database refuses the statement.
        """
        import pyarrow as pa

        place = self.places[table.name] = database.selects[table.name].place
        keys = [_key_schema(table).empty_table()]
        self.row_counts[table.name] = 0
        with database.selected(table.name) as (columns, partitions):
            selected = SelectedColumns.matched(table, columns, place)
            self.issues.add(selected.issues)
            for rows in partitions:
                batch, found = arrow_batch(selected, rows, self.row_counts[table.name] + 1, self.now)
                self.issues.add(found)
                self.row_counts[table.name] += batch.num_rows
                if table.name in KEYS:
                    keys.append(pa.table({name: batch[name] for name in KEYS[table.name]}))
                if selected.has_key:
                    ledger.add(table.name, batch)
                yield with_legacy_deletions(batch, self.deletions) if table is SOURCES else batch
        if selected.has_key:
            if table.name in KEYS:
                self.keys[table.name] = pa.concat_tables(keys)
            self.issues.add(ledger.issues(table.name, place))

    def without(self, users: Iterator[pa.RecordBatch], erased: Suppressed) -> Iterator[pa.RecordBatch]:
        """Leave erased people out of a stream of users (R22)."""
        import pyarrow as pa

        self.erased_counts[USERS.name] = 0
        for batch in users:
            kept = erased.without(pa.Table.from_batches([batch]))
            self.erased_counts[USERS.name] += batch.num_rows - kept.num_rows
            yield from kept.to_batches()

    def refuse_mass_vanishing(self, known: Mapping[str, pa.Table]) -> None:
        """Refuse a platform that looks like a broken database.

        Raises:
            TerminalMetadataError: Names the numbers, and the param that accepts them.
        """
        self.issues.add(self.mass_vanishing(known))
        self.issues.refuse()

    def mass_vanishing(self, known: Mapping[str, pa.Table]) -> Iterator[Issue]:
        """Compare with the earlier tables, by name: suspiciously many rows may be missing."""
        if losses := find_mass_vanishing(known, self.keys):
            selects = " and ".join(self.places[loss.table] for loss in losses)
            lacks = f"The platform's database lacks {' and '.join(map(str, losses))}"
            problem = "that looks like a broken database or statement"
            remedy = (
                f"Check PERENNIAL_PLATFORM_URL and {selects}. If they are really gone, trigger "
                f"{dag_id('sync_sources')} once with "
                '{"allow_vanishing": true}.'
            )
            yield Issue("refused", losses[0].table, problem, (f"{lacks}: {problem}",), remedy)


def _key_schema(table: Table) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([(name, pa.large_string()) for name in KEYS.get(table.name, ())])
