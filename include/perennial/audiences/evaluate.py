"""Evaluates audiences: their users or the number of users, what the answer leaves out, and the files read (R14-R17)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from perennial.audiences.compile import AudienceQuery, compile_audience
from perennial.audiences.completeness import Completeness, TerminalIncompleteError, find_missing
from perennial.audiences.definitions import Definition, Problem, TerminalDefinitionError
from perennial.audiences.lookups import dependencies_by_source, resolve_audience
from perennial.audiences.parse import parse
from perennial.engines.sessions import FeatureSession, Opening, open_feature_session
from perennial.platform.vanished import nearest_source
from perennial.refusals import nearest_name, not_known
from perennial.tables import AUDIENCES, CANVAS_STEPS, SOURCE_VARIANTS, USER_MESSAGE_SUMMARY, USERS

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from perennial.warehouse import Warehouse

# How many further unknown ids an error names.
_NAMED = 20


@dataclass(frozen=True)
class Audience:
    """An audience that is ready to be evaluated, as of one moment of the warehouse.

    Attributes:
        query: Its statement.
        completeness: What every answer leaves out (R16).
        session: The session that evaluates it; it knows the files that may be read.
    """

    query: AudienceQuery
    completeness: Completeness
    session: FeatureSession

    def users(self) -> pa.RecordBatchReader:
        """Stream the users: one column user_id, each user once, in no order."""
        return self.session.queries.query(self.query.sql, self.query.binds)

    def count(self) -> int:
        """Count the users without fetching them."""
        counted = self.session.queries.query(self.query.count_sql, self.query.binds).read_all()
        return int(counted["user_count"][0].as_py())

    def define_users(self, name: str) -> None:
        """Make the users a relation of the session, with column user_id, for further statements about them."""
        self.session.queries.define(name, self.query.sql, self.query.binds)


def segment_definition(segment_id: str) -> str:
    """Return the definition that selects the members of a segment."""
    return json.dumps({"filter": "segment_membership", "segment_id": segment_id})


@contextmanager
def open_audience(
    warehouse: Warehouse, definition: str, now: datetime, strict: bool = False, all_sources: bool = False
) -> Iterator[Audience]:
    """Check a definition against the platform and prepare its evaluation.

    Args:
        warehouse: The warehouse.
        definition: JSON, as in `docs/reference/filters.md`.
        now: The moment from which `days_ago` is counted.
        strict: Whether to fail instead of returning an incomplete answer.
        all_sources: Whether the session has the interactions of every source, for further queries at the same moment.

    Raises:
        TerminalDefinitionError: The definition, or that of a segment it uses, is wrong; names the JSON path.
        TerminalIncompleteError: The answer would leave data out, and `strict` is set.
    """
    parsed = parse(definition)
    audience = open_feature_session(
        warehouse, [USERS.name], lambda opening: _audience(opening, parsed, now, all_sources)
    )
    with audience.session:
        if strict and not audience.completeness.complete:
            raise TerminalIncompleteError(audience.completeness)
        yield audience


def _audience(opening: Opening, definition: Definition, now: datetime, all_sources: bool) -> Audience:
    # Opening a table takes some milliseconds, so only the tables that are read are opened.
    if definition.segment_uses:
        opening.show([AUDIENCES.name])
    if definition.references or all_sources:
        opening.show([CANVAS_STEPS.name, SOURCE_VARIANTS.name])
    resolved = resolve_audience(opening.connection, definition)
    _refuse_problems(opening.connection, resolved.problems)
    query = compile_audience(resolved, now)
    if USER_MESSAGE_SUMMARY.name in query.tables:
        opening.offer([USER_MESSAGE_SUMMARY.name])
    needed = dependencies_by_source(opening.connection, resolved.dependencies)
    session = opening.session(None if all_sources else needed.keys())
    return Audience(query, find_missing(session.connection, needed.keys(), needed), session)


def _refuse_problems(connection: duckdb.DuckDBPyConnection, problems: tuple[Problem, ...]) -> None:
    if not problems:
        return
    first, *others = problems
    detail = first.detail
    if nearest := _nearest(connection, first):
        detail = not_known(first.id, f"known {first.unknown}", nearest, "")
    if more := [problem.path for problem in others if problem.unknown]:
        detail += f" Unknown as well: {', '.join(more[:_NAMED])}{' …' if len(more) > _NAMED else ''}."
    raise TerminalDefinitionError(first.path, detail)


def _nearest(connection: duckdb.DuckDBPyConnection, problem: Problem) -> str:
    if problem.unknown == "source":
        return nearest_source(connection, problem.id)
    if problem.unknown == "segment":
        rows = connection.execute("SELECT owner_id FROM audiences WHERE owner_kind = 'segment'").fetchall()
        return nearest_name(problem.id, {segment_id for (segment_id,) in rows})
    return ""
