"""What an answer leaves out, and what that does to it (R16)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from perennial.audiences.needs import Effect, Need
from perennial.counting import count
from perennial.errors import TerminalRequestError
from perennial.notify.again import RestoreAgain, restore_again
from perennial.statements import statement

if TYPE_CHECKING:
    import duckdb

# Sources that a sentence names; all of them are in the answer itself.
_NAMED = 5
_NARROWS: frozenset[Effect] = frozenset({"narrows"})


class TerminalIncompleteError(TerminalRequestError):
    """An answer would leave data out, and the caller asked for all of it or nothing.

    Attributes:
        completeness: What would be missing.
    """

    def __init__(self, completeness: Completeness) -> None:
        super().__init__(f"The answer would not be complete. {completeness.sentence()} {completeness.remedy()}".strip())
        self.completeness = completeness


@dataclass(frozen=True, kw_only=True)
class MissingSource:
    """A source that an answer would have needed, and whose interactions it left out.

    Attributes:
        source_id: Campaign or Canvas.
        kind: campaign or canvas; source where nothing but its id is known.
        name: Its name on the platform, or the last that it had there.
        state: expired, or deleted under the previous policy (R18); archived where the source is available and another
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
        """Whether a restore brings back what is missing."""
        return self.state != "deleted"

    @property
    def since_date(self) -> str:
        """The day it began, for a person."""
        return f"{self.since:%Y-%m-%d}" if self.since else "an unknown date"


@dataclass(frozen=True)
class Completeness:
    """What an answer leaves out: every source it would have needed and did not have."""

    missing: tuple[MissingSource, ...] = ()

    @property
    def complete(self) -> bool:
        return not self.missing

    @property
    def can_narrow(self) -> bool:
        """Whether users may be left out who belong in."""
        return any("narrows" in source.effects for source in self.missing)

    @property
    def can_widen(self) -> bool:
        """Whether users may be in who belong out."""
        return any("widens" in source.effects for source in self.missing)

    @property
    def restorable(self) -> tuple[str, ...]:
        """Ids of the sources that a restore brings back."""
        return tuple(source.source_id for source in self.missing if source.is_restorable)

    @property
    def restore(self) -> RestoreAgain | None:
        """The one request that brings back all that can come back."""
        return restore_again(self.restorable, (), (), "Needed by an answer that left it out")

    def sentence(self) -> str:
        """Say for a person what is missing; empty where nothing is."""
        if self.complete:
            return ""
        expired = [source for source in self.missing if source.state == "expired"]
        deleted = [source for source in self.missing if source.state == "deleted"]
        archived = [source for source in self.missing if source.state == "archived"]
        parts = [_expired(expired)] if expired else []
        if archived:
            rows = sum(source.archived_rows for source in archived)
            parts.append(
                f"{count(rows, 'interaction')} that another program put into long-term storage, of "
                f"{_listed([f'{source.kind} {source.source_id!r}' for source in archived])}"
            )
        if deleted:
            parts.append(f"deleted under the previous policy: {_names(deleted)}")
        return f"Left out: {'; '.join(parts)}."

    def remedy(self) -> str:
        """Say how to get it back; empty where nothing can come back."""
        if self.restore is None:
            return ""
        if not self.restore.fits_a_shell:
            return f"To bring it back, trigger restore_interactions with these params: {self.restore.conf}"
        return f"To bring it back: {self.restore.command}"


def find_missing(
    connection: duckdb.DuckDBPyConnection,
    source_ids: Collection[str] | None,
    needs: Mapping[str, Need] | None = None,
) -> Completeness:
    """Find out which of the sources an answer needs are not there.

    Args:
        connection: With `source_states` and `lifecycle_events` in place.
        source_ids: The sources the answer needs; None: all there are.
        needs: Why each is needed, by source, where the answer is an audience's.
    """
    binds = {"source_ids": None if source_ids is None else sorted(source_ids)}
    if source_ids is not None and not source_ids:
        return Completeness()
    named = needs or {}
    rows = connection.execute(statement("features/list_missing_sources"), binds).fetchall()
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


def _effects(need: Need, state: str) -> frozenset[Effect]:
    # An expired source is out of sight whole; of a deleted one that is active again, what came since is there.
    return need.effects if state == "expired" else need.effects | need.effects_in_part


def _expired(sources: list[MissingSource]) -> str:
    rows = sum(source.archived_rows for source in sources)
    return f"{count(rows, 'expired interaction')} of {_names(sources)}"


def _names(sources: list[MissingSource]) -> str:
    return _listed([f"{source.kind} {source.source_id!r} (since {source.since_date})" for source in sources])


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
