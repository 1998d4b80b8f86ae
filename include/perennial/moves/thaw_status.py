"""How far the thawing for a run is: a note in storage that the task, its trigger, the page and the deadline share."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace

from perennial.storage import storage_for
from perennial.text import pluralize
from perennial.warehouse import Warehouse


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
        told: Whether the requesters know.
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
    told: bool = False
    ended: bool = False

    @property
    def done(self) -> bool:
        """Whether every file can be read."""
        return self.thawed_count >= self.file_count

    def __str__(self) -> str:
        return f"thawed {self.thawed_count:,} of {pluralize(self.file_count, 'file')}"


def find_thaw_status(warehouse: Warehouse, run_id: str) -> ThawStatus | None:
    """Read how far the thawing for a run is; None where nothing had to be thawed."""
    uri = _note_uri(warehouse, run_id)
    try:
        return ThawStatus(**json.loads(storage_for(uri).read(uri)))
    except FileNotFoundError:
        return None


def write_thaw_status(warehouse: Warehouse, thawing: ThawStatus) -> None:
    """Note how far the thawing for a run is."""
    uri = _note_uri(warehouse, thawing.run_id)
    storage_for(uri).write(uri, json.dumps(asdict(thawing), ensure_ascii=False).encode())


def end_thaw(warehouse: Warehouse, run_id: str) -> None:
    """Note that a run is over, if it had to thaw anything."""
    if (thawing := find_thaw_status(warehouse, run_id)) is not None:
        write_thaw_status(warehouse, replace(thawing, ended=True))


def _note_uri(warehouse: Warehouse, run_id: str) -> str:
    # A run id may hold any character, and so may not become a path.
    return f"{warehouse.operations_uri()}/thaws/{hashlib.sha256(run_id.encode()).hexdigest()}.json"
