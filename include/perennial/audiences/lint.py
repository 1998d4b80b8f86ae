"""Violations: every audience that names what it cannot have, whoever owns it (R14, R16, R18)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from perennial.audiences import Definition, TerminalDefinitionError, parse
from perennial.audiences.completeness import find_missing
from perennial.audiences.dependencies import segment_nodes
from perennial.audiences.evaluate import known_ids, sources_by_tag
from perennial.audiences.findings import CORRECT, Finding, MissingData, lint_definition
from perennial.audiences.segment_graph import ReadAudience, SegmentGraph
from perennial.engines.sessions import open_deciding_session
from perennial.sql import statement
from perennial.tables import AUDIENCE_VIOLATIONS, AUDIENCES, CANVAS_STEPS, SOURCE_VARIANTS

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from perennial.warehouse import Warehouse

_TABLES = (AUDIENCES.name, CANVAS_STEPS.name, SOURCE_VARIANTS.name)
# Definitions that are in memory as Python objects at a time, and rows on their way to the table.
_BATCH = 5_000


@dataclass(frozen=True)
class Violation:
    """One thing that is wrong with one audience.

    Attributes:
        owner: owner_kind, owner_id, owner_name, owner_status and part, as in `audiences`.
        flaw: What is wrong, where, and what to do about it.
    """

    owner: dict[str, Any]
    flaw: Finding

    def row(self, checked_at: datetime) -> dict[str, Any]:
        """Return it as a row of `audience_violations`."""
        told = {name: value for name, value in self.flaw._asdict().items() if name != "restorable"}
        return {"checked_at": checked_at, **self.owner, **told}


def find_violations(warehouse: Warehouse) -> Iterator[Violation]:
    """Check every audience of the last sync, whatever its owner's status; a mistake in one stops no other.

    Yields:
        Of each audience every place in its own definition, then once each what the segments it uses bring in.
    """
    import pyarrow.compute as pc

    with open_deciding_session(warehouse, _TABLES) as connection:
        gaps = _gaps(connection)
        audiences = connection.sql(statement("features/select_audiences")).to_arrow_table()
        is_segment = (pc.field("owner_kind") == "segment") & (pc.field("part") == "audience")
        segments, others = audiences.filter(is_segment), audiences.filter(~is_segment)
        known_segments = frozenset(segments["owner_id"].to_pylist())
        look = partial(_look, connection, gaps, known_segments)
        seen = list(look(segments))
        uses = SegmentGraph.of({owner["owner_id"]: read for owner, read in seen})
        for owner, read in chain(seen, look(others)):
            for flaw in uses.flaws(read):
                yield Violation(owner, flaw)


def write_violations(warehouse: Warehouse, run_id: str, checked_at: datetime) -> dict[str, int]:
    """Replace `audience_violations` by what is found now, in one commit.

    Returns:
        Violations by kind.
    """
    import pyarrow as pa

    schema = warehouse.arrow_schema(AUDIENCE_VIOLATIONS.name)
    counts: Counter[str] = Counter()

    def batches() -> Iterator[pa.RecordBatch]:
        found = find_violations(warehouse)
        while some := list(islice(found, _BATCH)):
            counts.update(violation.flaw.violation for violation in some)
            yield pa.RecordBatch.from_pylist([violation.row(checked_at) for violation in some], schema)

    stream = pa.RecordBatchReader.from_batches(schema, batches())
    # A repetition replaces everything again: it may know more than an earlier attempt.
    warehouse.replace_rows(AUDIENCE_VIOLATIONS.name, stream, f"check:{run_id}:{uuid4().hex}")
    return dict(counts)


def _gaps(connection: duckdb.DuckDBPyConnection) -> MissingData:
    missing = {source.source_id: source for source in find_missing(connection, None).missing}
    looked_at = sources_by_tag(connection)
    return MissingData(missing, {tag: [name for name in names if name in missing] for tag, names in looked_at.items()})


def _look(
    connection: duckdb.DuckDBPyConnection, gaps: MissingData, segment_ids: frozenset[str], audiences: pa.Table
) -> Iterator[tuple[dict[str, Any], ReadAudience]]:
    """Look at each definition by itself, a batch at a time; returns them with their owners."""
    for batch in audiences.to_batches(max_chunksize=_BATCH):
        owners = batch.to_pylist()
        parsed = [_parsed(owner.pop("definition")) for owner in owners]
        definitions = [found for found in parsed if isinstance(found, Definition)]
        known = known_ids(connection, definitions)
        # An audience that names what the platform has no longer is answered, but means nothing on the platform.
        there = {source for source in known.sources if source[1] not in known.unchecked}
        known = replace(known, sources=there, segments=segment_ids)
        for owner, found in zip(owners, parsed, strict=True):
            if isinstance(found, Finding):
                yield owner, ReadAudience((found,), ())
            else:
                flaws = tuple(lint_definition(found, known, gaps))
                yield owner, ReadAudience(flaws, tuple(segment_nodes(found)))


def _parsed(text: str) -> Definition | Finding:
    try:
        return parse(text)
    except TerminalDefinitionError as error:
        return Finding("unreadable", None, error.path, None, f"Cannot be read: {error.remedy}", CORRECT)
