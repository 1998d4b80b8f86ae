"""Daily maintenance of the warehouse: merge small files, expire old snapshots, purge unreachable files (M8).

Three steps, each of which can be killed, repeated and run beside loads, expiries and restores.
"""

from perennial.maintenance.compaction import CompactionOutcome, compact_tables
from perennial.maintenance.purge import PurgeOutcome, purge_files
from perennial.maintenance.snapshots import expire_old_snapshots

__all__ = [
    "CompactionOutcome",
    "PurgeOutcome",
    "compact_tables",
    "expire_old_snapshots",
    "purge_files",
]
