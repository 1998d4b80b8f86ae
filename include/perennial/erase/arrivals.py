"""Keeps loads and syncs that are under way when an erasure begins from bringing anybody back (R22)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from perennial.currents import finish_pending_loads
from perennial.tables import LOADED_EVENTS, USERS
from perennial.warehouse.replace import make_snapshot

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse


def bar_arrivals(warehouse: Warehouse) -> int:
    """Keep what is under way from storing people whose erasure was approved; returns how many loads were finished.

    A load checks who is erased after it has pinned the ledger, a sync after it has loaded the users that it replaces. A
    new snapshot of both tables makes those lose their race that have looked too early. What has won before is finished
    here, so that its rows are found.
    """
    operation = f"erasure:bar:{uuid.uuid4().hex}"
    for table in (LOADED_EVENTS, USERS):
        make_snapshot(warehouse, table.name, operation)
    return finish_pending_loads(warehouse)
