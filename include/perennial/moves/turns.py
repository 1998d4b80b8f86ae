"""Runs of a DAG that go one after the other, oldest first (ADR 14).

This is about order and cost: two runs beside each other lose and double nothing (M2, M6), but copy the same files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from perennial.moves.runs import Run
from perennial.storage import storage_for
from perennial.warehouse import Warehouse


@dataclass(frozen=True)
class Turn:
    """A run that is at work, or waits until it may be.

    Attributes:
        run_id: The run.
        now: What it takes for now; older runs go first.
        taken: Whether it is at work.
    """

    run_id: str
    now: str
    taken: bool = False


def take_turn(warehouse: Warehouse, dag_id: str, run: Run, is_active: Callable[[str], bool]) -> str:
    """Take the turn of a run, or let it wait in line.

    A run that is over counts no more, so a turn is never given back: whoever looks next finds it free.

    Args:
        warehouse: Whose runs they are.
        dag_id: The DAG that they are runs of.
        run: The run; one that has the turn already keeps it.
        is_active: Tells by its id whether another run is still under way.

    Returns:
        The id of the run that goes before this one; empty when it is this one's turn.
    """
    uri = f"{warehouse.operations_uri()}/turns/{dag_id}.json"
    known = _read(uri)
    others = [turn for turn in known if turn.run_id != run.run_id and is_active(turn.run_id)]
    own = next((turn for turn in known if turn.run_id == run.run_id), Turn(run.run_id, run.now.isoformat()))
    before = [turn for turn in others if turn.taken or _place(turn) < _place(own)]
    own = replace(own, taken=own.taken or not before)
    if (line := sorted([*others, own], key=_place)) != known:
        storage_for(uri).write(uri, json.dumps([asdict(turn) for turn in line]).encode())
    return "" if own.taken else max(before, key=lambda turn: turn.taken).run_id


def _place(turn: Turn) -> tuple[str, str]:
    return turn.now, turn.run_id


def _read(uri: str) -> list[Turn]:
    try:
        return [Turn(**fields) for fields in json.loads(storage_for(uri).read(uri))]
    except FileNotFoundError:
        return []
