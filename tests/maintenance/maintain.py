"""The three steps of the DAG `maintain_warehouse` in one process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from perennial.maintenance import CompactionOutcome, PurgeOutcome, compact_tables, expire_old_snapshots, purge_files
from perennial.maintenance.snapshots import RETAIN_DAYS, refuse_short_retention
from perennial.warehouse import Warehouse


@dataclass(frozen=True)
class MaintenanceOutcome:
    """What each step did."""

    compacted: dict[str, CompactionOutcome]
    expired_snapshots: dict[str, int]
    purged: PurgeOutcome


def maintain_warehouse(warehouse: Warehouse, now: datetime, retain_days: int = RETAIN_DAYS) -> MaintenanceOutcome:
    refuse_short_retention(retain_days)
    return MaintenanceOutcome(
        compact_tables(warehouse),
        expire_old_snapshots(warehouse, now, retain_days),
        purge_files(warehouse, now, retain_days),
    )
