"""Checks every audience, whatever its owner, for what is unknown, missing or unreadable (R14, R16, R18)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from perennial.audiences.completeness import find_missing
from perennial.audiences.definitions import Definition, TerminalDefinitionError
from perennial.audiences.findings import CORRECT, Finding, MissingData, lint_definition, sentence
from perennial.audiences.lookups import find_known_ids, sources_by_tag
from perennial.audiences.parse import parse
from perennial.audiences.segment_graph import SegmentGraph, Uses
from perennial.engines.sessions import open_deciding_session
from perennial.statements import statement
from perennial.tables import AUDIENCE_VIOLATIONS, AUDIENCES, CANVAS_STEPS, SOURCE_VARIANTS

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from perennial.warehouse import Warehouse

_TABLES = (AUDIENCES.name, CANVAS_STEPS.name, SOURCE_VARIANTS.name)
# How many definitions are in memory as Python objects at a time, and how many rows are written at a time.
_BATCH = 5_000


@dataclass(frozen=True)
class AudienceFinding:
    """One finding about one audience.

    Attributes:
        owner: owner_kind, owner_id, owner_name, owner_status and part, as in `audiences`.
        finding: What is wrong, where, and what to do about it.
    """

    owner: dict[str, Any]
    finding: Finding

    def row(self, checked_at: datetime) -> dict[str, Any]:
        """Return it as a row of `audience_violations`."""
        columns = self.finding._asdict()
        del columns["restorable"]
        return {"checked_at": checked_at, **self.owner, "violation": columns.pop("kind"), **columns}


class _Linted(NamedTuple):
    """What is kept of a checked definition.

    Attributes:
        findings: The findings about it by itself.
        uses: The segments it names.
    """

    findings: tuple[Finding, ...]
    uses: Uses


def lint_audiences(warehouse: Warehouse) -> Iterator[AudienceFinding]:
    """Check every audience of the last sync, whatever its owner's status; a mistake in one does not affect the others.

    Yields:
        The findings about each audience: every place in its own definition, then each finding of its segments once.
    """
    import pyarrow.compute as pc

    with open_deciding_session(warehouse, _TABLES) as connection:
        audiences = connection.sql(statement("audiences/select_audiences")).to_arrow_table()
        is_segment = (pc.field("owner_kind") == "segment") & (pc.field("part") == "audience")
        segments, others = audiences.filter(is_segment), audiences.filter(~is_segment)
        known_segments = frozenset(segments["owner_id"].to_pylist())
        lint = partial(_lint, connection, _missing_data(connection), known_segments)
        linted = list(lint(segments))
        by_id = {owner["owner_id"]: segment for owner, segment in linted}
        graph = SegmentGraph.of({segment_id: segment.uses for segment_id, segment in by_id.items()})
        for owner, audience in chain(linted, lint(others)):
            for finding in chain(audience.findings, _of_segments(graph, by_id, audience.uses)):
                yield AudienceFinding(owner, finding)


def write_findings(warehouse: Warehouse, run_id: str, checked_at: datetime) -> dict[str, int]:
    """Replace `audience_violations` by the current findings, in one commit.

    Returns:
        Findings by kind.
    """
    import pyarrow as pa

    schema = warehouse.arrow_schema(AUDIENCE_VIOLATIONS.name)
    counts: Counter[str] = Counter()

    def batches() -> Iterator[pa.RecordBatch]:
        found = lint_audiences(warehouse)
        while some := list(islice(found, _BATCH)):
            counts.update(each.finding.kind for each in some)
            yield pa.RecordBatch.from_pylist([each.row(checked_at) for each in some], schema)

    stream = pa.RecordBatchReader.from_batches(schema, batches())
    # A repetition replaces everything again, because it may have newer data than an earlier attempt.
    warehouse.replace_rows(AUDIENCE_VIOLATIONS.name, stream, f"check:{run_id}:{uuid4().hex}")
    return dict(counts)


def _missing_data(connection: duckdb.DuckDBPyConnection) -> MissingData:
    missing = {source.source_id: source for source in find_missing(connection, None).missing}
    looked_at = sources_by_tag(connection)
    return MissingData(missing, {tag: [name for name in names if name in missing] for tag, names in looked_at.items()})


def _lint(
    connection: duckdb.DuckDBPyConnection, missing_data: MissingData, segment_ids: frozenset[str], audiences: pa.Table
) -> Iterator[tuple[dict[str, Any], _Linted]]:
    """Check each definition by itself, in batches; returns the results with their owners."""
    for batch in audiences.to_batches(max_chunksize=_BATCH):
        owners = batch.to_pylist()
        parsed = [_parsed(owner.pop("definition")) for owner in owners]
        known = find_known_ids(connection, [found for found in parsed if isinstance(found, Definition)])
        # An audience that names something vanished can be evaluated here, but means nothing on the platform.
        there = {source for source in known.sources or () if source[1] not in known.vanished}
        known = replace(known, sources=there, segments=segment_ids)
        for owner, found in zip(owners, parsed, strict=True):
            if isinstance(found, Finding):
                yield owner, _Linted((found,), ())
            else:
                yield owner, _Linted(tuple(lint_definition(found, known, missing_data)), found.segment_uses)


def _parsed(text: str) -> Definition | Finding:
    try:
        return parse(text)
    except TerminalDefinitionError as error:
        return Finding("unreadable", None, error.path, None, f"Cannot be read: {error.remedy}", CORRECT)


def _of_segments(graph: SegmentGraph, segments: Mapping[str, _Linted], uses: Uses) -> Iterator[Finding]:
    """List the findings that an audience has because of its segments.

    What several segments name is listed once, at the place that the shortest chain of segments reaches first. If an
    audience cannot be evaluated because of its segments, that is its only finding of this kind.
    """
    if problem := graph.problem(uses):
        named_by = "segment_membership" if problem.id else None
        yield Finding("unreadable", named_by, problem.path, problem.id or None, sentence(problem.detail), CORRECT)
        return
    seen: set[str] = set()
    for name in graph.reached(uses):
        for finding in segments[name].findings:
            path = f"segment:{name} {finding.path}"
            # A finding about an id is the same wherever the id is named.
            said = finding.detail if finding.named_id else path
            if said not in seen:
                seen.add(said)
                yield finding._replace(path=path)
