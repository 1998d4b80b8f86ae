"""What was decided, and what would have been: from kept decisions, and from the tables as they were."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from perennial.errors import TerminalRequestError
from perennial.policy.decisions import Decision, Explanation, explain
from perennial.statements import statement
from perennial.tables import EXPIRY_DECISIONS

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
    """What is known of a source at a moment.

    Attributes:
        basis: From which tables the explanation was made, as a sentence.
        explanation: None where the tables of that moment are no longer kept.
        kept: What the last run up to that moment decided; None if none did, or if the moment is to come.
    """

    basis: str
    explanation: Explanation | None
    kept: KeptDecision | None = None


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
        return Answer(f"From the tables as they are now{', if nothing changes by then' if later else ''}.", found)
    kept = kept_decision(warehouse, source_id, at)
    try:
        found = explain(PastWarehouse(warehouse.settings, at), source_id, at)
    except TerminalRequestError as error:
        forgotten = isinstance(error, TerminalForgottenError)
        why = str(error) if forgotten else "the warehouse did not know this source yet."
        if forgotten and kept is not None:
            return Answer(why, None, kept)
        found = explain(warehouse, source_id, at, locked)
        return Answer(f"From the tables as they are now, and not as they were then: {why}", found, kept)
    return Answer("From the tables as they were then.", found, kept)


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
