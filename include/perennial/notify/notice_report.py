"""What people learn in advance: sources that expire soon, and holds that end soon (R19, R20)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from perennial.reports import ExpiredSource


@dataclass(frozen=True, kw_only=True)
class DueSource(ExpiredSource):
    """One source that will expire soon unless somebody keeps it (R20).

    Attributes:
        ends_at: When it is due: the end of its clock and of its holds.
        clock_started_at: The clock of which this is the one notice.
        audiences: What happens to each audience that would lose or gain users, one sentence each.
    """

    ends_at: datetime
    clock_started_at: datetime
    audiences: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NoticeReport:
    """What will expire soon, for all owners or for one of them (R20).

    Attributes:
        run_id: Run that looked ahead.
        as_of: The run's date.
        sources: The sources that will expire.
        notice_days: How far it looked ahead.
        run_url: Address of the run on Airflow's page.
        page_url: Address of the page; None where none is configured.
    """

    run_id: str
    as_of: datetime
    sources: tuple[DueSource, ...]
    notice_days: int
    run_url: str | None = None
    page_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class EndingHold:
    """A hold that ends soon (R19).

    Attributes:
        hold_id: Its id.
        what: The source or tag, in a sentence.
        held_by: Who placed it.
        reason: Why.
        ends_at: Its end.
        due_count: How many of its sources expire then, if nothing else keeps them.
    """

    hold_id: str
    what: str
    held_by: str
    reason: str
    ends_at: datetime
    due_count: int


@dataclass(frozen=True, kw_only=True)
class HoldsReport:
    """Holds of one person that end soon.

    Attributes:
        run_id: Run that looked ahead.
        holds: The holds, the first to end first.
        run_url: Address of the run on Airflow's page.
        page_url: Address of the page; None where none is configured.
    """

    run_id: str
    holds: tuple[EndingHold, ...]
    run_url: str | None = None
    page_url: str | None = None
