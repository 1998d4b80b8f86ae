"""Records in storage of the newest state of each table, which a catalog restored from a backup does not have.

A record is written after a commit, and two processes may write theirs in the wrong order: it is a state that the table
has been in, but not always the newest.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from perennial.errors import PerennialError, TerminalDataError
from perennial.storage import storage_for
from perennial.tables import COUNTED
from perennial.warehouse.lineage import Head, number_of, operation_of
from perennial.warehouse.losses import Loss, find_loss, refusal

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from perennial.warehouse.catalog import Warehouse

log = logging.getLogger(__name__)


def refuse_losses(warehouse: Warehouse) -> None:
    """Refuse to continue while operations are missing in the history of any table that others rely on.

    Raises:
        TerminalDataError: Names the tables and the operations; nothing was done.
    """
    if losses := list(find_losses(warehouse)):
        raise TerminalDataError(refusal(losses))


def find_losses(warehouse: Warehouse) -> Iterator[Loss]:
    """Check the current history of every table that others rely on, and record its newest state."""
    for name in COUNTED:
        # The record first: if the table is loaded before it, the record may be ahead.
        head, table = read_head(warehouse, name), warehouse.table(name)
        loss = find_loss(table, head)
        if loss is not None:
            yield loss
        elif table.metadata.current_snapshot_id not in (None, head.snapshot_id if head else None):
            note_head(warehouse, table)


def read_head(warehouse: Warehouse, name: str) -> Head | None:
    """Read the record of a table; None if we have not committed to it since records exist."""
    uri = _uri(warehouse, name)
    try:
        return Head(**json.loads(storage_for(uri).read(uri)))
    except FileNotFoundError:
        return None


def note_head(warehouse: Warehouse, table: Table) -> None:
    """Record the current state of a table; if that fails, the next commit writes it."""
    snapshot = table.current_snapshot()
    if snapshot is None:
        return
    head = Head(
        snapshot_id=snapshot.snapshot_id,
        sequence_number=number_of(snapshot),
        operation=operation_of(snapshot),
        table_uuid=str(table.metadata.table_uuid),
        metadata_location=table.metadata_location,
    )
    uri = _uri(warehouse, table.name()[-1])
    try:
        storage_for(uri).write(uri, json.dumps(asdict(head)).encode())
    except (OSError, PerennialError) as error:
        log.warning("%s could not be written (%s); the next commit writes it", uri, error)


def _uri(warehouse: Warehouse, name: str) -> str:
    return f"{warehouse.operations_uri()}/heads/{name}.json"
