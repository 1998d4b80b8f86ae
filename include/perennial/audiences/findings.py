"""Findings about one audience definition by itself: it names something that is unknown or missing (R14, R16, R18)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from perennial.audiences.completeness import MissingSource
from perennial.audiences.definitions import Definition, KnownIds, unknown_ids
from perennial.notify.restore_command import build_restore_command
from perennial.settings import dag_id
from perennial.text import pluralize

FindingKind = Literal["forbidden", "unknown", "unreadable", "incomplete"]
CORRECT = f"Correct the definition on the platform, then run {dag_id('sync_sources')}."
_NAMED = 5
_BECAME = {
    "expired": "expired",
    "archived": "another program has put into long-term storage in part",
    "deleted": "the previous policy deleted",
}


class Finding(NamedTuple):
    """One finding about a definition.

    Attributes:
        kind: forbidden (a violation, R18), unknown, unreadable or incomplete.
        filter: The name of the filter; None if the finding is not about a filter.
        path: The place as a JSON path.
        named_id: The id or tag that the filter names.
        detail: What is wrong, for a person.
        remedy: What to do about it.
        restorable: The sources that a restore brings back.
    """

    kind: FindingKind
    filter: str | None
    path: str
    named_id: str | None
    detail: str
    remedy: str
    restorable: tuple[str, ...] = ()


@dataclass
class MissingData:
    """The sources with missing interactions, and the findings about filters that read them.

    Attributes:
        missing: The sources by id.
        tags: Those of them that the filters of a tag read, by tag.
    """

    missing: Mapping[str, MissingSource]
    tags: Mapping[str, list[str]]
    _found: dict[tuple[str, str], Finding | None] = field(default_factory=dict)

    def of(self, kind: Literal["source", "segment", "tag"], name: str) -> Finding | None:
        """Return the finding about a named source or tag, without filter and path; None if nothing is missing."""
        if kind == "segment":
            return None
        if (kind, name) not in self._found:
            self._found[kind, name] = self._of_source(name) if kind == "source" else self._of_tag(name)
        return self._found[kind, name]

    def _of_source(self, source_id: str) -> Finding | None:
        source = self.missing.get(source_id)
        if source is None:
            return None
        if source.state == "deleted":
            detail = f"The previous policy deleted the interactions of {_named(source)} on {source.since_date}."
            remedy = f"Remove the filter, or name another {source.kind}: what was deleted cannot be restored."
            return Finding("forbidden", None, "", source_id, detail, remedy)
        detail = (
            f"The interactions of {_named(source)} expired on {source.since_date}: "
            f"{source.archived_rows:,} of them are in long-term storage and left out."
        )
        if source.state == "archived":
            detail = (
                f"Another program has put {pluralize(source.archived_rows, 'interaction')} of {_named(source)}, which "
                "is available, into long-term storage: they are left out."
            )
        return Finding("incomplete", None, "", source_id, detail, _restore((source_id,)), (source_id,))

    def _of_tag(self, tag: str) -> Finding | None:
        found = [self.missing[name] for name in self.tags.get(tag, ())]
        if not found:
            return None
        restorable = tuple(source.source_id for source in found if source.is_restorable)
        parts = []
        for state, became in _BECAME.items():
            if named := [source.source_id for source in found if source.state == state]:
                parts.append(f"{len(named):,} that {became} ({_listed(named)})")
        detail = f"Of the sources with tag {tag!r} that the filter looks at, it leaves out {' and '.join(parts)}."
        remedy = _restore(restorable) if restorable else "Nothing can be restored: the filter answers without them."
        return Finding("incomplete", None, "", tag, detail, remedy, restorable)


def lint_definition(definition: Definition, known: KnownIds, missing_data: MissingData) -> Iterator[Finding]:
    """List the findings about a definition, without those about the segments it uses.

    A tag filter names no source, so a deleted source that it would have read makes it incomplete, not forbidden.

    Args:
        definition: Checked by `parse`.
        known: The ids that the platform has.
        missing_data: The sources with missing interactions.
    """
    unknown = {problem.path: problem for problem in unknown_ids(definition, known)}
    for use in definition.filters:
        name = use.declared.name
        problems = [unknown[path] for key in use.node if (path := f"{use.path}.{key}") in unknown] if unknown else []
        for problem in problems:
            yield Finding("unknown", name, problem.path, problem.id, sentence(problem.detail), CORRECT)
        # If the platform does not have the source, nothing else is known about it.
        if use.named and not any(problem.unknown == "source" for problem in problems):
            finding = missing_data.of(*use.named)
            if finding is not None:
                yield finding._replace(filter=name, path=use.path)


def sentence(detail: str) -> str:
    """Begin with a capital letter."""
    return f"{detail[0].upper()}{detail[1:]}"


def _restore(source_ids: tuple[str, ...]) -> str:
    again = build_restore_command(source_ids, (), (), "Needed by an audience")
    return again.command if again else ""


def _named(source: MissingSource) -> str:
    return f"{source.kind} {source.source_id!r}"


def _listed(source_ids: tuple[str, ...] | list[str]) -> str:
    more = len(source_ids) - _NAMED
    return ", ".join(map(repr, source_ids[:_NAMED])) + (f" and {more:,} more" if more > 0 else "")
