"""Worlds of the oracle put into a real warehouse, and audiences asked there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from perennial.audiences.completeness import Completeness
from perennial.audiences.evaluate import open_audience
from perennial.tables import CANVAS_STEPS, SOURCE_VARIANTS, USER_MESSAGE_SUMMARY, USERS
from perennial.warehouse import Warehouse
from tests.audiences.oracle import Node, Row, World
from tests.rows import append_hot
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)


@dataclass(frozen=True)
class Answer:
    """What an audience said."""

    users: list[str]
    completeness: Completeness
    files_of: set[str]


def ask(
    warehouse: Warehouse, definition: Node, now: datetime = NOW, strict: bool = False, counted: bool = True
) -> Answer:
    """Ask for the users of an audience; where they are counted as well, their number must be the number of users."""
    with open_audience(warehouse, json.dumps(definition), now, strict) as audience:
        users = sorted(audience.users().read_all()["user_id"].to_pylist())
        assert not counted or audience.count() == len(users)
        return Answer(
            users,
            audience.completeness,
            {file.source_id for file in audience.session.interaction_files if not file.is_mixed},
        )


def fill(
    warehouse: Warehouse, world: World, rows: list[Row], *, steps: Iterable[Row] = (), variants: Iterable[Row] = ()
) -> None:
    """Put a world into the tables, in place of what was there before; interactions are those given, and are added."""
    workspace = Workspace(warehouse)
    for source in world.sources:
        workspace.source(**{"status": "active", **source})
    workspace.tags = world.tags
    for segment_id, definition in world.segments.items():
        workspace.audience(f"segment:{segment_id}", definition)
    workspace.sync()
    workspace.replace(CANVAS_STEPS.name, [{"name": "A step", **step} for step in steps])
    workspace.replace(SOURCE_VARIANTS.name, [{"name": "A", "is_control": False, **variant} for variant in variants])
    workspace.replace(USERS.name, world.users)
    workspace.replace(USER_MESSAGE_SUMMARY.name, world.summaries)
    append_hot(warehouse, [whole(world, row, number) for number, row in enumerate(rows)])


def whole(world: World, row: Row, number: int | str) -> Row:
    """Add to an interaction what audiences do not look at."""
    kinds = {source["source_id"]: source.get("kind", "campaign") for source in world.sources}
    return {
        "event_id": f"{row['source_id']}#{number}",
        "event_type": "users.messages.email.Send",
        "source_kind": kinds.get(row["source_id"], "campaign"),
        **row,
    }
