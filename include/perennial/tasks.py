"""The tasks that both directions share: a move from its plans on, mapped over plans and over chunks of equal bytes.

Their number does not depend on the number of sources. XCom carries addresses and counts; a task reads its plan once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow.sdk import get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowSkipException

from perennial.airflow import assets, current_run, report_written, step
from perennial.settings import Settings


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

    @task
    def split(plan_uris: list[str]) -> list[dict[str, Any]]:
        from perennial.moves.move_plan import read_plan

        return [{"plan_uri": uri, "chunk": chunk} for uri in plan_uris for chunk in range(read_plan(uri).chunk_count)]

    @task(pool=Settings.from_environment().copy_pool)
    def copy(plan_uri: str, chunk: int) -> int:
        from perennial.moves.copy import copy_chunk
        from perennial.moves.move_plan import read_plan

        with step() as warehouse:
            return copy_chunk(warehouse, read_plan(plan_uri), chunk)

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

    @task(outlets=assets("interactions", "interactions_archive", "lifecycle_events", "archived_files"))
    def commit_origin(plan_uri: str) -> dict[str, Any]:
        from perennial.moves.finish import finish_move
        from perennial.moves.move_plan import read_plan

        with step() as warehouse:
            moved = finish_move(warehouse, read_plan(plan_uri), current_run())
            if is_last:
                moved.refuse_rest()
        counts = {"direction": moved.direction, "source_count": moved.source_count, "row_count": moved.row_count}
        tables = ("interactions", "interactions_archive", "lifecycle_events")
        report_written(get_current_context(), dict.fromkeys(tables, counts))
        return {**counts, "plan_uri": plan_uri, "left_count": len(moved.left)}

    copied = copy.expand_kwargs(split(plan_uris))
    verified = verify.expand(plan_uri=plan_uris)
    added = commit_destination.expand(plan_uri=plan_uris)
    finished = commit_origin.expand(plan_uri=plan_uris)
    copied >> verified >> added >> finished
    return finished
