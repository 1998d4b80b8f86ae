"""The three steps of `maintain_warehouse` in one process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from perennial.maintenance.compaction import CompactionOutcome, compact_tables
from perennial.maintenance.purge import PurgeOutcome, purge_files
from perennial.maintenance.snapshots import RETAIN_DAYS, expire_old_snapshots, refuse_short_retention
from perennial.warehouse import Warehouse


@dataclass(frozen=True)
class MaintenanceOutcome:
    """What one maintenance run did.

    Attributes:
        compacted: By table, where anything was merged.
        expired_snapshots: By table, where any snapshot was let go.
        purged: Files deleted physically.
    """

    compacted: dict[str, CompactionOutcome]
    expired_snapshots: dict[str, int]
    purged: PurgeOutcome


def maintain_warehouse(
    warehouse: Warehouse, now_wall_clock: datetime, retain_days: int = RETAIN_DAYS
) -> MaintenanceOutcome:
    """Merge small files, expire old snapshots, purge what nothing reaches any more.

    Args:
        warehouse: The tables.
        now_wall_clock: The time on the wall, never a replayed date: it bounds what may be deleted.
        retain_days: Snapshots and unreachable files younger than this stay; at least 1.

    Raises:
        TerminalSettingError: retain_days is below 1.
        TerminalDataError: Doubt about what may be deleted; nothing was.
        TransientConflictError: Other writers won every race; nothing was lost.
    """
    refuse_short_retention(retain_days)
    return MaintenanceOutcome(
        compacted=compact_tables(warehouse),
        expired_snapshots=expire_old_snapshots(warehouse, now_wall_clock, retain_days),
        purged=purge_files(warehouse, now_wall_clock, retain_days),
    )
