"""The messaging platform's database: read, checked, and synced into the warehouse."""

from perennial.platform.adopted import lay_over_sources, read_adopted
from perennial.platform.sync import PlatformMetadata, SyncOutcome, read_metadata, sync_sources

__all__ = ["PlatformMetadata", "SyncOutcome", "lay_over_sources", "read_adopted", "read_metadata", "sync_sources"]
