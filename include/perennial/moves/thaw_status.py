"""The status of a run's thaw: a document that the task, its trigger, the page and the deadline share."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

from perennial.operations import OperationStore, hashed_name
from perennial.text import pluralize
from perennial.warehouse import Warehouse

_TOPIC = "thaws"


@dataclass(frozen=True)
class ThawStatus:
    """The status of one run's thaw.

    Attributes:
        run_id: The run.
        tier: The requested retrieval tier.
        expected_tier: The slowest tier of any file, because another run may have requested it before.
        asked_at: Wall clock of the first request, ISO 8601.
        expected_at: When everything is thawed according to the service's documentation, ISO 8601.
        looked_at: Wall clock of the latest check, ISO 8601.
        file_count: Number of files to thaw.
        thawed_count: How many of them can be read, at least.
        total_bytes: Size of the files to thaw.
        frozen_as: Number of files by storage class.
        requesters_notified: Whether the requesters have been notified that it takes time.
        ended: Whether the run has ended.
    """

    run_id: str
    tier: str
    asked_at: str
    expected_at: str
    looked_at: str
    file_count: int
    thawed_count: int = 0
    total_bytes: int = 0
    frozen_as: dict[str, int] = field(default_factory=dict)
    expected_tier: str = ""
    requesters_notified: bool = False
    ended: bool = False

    @property
    def done(self) -> bool:
        """Whether every file can be read."""
        return self.thawed_count >= self.file_count

    def __str__(self) -> str:
        return f"thawed {self.thawed_count:,} of {pluralize(self.file_count, 'file')}"


def find_thaw_status(warehouse: Warehouse, run_id: str) -> ThawStatus | None:
    """Read the status of a run's thaw; None if nothing had to be thawed."""
    fields = OperationStore.of(warehouse).find(_TOPIC, hashed_name(run_id))
    if fields is None:
        return None
    if "told" in fields:
        # The name that earlier versions wrote.
        fields["requesters_notified"] = fields.pop("told")
    return ThawStatus(**fields)


def write_thaw_status(warehouse: Warehouse, status: ThawStatus) -> None:
    """Write the status of a run's thaw."""
    OperationStore.of(warehouse).put(_TOPIC, asdict(status), hashed_name(status.run_id))


def end_thaw(warehouse: Warehouse, run_id: str) -> None:
    """Record that a run has ended, if it had to thaw anything."""
    if (status := find_thaw_status(warehouse, run_id)) is not None:
        write_thaw_status(warehouse, replace(status, ended=True))
