"""The tasks that both directions share: steps 2 to 6 of a move, mapped over plans and over chunks of equal bytes.

Their number does not depend on the number of sources. XCom carries addresses and counts.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import get_current_context, task, task_group

from perennial.airflow import assets, current_run, report_written, step
from perennial.settings import Settings


@task_group
def move_files(plan_uris: Any) -> None:
    """Copy, verify, commit the destination, commit the origin; nothing runs where there is no plan."""

    @task
    def split(plan_uris: list[str]) -> list[dict[str, Any]]:
        from perennial.moves.steps import chunk_count

        return [{"plan_uri": uri, "chunk": chunk} for uri in plan_uris for chunk in range(chunk_count(uri))]

    @task(pool=Settings.from_environment().copy_pool)
    def copy(plan_uri: str, chunk: int) -> int:
        from perennial.moves.steps import copy_files

        with step() as warehouse:
            return copy_files(warehouse, plan_uri, chunk)

    @task
    def verify(plan_uri: str) -> str:
        from perennial.moves.steps import verify_copies

        with step() as warehouse:
            return verify_copies(warehouse, plan_uri).report_uri

    @task
    def commit_destination(plan_uri: str) -> int:
        from perennial.moves.steps import add_copies

        with step() as warehouse:
            return add_copies(warehouse, plan_uri)

    @task(outlets=assets("interactions", "interactions_archive", "lifecycle_events", "archived_files"))
    def commit_origin(plan_uri: str) -> dict[str, Any]:
        from perennial.moves.finish import finish_move

        with step() as warehouse:
            moved = finish_move(warehouse, plan_uri, current_run())
        counts = {"direction": moved.direction, "source_count": moved.source_count, "row_count": moved.row_count}
        tables = ("interactions", "interactions_archive", "lifecycle_events")
        report_written(get_current_context(), dict.fromkeys(tables, counts))
        return counts

    copied = copy.expand_kwargs(split(plan_uris))
    verified = verify.expand(plan_uri=plan_uris)
    added = commit_destination.expand(plan_uri=plan_uris)
    removed = commit_origin.expand(plan_uri=plan_uris)
    copied >> verified >> added >> removed
