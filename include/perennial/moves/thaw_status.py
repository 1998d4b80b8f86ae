"""How far the thawing for a run is: a document that the task, its trigger, the page and the deadline share."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

from perennial.operations import OperationStore, hashed_name
from perennial.text import pluralize
from perennial.warehouse import Warehouse

_TOPIC = "thaws"


@dataclass(frozen=True)
class ThawStatus:
    """How far the thawing for one run is, as it lies in storage for whoever wants to know.

    Attributes:
        run_id: The run.
        tier: As it was asked for.
        expected_tier: The slowest that a file may be thawed in, for another run may have asked for it before.
        asked_at: Wall clock of the first asking, ISO 8601.
        expected_at: When all is thawed by what the service documents, ISO 8601.
        looked_at: Wall clock of the latest look, ISO 8601.
        file_count: Files that had to be thawed.
        thawed_count: Those of them that can be read, at the least.
        total_bytes: Of the files that had to be thawed.
        frozen_as: Files by the class that they were frozen in.
        requesters_notified: Whether the requesters have been notified that it takes time.
        ended: Whether the run has come to its end.
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
    """Read how far the thawing for a run is; None where nothing had to be thawed."""
    fields = OperationStore.of(warehouse).find(_TOPIC, hashed_name(run_id))
    if fields is None:
        return None
    if "told" in fields:
        # The name that earlier versions wrote.
        fields["requesters_notified"] = fields.pop("told")
    return ThawStatus(**fields)


def write_thaw_status(warehouse: Warehouse, status: ThawStatus) -> None:
    """Write down how far the thawing for a run is."""
    OperationStore.of(warehouse).put(_TOPIC, asdict(status), hashed_name(status.run_id))


def end_thaw(warehouse: Warehouse, run_id: str) -> None:
    """Write down that a run is over, if it had to thaw anything."""
    if (status := find_thaw_status(warehouse, run_id)) is not None:
        write_thaw_status(warehouse, replace(status, ended=True))
