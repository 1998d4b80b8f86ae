"""The tasks that both directions share: a move from its plans on, mapped over plans and over chunks of equal bytes.

A small move is one task (ADR 44). The number of tasks does not depend on the number of sources. XCom carries addresses
and counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context, task, task_group

from perennial.airflow import (
    AirflowSkipException,
    asset_alias,
    assets,
    current_run,
    report_aliased,
    report_written,
    skip_rest_of_group,
    step,
)
from perennial.openlineage import Volume, report_lineage
from perennial.settings import Settings

if TYPE_CHECKING:
    from perennial.moves.finish import MoveOutcome
    from perennial.warehouse import Warehouse

_WRITTEN = ("interactions", "interactions_archive", "lifecycle_events", "archived_files")


@task_group
def move_files(plan_uris: Any) -> None:
    """Carry out plans; what other writers changed meanwhile is planned once more and carried out in the group `again`.

    Nothing runs where there is no plan, and the second round is skipped where nothing is left.
    """

    @task
    def replan(outcomes: Iterable[dict[str, Any]]) -> list[str]:
        from perennial.moves.recovery import plan_next_round

        # A task that an earlier version ran has itself moved what was left, and says nothing of it.
        unfinished = [outcome["plan_uri"] for outcome in outcomes if outcome.get("left_count")]
        if not unfinished:
            raise AirflowSkipException("Nothing is left: no other writer changed what was moved.")
        with step() as warehouse:
            return plan_next_round(warehouse, unfinished, current_run())

    @task_group
    def again(plan_uris: Any) -> None:
        _carry_out(plan_uris, is_last=True)

    again(replan(_carry_out(plan_uris)))


def _carry_out(plan_uris: Any, is_last: bool = False) -> Any:
    """Copy, verify, commit the destination, commit the origin; returns what became of every plan."""

    # Runs of earlier versions have it by this id: there it only listed the chunks.
    @task(
        task_id="split",
        task_display_name="move or split",
        pool=Settings.from_environment().copy_pool,
        outlets=asset_alias("moved"),
    )
    def move_or_split(plan_uris: list[str]) -> list[dict[str, Any]]:
        """Carry out a move of one chunk here: each further task is a process, which takes as long as such a move."""
        from perennial.moves.inline import carry_out
        from perennial.moves.move_plan import read_plan

        chunks = [{"plan_uri": uri, "chunk": chunk} for uri in plan_uris for chunk in range(read_plan(uri).chunk_count)]
        if len(chunks) == 1:
            with step() as warehouse:
                (moved,) = carry_out(warehouse, plan_uris, current_run()).values()
                if moved.left:
                    # The other tasks find it done, until `commit_origin` says what is left.
                    return chunks
                _report_moved(warehouse, moved)
            report_aliased(get_current_context(), "moved", dict.fromkeys(_WRITTEN, _counts(moved)))
        if len(chunks) < 2:
            skip_rest_of_group()
        return chunks

    @task(pool=Settings.from_environment().copy_pool)
    def copy(plan_uri: str, chunk: int) -> int:
        from perennial.moves.commit import refuse_cancelled
        from perennial.moves.copy import copy_chunk
        from perennial.moves.move_plan import read_plan

        plan = read_plan(plan_uri)
        with step() as warehouse:
            refuse_cancelled(warehouse, plan)
            return copy_chunk(warehouse, plan, chunk)

    @task
    def verify(plan_uri: str) -> str:
        from perennial.moves.move_plan import read_plan
        from perennial.moves.verify import verify_move

        with step() as warehouse:
            return verify_move(warehouse, read_plan(plan_uri)).report_uri

    @task
    def commit_destination(plan_uri: str) -> int:
        from perennial.moves.commit import commit_destination
        from perennial.moves.move_plan import read_plan

        with step() as warehouse:
            return commit_destination(warehouse, read_plan(plan_uri))

    @task(outlets=assets(*_WRITTEN))
    def commit_origin(plan_uri: str) -> dict[str, Any]:
        from perennial.moves.finish import finish_move
        from perennial.moves.move_plan import read_plan

        with step() as warehouse:
            moved = finish_move(warehouse, read_plan(plan_uri), current_run())
            if is_last:
                moved.refuse_rest()
            _report_moved(warehouse, moved)
        counts = _counts(moved)
        report_written(get_current_context(), dict.fromkeys(_WRITTEN, counts))
        return {**counts, "plan_uri": plan_uri, "left_count": len(moved.left)}

    copied = copy.expand_kwargs(move_or_split(plan_uris))
    verified = verify.expand(plan_uri=plan_uris)
    added = commit_destination.expand(plan_uri=plan_uris)
    finished = commit_origin.expand(plan_uri=plan_uris)
    copied >> verified >> added >> finished
    return finished


def _report_moved(warehouse: Warehouse, moved: MoveOutcome) -> None:
    from perennial.moves.finish import count_moved
    from perennial.moves.move_plan import DIRECTIONS, EXPIRE

    count_moved(moved)
    if not moved.source_count:
        return
    direction = DIRECTIONS[moved.direction]
    volume = Volume(row_count=moved.row_count, total_bytes=moved.total_bytes, file_count=moved.file_count)
    written = {direction.destination: volume, "lifecycle_events": Volume(row_count=moved.source_count)}
    if direction is EXPIRE:
        written["archived_files"] = Volume(row_count=moved.file_count)
    report_lineage(warehouse, {direction.origin: volume}, written)


def _counts(moved: MoveOutcome) -> dict[str, Any]:
    return {"direction": moved.direction, "source_count": moved.source_count, "row_count": moved.row_count}
