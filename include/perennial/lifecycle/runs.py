"""The run a use case belongs to, and the events it leaves in `lifecycle_events`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from perennial.refusals import refuse_future_date
from perennial.storage import storage_for
from perennial.tables import LIFECYCLE_EVENTS
from perennial.warehouse import SourceTotal, Warehouse

Event = Literal["expired", "restored", "late_archived"]


@dataclass(frozen=True)
class Run:
    """Who does something, and when it is.

    Attributes:
        run_id: Airflow's run id, or that of a direct call.
        now: What the run takes for now: the logical date, so that a past date can be replayed.
        requested_by: Who asked for it.
        reason: Why, in the requester's words.
        requested_at: Wall clock of the request; the run's own now where that is the same.
    """

    run_id: str
    now: datetime
    requested_by: str | None = None
    reason: str | None = None
    requested_at: datetime | None = None


def wall_clock() -> datetime:
    """The time on the wall, for what must not follow a replayed date."""
    return datetime.now(UTC)


def refuse_future_run(run: Run) -> None:
    """Refuse to move anything for a run that is dated after the wall clock.

    Raises:
        TerminalRequestError: It is dated more than five minutes later (R24).
    """
    refuse_future_date(run.now, wall_clock())


@dataclass(frozen=True)
class Recorded:
    """What is recorded of one source: the event, and why it came to it."""

    event: Event
    reason: str | None


def record_events(
    warehouse: Warehouse, run: Run, operation: str, events: Mapping[str, Recorded], totals: Iterable[SourceTotal]
) -> None:
    """Append one lifecycle event a source, once an operation.

    Args:
        warehouse: Where to.
        run: Whose events they are.
        operation: Makes a repetition do nothing, and the events' ids the same.
        events: The event of each source.
        totals: What was moved of each.
    """
    recorded_at = wall_clock()
    rows: list[dict[str, object]] = [
        {
            "event_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{operation}\n{total.source_id}")),
            "event": events[total.source_id].event,
            "source_id": total.source_id,
            "occurred_at": run.now,
            "run_id": run.run_id,
            "requested_by": run.requested_by,
            "reason": events[total.source_id].reason,
            "file_count": total.file_count,
            "row_count": total.row_count,
            "total_bytes": total.total_bytes,
            "recorded_at": recorded_at,
        }
        for total in totals
    ]
    warehouse.append_rows(LIFECYCLE_EVENTS.name, rows, operation)


def write_note(warehouse: Warehouse, topic: str, content: Mapping[str, Any]) -> str:
    """Write what one task has to tell the next to storage; XCom carries the address."""
    uri = f"{warehouse.operations_uri()}/{topic}/{uuid.uuid4().hex}.json"
    storage_for(uri).write(uri, json.dumps(content, ensure_ascii=False).encode())
    return uri


def read_note(uri: str) -> dict[str, Any]:
    """Read what `write_note` wrote."""
    content: dict[str, Any] = json.loads(storage_for(uri).read(uri))
    return content
