"""The run a use case belongs to, and the notes that its tasks leave each other."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from perennial.refusals import refuse_future_date
from perennial.storage import storage_for
from perennial.warehouse import Warehouse


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


def write_note(warehouse: Warehouse, topic: str, content: Mapping[str, Any]) -> str:
    """Write what one task has to tell the next to storage; XCom carries the address."""
    uri = f"{warehouse.operations_uri()}/{topic}/{uuid.uuid4().hex}.json"
    storage_for(uri).write(uri, json.dumps(content, ensure_ascii=False).encode())
    return uri


def read_note(uri: str) -> dict[str, Any]:
    """Read what `write_note` wrote."""
    content: dict[str, Any] = json.loads(storage_for(uri).read(uri))
    return content
