"""The warehouse as it was at a moment, by Iceberg's time travel, while the snapshots of that moment are kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from perennial.errors import TerminalRequestError
from perennial.warehouse.catalog import Warehouse
from perennial.warehouse.lineage import History, is_thinned, number_of

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from perennial.settings import Settings


class TerminalForgottenError(TerminalRequestError):
    """A table no longer has the snapshot of a moment."""


class PastWarehouse(Warehouse):
    """Tables whose current snapshot is the one of a moment; to be read only.

    Args:
        settings: Where the tables are.
        at: The moment, by the wall clock.
    """

    def __init__(self, settings: Settings, at: datetime) -> None:
        super().__init__(settings)
        self._at = at

    def table(self, name: str) -> Table:
        """Load a table as it was at the moment, under today's columns.

        Raises:
            TerminalForgottenError: Its snapshot of that moment has been removed since.
            TerminalSettingError: As `Warehouse.table`.
        """
        table = super().table(name)
        history = [snapshot for snapshot in History(table.metadata).lineage.values() if not is_thinned(snapshot)]
        found = next((each for each in history if each.timestamp_ms <= self._at.timestamp() * 1000), None)
        # The first snapshot of a table has the number 1, whatever became of its parents.
        if found is None and history and number_of(history[-1]) > 1:
            oldest = datetime.fromtimestamp(history[-1].timestamp_ms / 1000, UTC)
            raise TerminalForgottenError(
                f"Table {name} as it was on {self._at:%Y-%m-%d %H:%M} UTC is no longer kept: its oldest snapshot is of "
                f"{oldest:%Y-%m-%d %H:%M} UTC. Ask about a later moment."
            )
        table.metadata = table.metadata.model_copy(
            update={"current_snapshot_id": found.snapshot_id if found is not None else None}
        )
        return table
