"""The messaging platform's database: read, checked, and synced into the warehouse."""

from perennial.platform.sync import PlatformMetadata, SyncOutcome, read_metadata, sync_sources

__all__ = ["PlatformMetadata", "SyncOutcome", "read_metadata", "sync_sources"]
