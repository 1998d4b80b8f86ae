"""A move taken step by step, so that maintenance can come between any two of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from perennial.moves.commit import commit_destination, commit_origin
from perennial.moves.copy import copy_chunk
from perennial.moves.move_plan import Direction, MovePlan
from perennial.moves.plan import plan_move
from perennial.moves.verify import verify_move
from perennial.operations import remove_pending
from perennial.settings import Settings
from perennial.tables import TABLES
from perennial.warehouse import Warehouse
from tests.rows import append_hot, interaction


@dataclass
class Move:
    """Its steps in order; `remove` plans and moves again what another writer changed, as the use cases do."""

    warehouse: Warehouse
    direction: Direction
    sources: list[str]
    made: MovePlan | None = None

    def plan(self) -> None:
        self.made = plan_move(self.warehouse, self.direction, self.sources)

    def copy(self) -> None:
        if self.made:
            for chunk in range(self.made.chunk_count):
                copy_chunk(self.warehouse, self.made, chunk)

    def add(self) -> None:
        if self.made:
            verify_move(self.warehouse, self.made)
            commit_destination(self.warehouse, self.made)

    def remove(self) -> None:
        if self.made:
            left = commit_origin(self.warehouse, self.made, self.made.source_ids)
            remove_pending(self.warehouse, self.direction.name, self.made.move_id)
            if left:
                Move(self.warehouse, self.direction, sorted({step.source_id for step in left})).run()

    @property
    def steps(self) -> list[Callable[[], None]]:
        return [self.plan, self.copy, self.add, self.remove]

    def run(self) -> None:
        for step in self.steps:
            step()


def open_again(home: str | Path) -> Warehouse:
    return Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(home)}))


def append_loads(warehouse: Warehouse, sources: list[str], loads: int, first: int = 0) -> None:
    """Append so many loads: each leaves one small file of two rows for every source."""
    for load in range(first, first + loads):
        append_hot(warehouse, [interaction(source, 2 * load + number) for source in sources for number in (0, 1)])


def data_files(warehouse: Warehouse, table: str) -> set[str]:
    """Names of the files a table lists."""
    return {live.uri.rpartition("/")[2] for live in warehouse.live_files(warehouse.table(table))}


def stored(directory: str | Path) -> set[str]:
    """Every file below a directory, by its path inside it."""
    root = Path(str(directory).removeprefix("file://"))
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def data_path(warehouse: Warehouse, table: str) -> Path:
    return Path(warehouse.table(table).location_provider().data_path.removeprefix("file://"))


TABLE_NAMES = [table.name for table in TABLES]
