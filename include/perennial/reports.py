"""What a run did, as it is passed on to whoever notifies people of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

DELETED: Final = "deleted under the previous policy"
Outcome = Literal[
    "restored", "already available", "never had data", "deleted under the previous policy", "failed"
]  # fmt: skip
RestoreState = Literal["finished", "finished in part", "failed"]
EXPEDITED, STANDARD, BULK = "Expedited", "Standard", "Bulk"
# The fastest first.
THAW_TIERS = (EXPEDITED, STANDARD, BULK)
# Shortest (if documented) and longest time of a thaw according to S3's documentation, by class and tier.
THAW_TIMES: Final[Mapping[tuple[str, str], tuple[timedelta | None, timedelta]]] = {
    ("GLACIER", EXPEDITED): (timedelta(minutes=1), timedelta(minutes=5)),
    ("GLACIER", STANDARD): (timedelta(hours=3), timedelta(hours=5)),
    ("GLACIER", BULK): (timedelta(hours=5), timedelta(hours=12)),
    ("DEEP_ARCHIVE", STANDARD): (None, timedelta(hours=12)),
    ("DEEP_ARCHIVE", BULK): (None, timedelta(hours=48)),
}


def longest_thaw(classes: Iterable[str], tier: str) -> timedelta:
    """Return how long thawing files of some storage classes takes at most, according to S3's documentation."""
    return max(THAW_TIMES[name, tier][1] for name in classes)


@dataclass(frozen=True, kw_only=True)
class SourceOutcome:
    """The outcome of one requested source (R12).

    Attributes:
        source_id: Campaign or Canvas.
        name: Its name on the platform.
        kind: campaign or canvas.
        outcome: One of `Outcome`; in a dry run, what would happen.
        row_count: Restored interactions; 0 unless restored.
        total_bytes: Restored bytes.
        file_count: Restored files.
        expires_at: When it expires again (R13); None while something keeps it.
        detail: Anything a person should know, such as why it failed.
    """

    source_id: str
    name: str
    kind: str
    outcome: Outcome
    row_count: int = 0
    total_bytes: int = 0
    file_count: int = 0
    expires_at: datetime | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class RestoreReport:
    """The outcome of one restore request (R12).

    Attributes:
        run_id: Run that did it.
        requested_by: Who asked.
        reason: Why, in the requester's words.
        requested_at: When the run was triggered.
        finished_at: When its last step ended.
        state: finished, finished in part or failed.
        sources: Every source of the request, with tags resolved (R11).
        source_ids: The ids the request named; those without an outcome are reported as not reached.
        tags: The tags the request named.
        notify: Who is notified; goes into the command that repeats the request.
        error: What went wrong, for a person; empty when nothing did.
        report_uri: Address of the reconciliation report.
        run_url: Address of the run on Airflow's page.
        page_url: Address of the page; None where none is configured.
        dry_run: Whether it was a dry run.
    """

    run_id: str
    requested_by: str
    reason: str
    requested_at: datetime
    finished_at: datetime
    state: RestoreState
    sources: tuple[SourceOutcome, ...] = ()
    source_ids: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()
    error: str = ""
    report_uri: str | None = None
    run_url: str | None = None
    page_url: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class ThawReport:
    """The thaw that a restore waits for before it can copy.

    Attributes:
        run_id: Run that waits.
        requested_by: Who asked for the restore.
        reason: Why, in the requester's words.
        requested_at: When the run was triggered.
        asked_at: When the thaw was requested from S3.
        expected_at: When everything is thawed, according to S3's documentation.
        tier: Expedited, Standard or Bulk: the slowest that a file may be thawed in.
        asked_tier: The requested tier.
        frozen_as: Number of files to thaw by storage class.
        total_bytes: Their size.
        sources: Names of the sources that wait, by id.
        notify: Who is notified.
        run_url: Address of the run on Airflow's page.
        page_url: Address of the page; None where none is configured.
    """

    run_id: str
    requested_by: str
    reason: str
    requested_at: datetime
    asked_at: datetime
    expected_at: datetime
    tier: str
    asked_tier: str = ""
    frozen_as: Mapping[str, int] = field(default_factory=dict)
    total_bytes: int = 0
    sources: Mapping[str, str] = field(default_factory=dict)
    notify: tuple[str, ...] = ()
    run_url: str | None = None
    page_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class ExpiredSource:
    """One source whose interactions a run moved to the archive (R8).

    Attributes:
        source_id: Campaign or Canvas.
        name: Its name on the platform.
        kind: campaign or canvas.
        owner_email: Who is notified; None when the platform names nobody.
        reason: Why it expired, for a person.
        row_count: Interactions archived.
        total_bytes: Bytes archived.
        file_count: Files archived.
    """

    source_id: str
    name: str
    kind: str
    owner_email: str | None
    reason: str
    row_count: int = 0
    total_bytes: int = 0
    file_count: int = 0


@dataclass(frozen=True, kw_only=True)
class ExpiryReport:
    """What one expiry run moved to the archive, for all owners or for one of them.

    Attributes:
        run_id: Run that did it.
        as_of: The run's date.
        sources: The sources that expired.
        held: The sources that would have, but for a hold (R19).
        retention_months: R2.
        report_uri: Address of the reconciliation report.
        run_url: Address of the run on Airflow's page.
        page_url: Address of the page; None where none is configured.
        dry_run: Whether it was a dry run.
    """

    run_id: str
    as_of: datetime
    sources: tuple[ExpiredSource, ...]
    held: tuple[ExpiredSource, ...] = ()
    retention_months: int = 3
    report_uri: str | None = None
    run_url: str | None = None
    page_url: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class DueSource(ExpiredSource):
    """One source that will expire soon unless somebody keeps it (R20).

    Attributes:
        ends_at: When it is due: the end of its clock and of its holds.
        clock_started_at: The clock of which this is the one notice.
        audiences: What happens to each audience that would lose or gain users, a sentence each.
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


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """The outcome of one request for the User data file of a campaign or Canvas.

    Attributes:
        run_id: Run that did it.
        requested_by: Who asked.
        source_id: Campaign or Canvas.
        name: Its name on the platform; empty where the platform has no such source.
        kind: campaign or canvas; empty likewise.
        notify: Who is notified; goes into the commands that repeat the request.
        all_recipients: Whether users whose profile is gone were asked for.
        file_uri: Address of the file; None when none was written.
        user_count: Lines of the file after its header.
        file_bytes: Its size.
        as_of: The moment of the warehouse that the file shows.
        error: What went wrong, for a person; empty when nothing did.
        missing: expired, deleted or archived by another program, if that is why there is no file; otherwise empty.
        run_url: Address of the run on Airflow's page.
        page_url: Address of the page; None where none is configured.
    """

    run_id: str
    requested_by: str
    source_id: str
    name: str = ""
    kind: str = ""
    notify: tuple[str, ...] = ()
    all_recipients: bool = False
    file_uri: str | None = None
    user_count: int = 0
    file_bytes: int = 0
    as_of: datetime | None = None
    error: str = ""
    missing: str = ""
    run_url: str | None = None
    page_url: str | None = None
