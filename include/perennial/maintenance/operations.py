"""Files of operations in storage, besides the tables: plans, file lists, records, reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from perennial.moves.move_plan import file_name, find_plan
from perennial.storage import StoredFile, storage_for
from perennial.warehouse import Warehouse

# One directory or one file per operation. Anything else below `operations/` is not touched.
DIRECTORY_TOPICS = ("moves", "loads", "checks", "drills")
FILE_TOPICS = (
    "decided", "requests", "restores", "cancellations", "errors", "thaws", "deliveries", "undelivered", "erasing",
)  # fmt: skip


@dataclass(frozen=True)
class OperationFiles:
    """The files of one operation.

    Attributes:
        uri: Its directory, or its only file.
        topic: One of `DIRECTORY_TOPICS` or `FILE_TOPICS`.
        files: All of them.
    """

    uri: str
    topic: str
    files: list[StoredFile] = field(default_factory=list)

    @property
    def changed_at(self) -> datetime:
        """When the newest of them was written."""
        return max(stored.modified_at for stored in self.files)

    @cached_property
    def copy_names(self) -> frozenset[str]:
        """Names of the copies that a move planned; empty for other operations."""
        plan = find_plan(self.uri) if self.topic == "moves" else None
        return frozenset(file_name(step.copy_uri) for step in plan.steps) if plan else frozenset()


def list_operations(warehouse: Warehouse) -> Iterator[OperationFiles]:
    """List the operations with files, under way or over, without their pending records."""
    root = warehouse.operations_uri()
    found: dict[str, OperationFiles] = {}
    for topic in (*DIRECTORY_TOPICS, *FILE_TOPICS):
        prefix = f"{root}/{topic}"
        for stored in storage_for(prefix).list_files(prefix):
            inside = stored.uri.removeprefix(f"{prefix}/")
            uri = f"{prefix}/{inside.partition('/')[0]}" if topic in DIRECTORY_TOPICS else stored.uri
            found.setdefault(uri, OperationFiles(uri, topic)).files.append(stored)
    yield from found.values()
