"""Audiences evaluated: users or their number, what the answer leaves out, and which files it read (R14-R17)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from perennial.audiences import Definition, KnownIds, TerminalDefinitionError, parse, unknown_ids
from perennial.audiences.compile import AudienceQuery, compile_audience, tag_sources_query
from perennial.audiences.completeness import Completeness, TerminalIncompleteError, find_missing
from perennial.audiences.definitions import NAME_ANOTHER
from perennial.audiences.dependencies import Dependency, segment_nodes
from perennial.engines.sessions import FeatureSession, Opening, open_feature_session
from perennial.platform.vanished import nearest_source
from perennial.refusals import nearest_name, not_known
from perennial.sql import statement
from perennial.tables import AUDIENCES, CANVAS_STEPS, SOURCE_VARIANTS, USER_MESSAGE_SUMMARY, USERS

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from perennial.warehouse import Warehouse

_NAMES = (CANVAS_STEPS.name, SOURCE_VARIANTS.name)


@dataclass(frozen=True)
class Audience:
    """An audience that can be asked, as of one moment of the warehouse.

    Attributes:
        query: The statement it is.
        completeness: What every answer leaves out (R16).
        session: Where it is asked; shows the files it may read.
    """

    query: AudienceQuery
    completeness: Completeness
    session: FeatureSession

    def users(self) -> pa.RecordBatchReader:
        """Stream the users: one column user_id, each user once, in no order."""
        return self.session.facts.query(self.query.sql, self.query.binds)

    def count(self) -> int:
        """Count the users without fetching them."""
        return int(self.session.facts.query(self.query.count_sql, self.query.binds).read_all()["user_count"][0].as_py())

    def keep_users(self, name: str) -> None:
        """Keep the users as a relation of the session's facts, column user_id, for statements that ask more of them."""
        self.session.facts.define(name, self.query.sql, self.query.binds)


def segment_definition(segment_id: str) -> str:
    """Write the definition of a segment's members."""
    return json.dumps({"filter": "segment_membership", "segment_id": segment_id})


@contextmanager
def open_audience(
    warehouse: Warehouse, definition: str, now: datetime, strict: bool = False, all_sources: bool = False
) -> Iterator[Audience]:
    """Check a definition against the platform and make it ready to be asked.

    Args:
        warehouse: Where everything is.
        definition: JSON, as in `docs/reference/filters.md`.
        now: What `days_ago` is counted from.
        strict: Refuse instead of answering short.
        all_sources: Show the interactions of every source, for who asks more of the same moment than who is in the
            audience.

    Raises:
        TerminalDefinitionError: The definition, or that of a segment it uses, is wrong; names the JSON path.
        TerminalIncompleteError: The answer would leave data out, and `strict` was asked for.
    """
    root = parse(definition)
    # Filled in once the tables are open: all that follows has to see them at one moment.
    queries: list[AudienceQuery] = []
    needs: dict[str, Dependency] = {}

    def needed(opening: Opening) -> set[str] | None:
        connection = opening.connection
        # A table takes some milliseconds to open: only those that are asked are.
        if any(segment_nodes(root)):
            opening.show([AUDIENCES.name])
        segments = load_segments(connection, root)
        _refuse_unknown_segments(root, segments)
        definitions = {"": root, **{f"segment:{name} ": found for name, found in segments.items()}}
        if all_sources or any(found.references for found in definitions.values()):
            opening.show(_NAMES)
            _refuse_unknown_ids(connection, definitions)
        queries[:] = [compile_audience(root, segments, now)]
        if USER_MESSAGE_SUMMARY.name in queries[0].tables:
            opening.offer([USER_MESSAGE_SUMMARY.name])
        needs.clear()
        needs.update(by_source(connection, queries[0].needs))
        return None if all_sources else set(needs)

    with open_feature_session(warehouse, [USERS.name], needed) as session:
        completeness = find_missing(session.connection, needs.keys(), needs)
        if strict and not completeness.complete:
            raise TerminalIncompleteError(completeness)
        yield Audience(queries[0], completeness, session)


def load_segments(connection: duckdb.DuckDBPyConnection, definition: Definition) -> dict[str, Definition]:
    """Read the segments that a definition uses, itself or through others; those that do not exist are left out.

    Raises:
        TerminalDefinitionError: A segment's definition cannot be read; names the segment and the JSON path.
    """
    segments: dict[str, Definition] = {}
    wanted = {segment_id for _, segment_id in segment_nodes(definition)}
    while wanted:
        binds = {"segment_ids": sorted(wanted)}
        rows = connection.execute(statement("features/select_segment_definitions"), binds).fetchall()
        fresh = {segment_id: _parsed(segment_id, text) for segment_id, text in rows}
        segments |= fresh
        named = {segment_id for found in fresh.values() for _, segment_id in segment_nodes(found)}
        wanted = named - segments.keys()
    return segments


def _parsed(segment_id: str, text: str) -> Definition:
    try:
        return parse(text)
    except TerminalDefinitionError as error:
        raise TerminalDefinitionError(f"segment:{segment_id} {error.path}", error.remedy) from None


def _refuse_unknown_ids(connection: duckdb.DuckDBPyConnection, definitions: Mapping[str, Definition]) -> None:
    """Refuse definitions that name what the platform does not have.

    Args:
        connection: With `known_sources`, `canvas_steps` and `source_variants` in place.
        definitions: Each by what goes before its JSON paths.

    Raises:
        TerminalDefinitionError: Names the path of each.
    """
    known = known_ids(connection, definitions.values())
    unknown = [
        found._replace(path=f"{where}{found.path}")
        for where, definition in definitions.items()
        for found in unknown_ids(definition, known)
    ]
    if unknown:
        first, more = unknown[0], [found.path for found in unknown[1:]]
        also = f" Unknown as well: {', '.join(more[:20])}{' …' if len(more) > 20 else ''}." if more else ""
        nearest = nearest_source(connection, first.id) if first.kind == "source" else ""
        meant = not_known(first.id, "known source", nearest, "")
        raise TerminalDefinitionError(first.path, f"{meant if nearest else first.flaw}{also}")


def _refuse_unknown_segments(definition: Definition, segments: Collection[str]) -> None:
    """Refuse a definition that names a segment which does not exist.

    Args:
        definition: Whose own filters are looked at, not those of its segments.
        segments: Ids of those that exist.

    Raises:
        TerminalDefinitionError: Names the path.
    """
    for path, segment_id in segment_nodes(definition):
        if segment_id not in segments:
            flaw = not_known(segment_id, "known segment", nearest_name(segment_id, segments), NAME_ANOTHER)
            raise TerminalDefinitionError(f"{path}.segment_id", flaw)


def known_ids(connection: duckdb.DuckDBPyConnection, definitions: Iterable[Definition]) -> KnownIds:
    """Look up what the platform has of all that some definitions name; segments are known as they are named.

    What it has no longer can be asked for all the same.
    """
    named = [reference for definition in definitions for reference in definition.references]
    binds = {"source_ids": sorted({reference.id for reference in named if reference.kind == "source"})}
    found: dict[str, set[tuple[str, str]]] = {"source": set(), "step": set(), "variant": set(), "absent": set()}
    for what, owner, name in connection.execute(statement("features/list_known_ids"), binds).fetchall():
        found[what].add((owner, name))
    segments = {reference.id for reference in named if reference.kind == "segment"}
    unchecked = {source_id for _, source_id in found["absent"]}
    return KnownIds(found["source"] | found["absent"], found["step"], found["variant"], segments, unchecked)


def by_source(connection: duckdb.DuckDBPyConnection, needs: Iterable[Dependency]) -> dict[str, Dependency]:
    """Resolve tags into the sources that their filters look at, so that every need is a source's."""
    wanted = list(needs)
    tagged = sources_by_tag(connection, [need.id for need in wanted if need.kind == "tag"])
    found: dict[str, Dependency] = {}
    for need in wanted:
        for source_id in [need.id] if need.kind == "source" else tagged.get(need.id, []):
            earlier = found.get(source_id)
            found[source_id] = replace(need, kind="source", id=source_id) if earlier is None else _joined(earlier, need)
    return found


def _joined(one: Dependency, other: Dependency) -> Dependency:
    return replace(
        one,
        effects=one.effects | other.effects,
        effects_in_part=one.effects_in_part | other.effects_in_part,
        paths=(*one.paths, *other.paths),
    )


def sources_by_tag(connection: duckdb.DuckDBPyConnection, tags: Collection[str] | None = None) -> dict[str, list[str]]:
    """List the sources that tag filters look at, by tag; those that nothing carries are left out.

    Args:
        connection: With `known_sources` and `known_source_tags` in place.
        tags: Of these tags; None: of all there are.
    """
    found: dict[str, list[str]] = {}
    if tags is None or tags:
        for tag, source_id in connection.execute(*tag_sources_query(tags)).fetchall():
            found.setdefault(tag, []).append(source_id)
    return found
