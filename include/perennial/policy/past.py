"""What was decided, and what would have been: from kept decisions, and from the tables as they were."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from perennial.errors import TerminalRequestError
from perennial.policy.decisions import Decision, Explanation, explain
from perennial.statements import statement
from perennial.tables import EXPIRY_DECISIONS
from perennial.text import pluralize

if TYPE_CHECKING:
    from collections.abc import Collection

    from perennial.warehouse import Warehouse


@dataclass(frozen=True)
class KeptDecision:
    """What a run decided about a source, as it was kept.

    Attributes:
        run_id: The run.
        as_of: Its date.
        decision: The decision.
    """

    run_id: str
    as_of: datetime
    decision: Decision


@dataclass(frozen=True)
class Answer:
    """What is known of a source at a moment; as text, what a person reads.

    Attributes:
        at: The moment.
        basis: From which tables the explanation was made, as a sentence.
        explanation: None where the tables of that moment are no longer kept.
        kept: What the last run up to that moment decided; None if none did, or if the moment is to come.
    """

    at: datetime
    basis: str
    explanation: Explanation | None
    kept: KeptDecision | None = None

    def facts(self) -> list[tuple[str, str]]:
        """Return the decision and what it is made from, each with its label; the same label again is left empty."""
        found = self.explanation
        if found is None:
            return []
        decision, gone = found.decision, found.vanished_at
        return [
            ("source", f"{found.name} ({found.kind} {decision.source_id})"),
            ("as of", _minute(self.at)),
            ("decision", decision.decision),
            ("reason", decision.reason),
            ("state", f"{found.state} since {_minute(found.since)}" if found.since else found.state),
            ("status", f"no longer in the platform, as of {_minute(gone)}" if gone else found.status),
            ("clock", _clock(found.clock_events, found.clock_started_by)),
            ("expires", _expiry(decision)),
            ("in hot", pluralize(found.hot_rows, "interaction")),
            *(("held by" if not n else "", words) for n, words in enumerate(found.held_by)),
            *(("kept by" if not n else "", path) for n, path in enumerate(decision.referenced_by)),
        ]

    def sources(self) -> list[str]:
        """Say what a run decided at the time, and from which tables the answer is."""
        kept = self.kept
        if kept is None:
            return [self.basis]
        said = f"The run {kept.run_id} of {_minute(kept.as_of)} UTC decided {kept.decision.decision}: "
        return [said + kept.decision.reason, self.basis]

    def __str__(self) -> str:
        return "\n".join([*(f"{label:8}  {text}" for label, text in self.facts()), *self.sources()])


def _minute(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _expiry(decision: Decision) -> str:
    if decision.expires_at is None:
        return "its clock does not run"
    date = _minute(decision.expires_at)
    return f"not while it is kept; its clock ended on {date}" if decision.decision == "referenced" else date


def _clock(events: dict[str, datetime], started_by: str | None) -> str:
    times = ", ".join(f"{name} {_minute(at)}" for name, at in events.items()) or "no plausible time"
    return f"{times}; started by: {started_by}" if started_by else f"{times}; not running"


def explain_at(
    warehouse: Warehouse, source_id: str, at: datetime, now: datetime, locked: Collection[str] = ()
) -> Answer:
    """Explain a decision about a source at any moment.

    Args:
        warehouse: The warehouse.
        source_id: Campaign or Canvas.
        at: The moment. Of the past, from the tables as they were then; to come, from those of now.
        now: Wall clock.
        locked: Sources that a restore is bringing back now.

    Raises:
        TerminalRequestError, TerminalMetadataError: As `explain`.
    """
    from perennial.warehouse.past import PastWarehouse, TerminalForgottenError

    if at >= now:
        found = explain(warehouse, source_id, at, locked)
        later = at > now
        return Answer(at, f"From the tables as they are now{', if nothing changes by then' if later else ''}.", found)
    kept = kept_decision(warehouse, source_id, at)
    try:
        found = explain(PastWarehouse(warehouse.settings, at), source_id, at)
    except TerminalRequestError as error:
        forgotten = isinstance(error, TerminalForgottenError)
        why = str(error) if forgotten else "the warehouse did not know this source yet."
        if forgotten and kept is not None:
            return Answer(at, why, None, kept)
        found = explain(warehouse, source_id, at, locked)
        return Answer(at, f"From the tables as they are now, and not as they were then: {why}", found, kept)
    return Answer(at, "From the tables as they were then.", found, kept)


def kept_decision(warehouse: Warehouse, source_id: str, at: datetime) -> KeptDecision | None:
    """Find what the last run up to a moment decided about a source; None if none did."""
    from perennial.engines.duckdb import open_session

    with open_session(warehouse, [EXPIRY_DECISIONS.name]) as session:
        binds = {"source_id": source_id, "at": at}
        row = session.execute(statement("policy/find_kept_decision"), binds).fetchone()
    if row is None:
        return None
    run_id, as_of, decision, reason, started, expires, referrers = row
    return KeptDecision(run_id, as_of, Decision(source_id, decision, reason, started, expires, tuple(referrers)))
