"""The steps of a move by the address of its plan, as the tasks of the DAGs take them."""

from __future__ import annotations

from perennial.moves import finish
from perennial.moves.commit import commit_destination
from perennial.moves.copy import copy_chunk
from perennial.moves.finish import MoveOutcome
from perennial.moves.move_plan import read_plan
from perennial.moves.recovery import plan_next_round
from perennial.moves.verify import verify_move
from perennial.operations import Run
from perennial.warehouse import Warehouse


def chunk_count(plan_uri: str) -> int:
    return read_plan(plan_uri).chunk_count


def copy_files(warehouse: Warehouse, plan_uri: str, chunk: int) -> int:
    return copy_chunk(warehouse, read_plan(plan_uri), chunk)


def verify_copies(warehouse: Warehouse, plan_uri: str) -> None:
    verify_move(warehouse, read_plan(plan_uri))


def add_copies(warehouse: Warehouse, plan_uri: str) -> int:
    return commit_destination(warehouse, read_plan(plan_uri))


def prepare(warehouse: Warehouse, plan_uri: str) -> None:
    """Everything up to the commit of the destination."""
    for chunk in range(chunk_count(plan_uri)):
        copy_files(warehouse, plan_uri, chunk)
    verify_copies(warehouse, plan_uri)
    add_copies(warehouse, plan_uri)


def commit_once(warehouse: Warehouse, plan_uri: str, run: Run) -> MoveOutcome:
    """What the task `commit_origin` does."""
    return finish.finish_move(warehouse, read_plan(plan_uri), run)


def finish_move(warehouse: Warehouse, plan_uri: str, run: Run) -> MoveOutcome:
    """Carry a prepared move to its end, in as many rounds as it takes."""
    first = outcome = commit_once(warehouse, plan_uri, run)
    while outcome.left:
        planned = plan_next_round(warehouse, [plan_uri], run)
        if not planned:
            break
        (plan_uri,) = planned
        prepare(warehouse, plan_uri)
        outcome = commit_once(warehouse, plan_uri, run)
    return first
