"""The messaging platform's database: read, checked, and synced into the warehouse."""

from perennial.platform.legacy_deletions import apply_to_sources, read_legacy_deletions
from perennial.platform.sync import PlatformMetadata, SyncOutcome, read_metadata, sync_sources

__all__ = [
    "PlatformMetadata",
    "SyncOutcome",
    "apply_to_sources",
    "read_legacy_deletions",
    "read_metadata",
    "sync_sources",
]
