"""Pending records: what is under way, written before anything else happens and removed when it is over.

Maintenance does not touch files that a record names, a later run recovers an interrupted one, and an expiry leaves
sources alone that a restore is bringing back.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from perennial.storage import storage_for
from perennial.warehouse import Warehouse


@dataclass(frozen=True)
class OperationRecord:
    """An operation that is under way, or died.

    Attributes:
        kind: load, expire or restore.
        id: Operation id.
        created_at: Wall clock.
        touched_at: Wall clock of its last heartbeat.
        file_lists: Addresses of Iceberg file lists; the data files in them must not be purged.
        source_ids: Sources it concerns.
        plan_uri: Address of its plan.
    """

    kind: str
    id: str
    created_at: str
    touched_at: str
    file_lists: tuple[str, ...] = ()
    source_ids: tuple[str, ...] = ()
    plan_uri: str = ""

    def age_seconds(self, wall_clock: datetime) -> float:
        """Seconds since its last heartbeat."""
        return (wall_clock - datetime.fromisoformat(self.touched_at)).total_seconds()


def write_pending(warehouse: Warehouse, record: OperationRecord) -> None:
    """Write a record, replacing an earlier one of the same operation."""
    uri = _uri(warehouse, record.kind, record.id)
    storage_for(uri).write(uri, json.dumps(asdict(record)).encode())


def touch_pending(warehouse: Warehouse, kind: str, plan_uris: Collection[str], wall_clock: datetime) -> None:
    """Write a heartbeat of waiting moves; one that was given up stays so until the move continues."""
    for record in pending_records(warehouse, kind):
        if record.plan_uri in plan_uris:
            write_pending(warehouse, replace(record, touched_at=wall_clock.isoformat()))


def remove_pending(warehouse: Warehouse, kind: str, operation_id: str) -> None:
    """Remove the record of an operation that is over."""
    uri = _uri(warehouse, kind, operation_id)
    storage_for(uri).delete(uri)


def pending_records(warehouse: Warehouse, kind: str | None = None) -> Iterator[OperationRecord]:
    """List the operations under way, oldest first."""
    prefix = f"{warehouse.operations_uri()}/pending"
    storage = storage_for(prefix)
    records = []
    for found in storage.list_files(prefix):
        name = found.uri.rpartition("/")[2]
        if not name.endswith(".json") or (kind is not None and not name.startswith(f"{kind}-")):
            continue
        try:
            fields = json.loads(storage.read(found.uri))
        except FileNotFoundError:
            continue
        records.append(
            OperationRecord(
                kind=fields["kind"],
                id=fields["id"],
                created_at=fields["created_at"],
                touched_at=fields.get("touched_at", fields["created_at"]),
                file_lists=tuple(fields.get("file_lists", ())),
                source_ids=tuple(fields.get("source_ids", ())),
                plan_uri=fields.get("plan_uri", ""),
            )
        )
    yield from sorted(records, key=lambda record: record.created_at)


def sources_under_way(warehouse: Warehouse, kind: str) -> frozenset[str]:
    """The sources that operations of a kind are working on."""
    return frozenset(source_id for record in pending_records(warehouse, kind) for source_id in record.source_ids)


def _uri(warehouse: Warehouse, kind: str, operation_id: str) -> str:
    return f"{warehouse.operations_uri()}/pending/{kind}-{operation_id}.json"
