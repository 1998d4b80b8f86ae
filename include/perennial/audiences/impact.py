"""Audience impact: which audiences lose or gain users when the interactions of some sources expire (R14, R20)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from perennial.audiences.compile import compile_impact
from perennial.audiences.definitions import Definition, Effect, KnownIds, TerminalDefinitionError
from perennial.audiences.lookups import find_known_ids, sources_by_tag, spread_tags
from perennial.audiences.parse import parse
from perennial.audiences.resolve import Dependency, ResolvedAudience, resolve
from perennial.audiences.segment_graph import SegmentGraph
from perennial.engines.sessions import FeatureSession, Opening, open_feature_session
from perennial.statements import statement
from perennial.tables import AUDIENCES, CANVAS_STEPS, SOURCE_VARIANTS, USER_MESSAGE_SUMMARY, USERS
from perennial.text import pluralize

if TYPE_CHECKING:
    import pyarrow as pa

    from perennial.warehouse import Warehouse

# Definitions that are in memory as Python objects at a time.
_BATCH = 5_000
# Filters of the audiences that one statement counts: each is a column of flags, and an engine plans some hundreds well.
_FILTERS_AT_ONCE = 400
# Users times audiences that are looked at in full, about half a minute on two cores; above it users are sampled.
ANSWER_LIMIT = 400_000_000


@dataclass(frozen=True)
class AudienceImpact:
    """An audience that looks at interactions which are about to expire.

    Attributes:
        owner: owner_kind, owner_id, owner_name, owner_status and part, as in `audiences`.
        sources: The sources that it looks at and that expire.
        effects: What leaving them out can do to it: narrows, widens, or both.
        users_now: Its users today; None if they cannot be counted, see `problem`.
        users_after: Its users once the sources have expired.
        lost: Users of today who will be missing.
        gained: Users who will be in it and are not today.
        problem: Why it cannot be evaluated; empty if it can.
    """

    owner: Mapping[str, Any]
    sources: tuple[str, ...]
    effects: frozenset[Effect]
    users_now: int | None = None
    users_after: int | None = None
    lost: int | None = None
    gained: int | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        """Its owner, for a person."""
        label = self.owner["owner_name"] or self.owner["owner_id"]
        step = "" if self.owner["part"] == "audience" else f", step {self.owner['part']}"
        return f"{self.owner['owner_kind'].replace('_', ' ')} {label!r}{step}"

    @property
    def changes(self) -> bool:
        """Whether anybody enters or leaves it, as far as that can be counted."""
        return bool(self.lost or self.gained or self.users_now is None)

    def sentence(self) -> str:
        """Say what happens to it."""
        if self.users_now is None:
            return f"{self.name} cannot be evaluated: {self.problem}"
        if not self.changes:
            return f"{self.name} keeps its {pluralize(self.users_now, 'user')}."
        parts = [f"loses {self.lost:,}"] if self.lost else []
        parts += [f"gains {self.gained:,} who do not belong to it"] if self.gained else []
        return f"{self.name} {' and '.join(parts)} of {pluralize(self.users_now, 'user')}."


@dataclass(frozen=True)
class Impact:
    """What the expiry of some sources does to audiences.

    Attributes:
        audiences: Every audience that looks at one of them, those that change most first.
        source_count: How many sources were asked about.
        sampled: The share of users that was looked at; numbers of users are scaled up where it is less than 1.
    """

    audiences: tuple[AudienceImpact, ...]
    source_count: int
    sampled: float = 1

    @property
    def changed(self) -> tuple[AudienceImpact, ...]:
        """The audiences that change, or may."""
        return tuple(audience for audience in self.audiences if audience.changes)

    def of_source(self, source_id: str) -> tuple[AudienceImpact, ...]:
        """The audiences that look at one source."""
        return tuple(audience for audience in self.audiences if source_id in audience.sources)

    def sentence(self) -> str:
        """Say it in one sentence."""
        sources = pluralize(self.source_count, "source")
        if not self.changed:
            return f"No audience loses or gains users when {sources} expire{'s' if self.source_count == 1 else ''}."
        lost = sum(audience.lost or 0 for audience in self.changed)
        gained = sum(audience.gained or 0 for audience in self.changed)
        estimated = f", estimated from {self.sampled:.1%} of the users" if self.sampled < 1 else ""
        return (
            f"{pluralize(len(self.changed), 'audience')} change{'s' if len(self.changed) == 1 else ''}: "
            f"{lost:,} memberships are lost and {gained:,} are gained{estimated}."
        )


class _Affected(NamedTuple):
    """An audience that looks at one of some sources, itself, by a tag or through a segment.

    Attributes:
        owner: As in `AudienceImpact`.
        needed: What it depends on, by source.
        resolved: What it takes to answer it.
    """

    owner: dict[str, Any]
    needed: dict[str, Dependency]
    resolved: ResolvedAudience


def find_impact(warehouse: Warehouse, source_ids: Collection[str], now: datetime) -> Impact:
    """Count the users of every audience with and without the interactions of some sources, in one pass for all.

    Audiences of active owners are included where they look at a source by its tag: a tag keeps nothing (R5).

    Args:
        warehouse: Where everything is.
        source_ids: The sources that expire.
        now: When: what `days_ago` is counted from.
    """
    wanted = frozenset(source_ids)

    def opened(opening: Opening) -> tuple[FeatureSession, list[_Affected]]:
        affected = _find_affected(opening, wanted)
        opening.offer([USER_MESSAGE_SUMMARY.name])
        return opening.session({source_id for audience in affected for source_id in audience.needed}), affected

    session, affected = open_feature_session(warehouse, [USERS.name], opened)
    with session:
        found, sampled = _counted(session, affected, wanted, now)
    ordered = sorted(found, key=lambda audience: (-(audience.lost or 0) - (audience.gained or 0), audience.name))
    return Impact(tuple(ordered), len(wanted), sampled)


def affected_sources(warehouse: Warehouse, source_ids: Collection[str]) -> list[frozenset[str]]:
    """List, of every audience that looks at one of some sources, which of them; nothing is evaluated."""
    wanted = frozenset(source_ids)

    def opened(opening: Opening) -> list[_Affected]:
        with opening.connection:
            return _find_affected(opening, wanted)

    return [wanted & audience.needed.keys() for audience in open_feature_session(warehouse, (), opened)]


# --- which audiences --------------------------------------------------------------------------------------------------


def _find_affected(opening: Opening, source_ids: frozenset[str]) -> list[_Affected]:
    import pyarrow.compute as pc

    opening.show([AUDIENCES.name, CANVAS_STEPS.name, SOURCE_VARIANTS.name])
    connection = opening.connection
    audiences = connection.sql(statement("audiences/select_audiences")).to_arrow_table()
    is_segment = (pc.field("owner_kind") == "segment") & (pc.field("part") == "audience")
    tags = sources_by_tag(connection)
    looked_at = frozenset(tag for tag, sources in tags.items() if not source_ids.isdisjoint(sources))
    owned = list(_definitions(audiences.filter(is_segment)))
    segments = {owner["owner_id"]: definition for owner, definition in owned}
    reaching = _reaching(segments, source_ids, looked_at)
    affected = [
        (owner, definition)
        for owner, definition in chain(owned, _definitions(audiences.filter(~is_segment)))
        if _names(definition, source_ids, looked_at)
        or any(segment_id in reaching for _, segment_id in definition.segment_uses)
    ]
    graph = SegmentGraph.of({name: segment.segment_uses for name, segment in segments.items()})
    used = [{name: segments[name] for name in graph.reached(found.segment_uses)} for _, found in affected]
    known = _known(opening, [found for _, found in affected], used)
    found = []
    for (owner, definition), reached in zip(affected, used, strict=True):
        resolved = resolve(definition, reached, known)
        found.append(_Affected(owner, spread_tags(resolved.dependencies, tags), resolved))
    return found


def _definitions(audiences: pa.Table) -> Iterator[tuple[dict[str, Any], Definition]]:
    """Parse definitions, a batch at a time; those that cannot be read are reported by `perennial check` (R18)."""
    for batch in audiences.to_batches(max_chunksize=_BATCH):
        for owner in batch.to_pylist():
            try:
                definition = parse(owner.pop("definition"))
            except TerminalDefinitionError:
                continue
            yield owner, definition


def _names(definition: Definition, source_ids: frozenset[str], tags: frozenset[str]) -> bool:
    named = {reference.id for reference in definition.references if reference.kind == "source"}
    if not named.isdisjoint(source_ids):
        return True
    # Only a definition with a tag in it needs its filters walked.
    return bool(tags) and any(
        use.named is not None and use.named[0] == "tag" and use.named[1] in tags for use in definition.filters
    )


def _reaching(segments: Mapping[str, Definition], source_ids: frozenset[str], tags: frozenset[str]) -> frozenset[str]:
    """Find the segments that look at the sources, themselves or through others."""
    found = {name for name, segment in segments.items() if _names(segment, source_ids, tags)}
    users: dict[str, list[str]] = {}
    for name, segment in segments.items():
        for _, used in segment.segment_uses:
            users.setdefault(used, []).append(name)
    waiting = list(found)
    while waiting:
        for name in users.get(waiting.pop(), ()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return frozenset(found)


def _known(
    opening: Opening, definitions: Sequence[Definition], segments: Sequence[Mapping[str, Definition]]
) -> KnownIds:
    everything = {id(found): found for found in definitions}
    everything |= {id(found): found for reached in segments for found in reached.values()}
    return find_known_ids(opening.connection, everything.values())


# --- how many users ---------------------------------------------------------------------------------------------------


def _counted(
    session: FeatureSession, affected: Sequence[_Affected], source_ids: frozenset[str], now: datetime
) -> tuple[list[AudienceImpact], float]:
    impacts = [
        AudienceImpact(
            owner,
            tuple(sorted(needed.keys() & source_ids)),
            frozenset().union(*(needed[name].effects for name in needed.keys() & source_ids)),
            problem=resolved.problems[0].detail if resolved.problems else "",
        )
        for owner, needed, resolved in affected
    ]
    resolved = [audience.resolved for audience in affected]
    able = [number for number, audience in enumerate(resolved) if not audience.problems]
    sampled = _sampled(session, len(able))
    # Neighbours look at the same sources, so that each statement reads few files.
    able.sort(key=lambda number: impacts[number].sources)
    for batch in _batches(able, resolved):
        try:
            query = compile_impact([resolved[number] for number in batch], source_ids, now, sampled)
        except TerminalDefinitionError as error:
            for number in batch:
                impacts[number] = replace(impacts[number], problem=error.remedy)
            continue
        row = session.queries.query(query.sql, query.binds).read_all().to_pylist()[0]
        for place, number in enumerate(batch, start=1):
            today, after, lost, gained = (
                round(int(row[f"{name}_{place}"] or 0) / sampled) for name in ("now", "after", "lost", "gained")
            )
            impacts[number] = replace(impacts[number], users_now=today, users_after=after, lost=lost, gained=gained)
    return impacts, sampled


def _sampled(session: FeatureSession, audience_count: int) -> float:
    """Choose the share of users that is looked at: all of them, or as many as the limit allows."""
    if session.queries.dialect != "duckdb":
        return 1
    counted = session.queries.query("SELECT count(*) AS user_count FROM users").read_all()
    work = int(counted["user_count"][0].as_py()) * audience_count
    return min(1.0, ANSWER_LIMIT / work) if work else 1.0


def _batches(numbers: Sequence[int], resolved: Sequence[ResolvedAudience]) -> Iterator[list[int]]:
    batch: list[int] = []
    size = 0
    for number in numbers:
        audience = resolved[number]
        filters = len(audience.definition.filters) + sum(len(found.filters) for found in audience.segments.values())
        if batch and size + filters > _FILTERS_AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(number)
        size += filters
    if batch:
        yield batch
