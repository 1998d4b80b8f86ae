"""Looks up in a session what an audience names: its segments, the platform's ids, the sources of its tags."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from perennial.audiences.definitions import Definition, KnownIds, TerminalDefinitionError
from perennial.audiences.parse import parse
from perennial.audiences.resolve import Dependency, ResolvedAudience, resolve
from perennial.statements import statement

if TYPE_CHECKING:
    import duckdb


def resolve_audience(connection: duckdb.DuckDBPyConnection, definition: Definition) -> ResolvedAudience:
    """Resolve an audience against what the platform has.

    Args:
        connection: With `known_sources`, `audiences`, `canvas_steps` and `source_variants` in place, as far as the
            definition names segments and sources.
        definition: Its own definition.

    Raises:
        TerminalDefinitionError: The definition of a segment cannot be read; names the segment and the JSON path.
    """
    segments = load_segments(connection, definition)
    return resolve(definition, segments, find_known_ids(connection, [definition, *segments.values()]))


def load_segments(connection: duckdb.DuckDBPyConnection, definition: Definition) -> dict[str, Definition]:
    """Read the segments that a definition uses directly or through others; those that do not exist are left out.

    Raises:
        TerminalDefinitionError: The definition of a segment cannot be read; names the segment and the JSON path.
    """
    segments: dict[str, Definition] = {}
    wanted = {segment_id for _, segment_id in definition.segment_uses}
    while wanted:
        binds = {"segment_ids": sorted(wanted)}
        rows = connection.execute(statement("audiences/select_segment_definitions"), binds).fetchall()
        fresh = {segment_id: _parse_segment(segment_id, text) for segment_id, text in rows}
        segments |= fresh
        wanted = {segment_id for found in fresh.values() for _, segment_id in found.segment_uses} - segments.keys()
    return segments


def _parse_segment(segment_id: str, text: str) -> Definition:
    try:
        return parse(text)
    except TerminalDefinitionError as error:
        raise TerminalDefinitionError(f"segment:{segment_id} {error.path}", error.remedy) from None


def find_known_ids(connection: duckdb.DuckDBPyConnection, definitions: Iterable[Definition]) -> KnownIds:
    """Look up which of the sources, steps and variations that some definitions name are known.

    Sources that have vanished from the platform count as known.
    """
    named = {ref.id for definition in definitions for ref in definition.references if ref.kind == "source"}
    if not named:
        return KnownIds()
    found: dict[str, set[tuple[str, str]]] = {"source": set(), "step": set(), "variant": set(), "absent": set()}
    binds = {"source_ids": sorted(named)}
    for what, owner, name in connection.execute(statement("audiences/list_known_ids"), binds).fetchall():
        found[what].add((owner, name))
    vanished = {source_id for _, source_id in found["absent"]}
    return KnownIds(found["source"] | found["absent"], found["step"], found["variant"], vanished=vanished)


def dependencies_by_source(
    connection: duckdb.DuckDBPyConnection, dependencies: Iterable[Dependency]
) -> dict[str, Dependency]:
    """Replace tags by the sources that their filters read, so that every dependency is on a source."""
    wanted = list(dependencies)
    tags = [dependency.id for dependency in wanted if dependency.kind == "tag"]
    return spread_tags(wanted, sources_by_tag(connection, tags))


def spread_tags(dependencies: Iterable[Dependency], tagged: Mapping[str, Sequence[str]]) -> dict[str, Dependency]:
    """Write dependencies by source: those on a tag become one on each of the sources that its filters look at."""
    found: dict[str, Dependency] = {}
    for dependency in dependencies:
        for source_id in [dependency.id] if dependency.kind == "source" else tagged.get(dependency.id, ()):
            one = replace(dependency, kind="source", id=source_id)
            found[source_id] = found[source_id].joined(one) if source_id in found else one
    return found


def sources_by_tag(connection: duckdb.DuckDBPyConnection, tags: Collection[str] | None = None) -> dict[str, list[str]]:
    """List the sources that tag filters read, by tag; tags without sources are left out.

    Args:
        connection: With `known_sources` and `known_source_tags` in place.
        tags: The tags; None for all.
    """
    if tags is not None and not tags:
        return {}
    wanted, binds = "SELECT tag FROM known_source_tags", {}
    if tags is not None:
        wanted, binds = "SELECT unnest($tags::VARCHAR[])", {"tags": list(tags)}
    sql = f"{statement('audiences/select_tag_sources').replace('$tags', wanted)}\nORDER BY tag, place"
    found: dict[str, list[str]] = {}
    for tag, source_id in connection.execute(sql, binds).fetchall():
        found.setdefault(tag, []).append(source_id)
    return found
