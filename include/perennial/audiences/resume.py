"""Resume check: what a stopped campaign or Canvas would miss if it were started again, and what brings it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from perennial.audiences.completeness import MissingSource, find_missing
from perennial.audiences.definitions import TerminalDefinitionError
from perennial.audiences.lookups import dependencies_by_source, resolve_audience
from perennial.audiences.parse import parse
from perennial.engines.sessions import open_deciding_session
from perennial.notify.restore_command import RestoreCommand, build_restore_command
from perennial.platform.vanished import nearest_source, unknown_source
from perennial.statements import statement
from perennial.tables import AUDIENCES, CANVAS_STEPS, SOURCE_VARIANTS

if TYPE_CHECKING:
    import duckdb

    from perennial.warehouse import Warehouse

_TABLES = (AUDIENCES.name, CANVAS_STEPS.name, SOURCE_VARIANTS.name)


@dataclass(frozen=True)
class AudienceProblem:
    """Why an audience cannot be evaluated: an id that the platform does not have, or what cannot be read.

    Attributes:
        part: audience, or the id of the Canvas step whose own audience it is.
        path: The place as a JSON path, in a segment preceded by `segment:<id>`.
        detail: What is wrong and what to do about it.
    """

    part: str
    path: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class ResumeCheck:
    """What a campaign or Canvas would miss if it were started again now.

    Attributes:
        source_id: Campaign or Canvas.
        kind: campaign or canvas.
        name: Its name on the platform.
        status: Its status there.
        state: Where its own interactions are: available, expired, or deleted under the previous policy.
        since: When that began.
        vanished_at: When a sync first missed it; None while the platform has it.
        missing: The missing sources that its audiences need, by part of the audience; each with its effects and the
            places that name it. Sources of tag filters are among them.
        problems: Why some of its audiences cannot be evaluated at all.
    """

    source_id: str
    kind: Literal["campaign", "canvas"]
    name: str
    status: str
    state: Literal["available", "expired", "deleted"]
    since: datetime | None
    vanished_at: datetime | None = None
    missing: Mapping[str, tuple[MissingSource, ...]]
    problems: tuple[AudienceProblem, ...]

    @property
    def ready(self) -> bool:
        """Whether nothing is missing for its audiences; its own interactions come back by themselves (R10).

        False if it has vanished from the platform, because it cannot be started there.
        """
        return self.vanished_at is None and not self.missing and not self.problems

    @property
    def restorable(self) -> tuple[str, ...]:
        """Every missing source that a restore brings back, itself included."""
        own = [self.source_id] if self.state == "expired" else []
        needed = [source.source_id for part in self.missing.values() for source in part if source.is_restorable]
        return tuple(dict.fromkeys([*own, *needed]))

    @property
    def restore(self) -> RestoreCommand | None:
        """The request that brings back everything that can be restored."""
        return build_restore_command(self.restorable, (), (), f"To start {self.kind} {self.source_id} again")


def check_resume(warehouse: Warehouse, source_id: str) -> ResumeCheck:
    """Check every audience of a campaign or Canvas, through its segments, whatever its status.

    Raises:
        TerminalRequestError: The platform has no such source.
    """
    with open_deciding_session(warehouse, _TABLES) as connection:
        found = connection.execute(statement("audiences/show_source_state"), {"source_id": source_id}).fetchone()
        if found is None:
            raise unknown_source(source_id, 0, nearest_source(connection, source_id))
        kind, name, status, state, since, vanished_at = found
        binds = {"kind": kind, "source_id": source_id}
        parts = connection.execute(statement("audiences/list_source_audiences"), binds).fetchall()
        checked = {part: _check_part(connection, part, text) for part, text in parts}
    return ResumeCheck(
        source_id=source_id,
        kind=kind,
        name=name,
        status=status,
        state=state,
        since=since,
        vanished_at=vanished_at,
        missing={part: missing for part, (missing, _) in checked.items() if missing},
        problems=tuple(problem for _, problems in checked.values() for problem in problems),
    )


def _check_part(
    connection: duckdb.DuckDBPyConnection, part: str, text: str
) -> tuple[tuple[MissingSource, ...], list[AudienceProblem]]:
    try:
        audience = resolve_audience(connection, parse(text))
    except TerminalDefinitionError as error:
        return (), [AudienceProblem(part, error.path, error.remedy)]
    needed = dependencies_by_source(connection, audience.dependencies)
    problems = [AudienceProblem(part, problem.path, problem.detail) for problem in audience.problems]
    return find_missing(connection, needed.keys(), needed).missing, problems
