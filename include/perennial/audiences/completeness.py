"""What an answer leaves out, and how that changes the answer (R16)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from perennial.audiences.definitions import Effect
from perennial.errors import TerminalRequestError
from perennial.settings import dag_id
from perennial.statements import statement
from perennial.text import pluralize

if TYPE_CHECKING:
    import duckdb

    from perennial.audiences.resolve import Dependency
    from perennial.notify.restore_command import RestoreCommand

# How many of the missing sources an answer names, by default and at most.
MISSING_LIMIT, MISSING_LIMIT_MOST = 20, 1_000

# How many sources a sentence names; the answer itself has more.
_NAMED = 5
# How many sources one restore command names: nobody pastes more, and a shell accepts 128 kB at most.
_RESTORED_AT_ONCE = 200
_STATES = ("expired", "archived", "deleted")
_NARROWS: frozenset[Effect] = frozenset({"narrows"})


@dataclass(frozen=True)
class MissingPage:
    """Which of the missing sources an answer names: one page of them, the latest first.

    Attributes:
        first: How many come before the page.
        limit: How many the page has at most.
    """

    first: int = 0
    limit: int = MISSING_LIMIT


FIRST_PAGE = MissingPage()


class TerminalIncompleteError(TerminalRequestError):
    """An answer would leave data out, and the caller has requested all of it or nothing.

    Attributes:
        completeness: What would be missing.
        details: The text without the command that restores it (summary), and the states of what is named (missing).
    """

    def __init__(self, completeness: Completeness) -> None:
        summary = f"The answer would not be complete. {completeness.sentence()}"
        super().__init__(f"{summary} {completeness.remedy()}".strip())
        self.completeness = completeness
        states = dict.fromkeys(source.state for source in completeness.missing)
        self.details = {"summary": summary, "missing": ",".join(states)}


@dataclass(frozen=True, kw_only=True)
class MissingSource:
    """A source that an answer would have needed, and whose interactions it left out.

    Attributes:
        source_id: Campaign or Canvas.
        kind: campaign or canvas; source where nothing but its id is known.
        name: Its name on the platform, or the last that it had there.
        state: expired, or deleted under the previous policy; archived where the source is available and another
            program has put some of its interactions into long-term storage.
        since: When that began; None where nobody has recorded it.
        archived_rows: Interactions in long-term storage; none of a deleted source.
        effects: What leaving them out does to an audience: narrows it, widens it (a `not` over it), or both.
        paths: Where the definition names it, as JSON paths; empty where there is no definition.
    """

    source_id: str
    kind: str
    name: str
    state: Literal["expired", "deleted", "archived"]
    since: datetime | None
    archived_rows: int
    effects: frozenset[Effect] = _NARROWS
    paths: tuple[str, ...] = ()

    @property
    def is_restorable(self) -> bool:
        """Whether a restore brings back its missing interactions."""
        return self.state != "deleted"

    @property
    def since_date(self) -> str:
        """The day on which that began, for a person."""
        return f"{self.since:%Y-%m-%d}" if self.since else "an unknown date"


@dataclass(frozen=True)
class CountedSources:
    """Missing sources that an answer counts but does not name.

    Attributes:
        state: As of a `MissingSource`.
        source_count: How many there are.
        archived_rows: Their interactions in long-term storage.
    """

    state: str
    source_count: int
    archived_rows: int


@dataclass(frozen=True)
class Completeness:
    """What an answer leaves out: every source that it needs and whose interactions are missing.

    Attributes:
        missing: The named sources: all that an audience names itself, and one page of the others.
        counted: The others, by state.
        next_from: `first` of the next page; None if there is none.
    """

    missing: tuple[MissingSource, ...] = ()
    counted: tuple[CountedSources, ...] = ()
    next_from: int | None = None

    @property
    def complete(self) -> bool:
        return not (self.missing or self.counted)

    @property
    def missing_count(self) -> int:
        """How many sources are missing, named or not."""
        return len(self.missing) + sum(group.source_count for group in self.counted)

    @property
    def restorable_count(self) -> int:
        """How many of them a restore brings back."""
        others = sum(group.source_count for group in self.counted if group.state != "deleted")
        return len(self.restorable) + others

    @property
    def can_narrow(self) -> bool:
        """Whether users may be missing who belong to the audience."""
        return any("narrows" in source.effects for source in self.missing)

    @property
    def can_widen(self) -> bool:
        """Whether users may be included who do not belong to the audience."""
        return any("widens" in source.effects for source in self.missing)

    @property
    def restorable(self) -> tuple[str, ...]:
        """Ids of the named sources that a restore brings back."""
        return tuple(source.source_id for source in self.missing if source.is_restorable)

    @property
    def restore(self) -> RestoreCommand | None:
        """The request that restores all named sources that can be restored, or the first 200 of them."""
        # Not at the top: it loads the templates of e-mails, and the command line needs only the limits of this module.
        from perennial.notify.restore_command import build_restore_command

        return build_restore_command(
            self.restorable[:_RESTORED_AT_ONCE], (), (), "Needed by an answer that left it out"
        )

    def sentence(self) -> str:
        """Describe for a person what is missing; empty if nothing is."""
        if self.complete:
            return ""
        expired, archived, deleted = map(self._of, _STATES)
        parts = []
        if expired.source_count:
            rows = expired.archived_rows
            parts.append(f"{pluralize(rows, 'expired interaction')} of {self._names('expired')}")
        if archived.source_count:
            rows = archived.archived_rows
            parts.append(
                f"{pluralize(rows, 'interaction')} that another program put into long-term storage, of "
                f"{self._names('archived')}"
            )
        if deleted.source_count:
            parts.append(f"deleted under the previous policy: {self._names('deleted')}")
        return f"Left out: {'; '.join(parts)}."

    def warning(self, lists: bool = False) -> str:
        """Describe what is missing and what that does to the answer; empty if nothing is missing.

        Args:
            lists: Whether the answer lists what users received.
        """
        if self.complete:
            return ""
        # The sources that an audience names have paths; the others only matter to the lists.
        named = replace(self, missing=tuple(source for source in self.missing if source.paths))
        effects = [
            *(["some users may be missing"] if named.can_narrow else []),
            *(["some users may be included by mistake"] if named.can_widen else []),
            *(["the lists of received messages may be incomplete"] if lists else []),
        ]
        return f"{self.sentence()} So {' and '.join(effects)}."

    @property
    def is_named_whole(self) -> bool:
        """Whether the sentence names every source."""
        return all(self._of(state).source_count <= _NAMED for state in _STATES) and not self.counted

    def remedy(self) -> str:
        """Describe how to get it back; empty if nothing can be restored."""
        if self.restore is None:
            return ""
        asked = min(len(self.restorable), _RESTORED_AT_ONCE)
        what = "it" if asked == self.restorable_count else f"{asked:,} of {self.restorable_count:,} sources"
        if not self.restore.fits_a_shell:
            return (
                f"To bring {what} back, trigger {dag_id('restore_interactions')} with these params: {self.restore.conf}"
            )
        return f"To bring {what} back: {self.restore.command}"

    def _of(self, state: str) -> CountedSources:
        """Count all sources of a state, named or not."""
        named = [source.archived_rows for source in self.missing if source.state == state]
        others = [group for group in self.counted if group.state == state]
        return CountedSources(
            state,
            len(named) + sum(group.source_count for group in others),
            sum(named) + sum(group.archived_rows for group in others),
        )

    def _names(self, state: str) -> str:
        named = [source for source in self.missing if source.state == state][:_NAMED]
        more = self._of(state).source_count - len(named)
        if not named:
            return pluralize(more, "source")
        return ", ".join(map(_named, named)) + (f" and {more:,} more" if more else "")


NOTHING_MISSING = Completeness()


def find_missing(
    connection: duckdb.DuckDBPyConnection,
    source_ids: Collection[str] | None,
    dependencies: Mapping[str, Dependency] | None = None,
) -> Completeness:
    """Find out which of the sources that an answer needs are missing.

    Args:
        connection: With `source_states` and `lifecycle_events` in place.
        source_ids: The sources that the answer needs; None for all.
        dependencies: For the answer of an audience: what each source is needed for.
    """
    binds = {"source_ids": None if source_ids is None else sorted(source_ids)}
    if source_ids is not None and not source_ids:
        return NOTHING_MISSING
    named = dependencies or {}
    rows = connection.execute(statement("audiences/list_missing_sources"), binds).fetchall()
    return Completeness(
        tuple(
            MissingSource(
                source_id=source_id,
                kind=kind,
                name=name,
                state=state,
                since=since,
                archived_rows=archived_rows,
                effects=_effects(named[source_id], state) if source_id in named else _NARROWS,
                paths=named[source_id].paths if source_id in named else (),
            )
            for source_id, kind, name, state, since, archived_rows in rows
        )
    )


def find_missing_page(
    connection: duckdb.DuckDBPyConnection, kinds: Collection[str], page: MissingPage, named: Completeness
) -> Completeness:
    """Find out which sources the lists of received messages leave out: name some, and count the others.

    Args:
        connection: With `source_states`, `lifecycle_events` and `misplaced_rows` in place; later calls see what the
            first one saw.
        kinds: The kinds of sources that the lists are about. Sources of which the platform has forgotten the kind are
            left out of every list.
        page: Which sources to name.
        named: What the answer leaves out besides, and names whole.
    """
    connection.execute(
        f"CREATE TEMP TABLE IF NOT EXISTS missing_sources AS {statement('audiences/list_missing_sources')}",
        {"source_ids": None},
    )
    binds = {
        "kinds": sorted({*kinds, "source"}),
        "named_ids": [source.source_id for source in named.missing],
    }
    paged = {"first": page.first, "most": page.limit}
    rows = connection.execute(statement("audiences/page_missing_sources"), binds | paged).fetchall()
    found = tuple(
        MissingSource(source_id=source_id, kind=kind, name=name, state=state, since=since, archived_rows=archived_rows)
        for source_id, kind, name, state, since, archived_rows in rows
    )
    sources, archived = Counter(source.state for source in found), Counter[str]()
    for source in found:
        archived[source.state] += source.archived_rows
    totals = connection.execute(statement("audiences/sum_missing_sources"), binds).fetchall()
    counted = tuple(
        CountedSources(state, source_count - sources[state], archived_rows - archived[state])
        for state, source_count, archived_rows in totals
        if source_count > sources[state]
    )
    end = page.first + len(found)
    is_last = end >= sum(source_count for _, source_count, _ in totals)
    return Completeness((*named.missing, *found), counted, None if is_last else end)


def _effects(dependency: Dependency, state: str) -> frozenset[Effect]:
    # An expired source is hidden as a whole; of a deleted one that is active again, newer interactions are there.
    return dependency.effects if state == "expired" else dependency.effects | dependency.effects_in_part


def _named(source: MissingSource) -> str:
    since = f" (since {source.since_date})" if source.state != "archived" else ""
    return f"{source.kind} {source.source_id!r}{since}"
