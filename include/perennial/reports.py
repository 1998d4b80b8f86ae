"""What a run did, as it is passed on to notify people of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

DELETED: Final = "deleted under the previous policy"
CANCELLED: Final = "cancelled"
Outcome = Literal[
    "restored", "already available", "never had data", "deleted under the previous policy", "cancelled", "failed"
]  # fmt: skip
RestoreState = Literal["finished", "finished in part", "cancelled", "failed"]
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
        state: finished, finished in part, cancelled or failed.
        sources: Every source of the request, with tags resolved (R11).
        source_ids: The ids the request named; those without an outcome are reported as not reached.
        tags: The tags the request named.
        notify: Who is notified; goes into the command that repeats the request.
        error: What went wrong, for a person; empty when nothing did.
        report_uri: Address of the reconciliation report.
        run_url: Address of the run on Airflow's page.
        page_url: Address of the page; None where none is configured.
        dry_run: Whether it was a dry run.
        cancelled: Who has cancelled or rejected it, as a sentence; empty if nobody has.
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
    cancelled: str = ""

    @property
    def summary(self) -> str:
        """The run, how it ended, and how many sources have which outcome, as a sentence."""
        outcomes = Counter(source.outcome for source in self.sources)
        counted = ", ".join(f"{number:,} {outcome}" for outcome, number in outcomes.items())
        return f"Run {self.run_id}: {self.state}{f' ({counted})' if counted else ''}."


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
class ApprovalReport:
    """What a run would expire once a person approves it, for all owners or for one of them (R21).

    Attributes:
        run_id: Run that waits.
        as_of: The run's date.
        sources: The sources that would expire.
        reasons: Why the run asks.
        ends_at: When the wait ends as a rejection.
        approve_url: Address at which it is approved or rejected; None where none is configured.
        page_url: Address of the page.
        run_url: Address of the run on Airflow's page.
    """

    run_id: str
    as_of: datetime
    sources: tuple[ExpiredSource, ...]
    reasons: tuple[str, ...]
    ends_at: datetime
    approve_url: str | None = None
    page_url: str | None = None
    run_url: str | None = None


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


CHECK_DAYS = 90
"""The days that the share of checked files counts."""


@dataclass(frozen=True, kw_only=True)
class DamagedFile:
    """An archived file that cannot be restored as it is.

    Attributes:
        file_uri: Its address.
        source_id: Campaign or Canvas.
        source_name: Its name on the platform; empty if unknown.
        owner_email: Its owner; empty if unknown.
        outcome: damaged or missing.
        detail: What is wrong with it.
    """

    file_uri: str
    source_id: str
    source_name: str
    owner_email: str
    outcome: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class RestoreDrill:
    """One source that went the way of a restore and back, in tables that nobody else sees.

    Attributes:
        source_id: Campaign or Canvas.
        file_count: Its archived files.
        row_count: Their interactions.
        total_bytes: Their size.
        restore_seconds: How long the restore took.
        return_seconds: How long the way back took.
        error: What went wrong; empty if the rows were the same both times.
    """

    source_id: str
    file_count: int
    row_count: int
    total_bytes: int
    restore_seconds: float = 0.0
    return_seconds: float = 0.0
    error: str = ""

    def __str__(self) -> str:
        if self.error:
            return f"The restore of {self.source_id!r} failed in a drill: {self.error}"
        rows = f"{self.row_count:,} interaction{'' if self.row_count == 1 else 's'}"
        return (
            f"The restore of {self.source_id!r} was rehearsed: {rows} in {self.restore_seconds:.1f} s, and back in "
            f"{self.return_seconds:.1f} s; every row was the same."
        )


@dataclass(frozen=True, kw_only=True)
class ArchiveReport:
    """How much of the archive is proven readable, as of one check.

    Attributes:
        run_id: Run that checked.
        checked_at: Wall clock.
        archived_count: Files that the archive lists.
        checked_count: Those of them that were read in full in the last 90 days.
        read_count: Files that this run has read.
        cold_count: Files of this run's sample that would have to be thawed first.
        damaged: The files that are damaged or missing now.
        drill: The source whose restore was rehearsed; None if none could be.
        run_url: Address of the run on Airflow's page.
        page_url: Address of the page; None where none is configured.
    """

    run_id: str
    checked_at: datetime
    archived_count: int
    checked_count: int
    read_count: int
    cold_count: int
    damaged: tuple[DamagedFile, ...] = ()
    drill: RestoreDrill | None = None
    run_url: str | None = None
    page_url: str | None = None

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damaged and not (self.drill and self.drill.error)

    @property
    def read(self) -> str:
        """Say what the run itself has read."""
        files = f"{self.read_count:,} file{'' if self.read_count == 1 else 's'}"
        cold = f", {self.cold_count:,} in cold storage left out" if self.cold_count else ""
        return f"This run read {files} in full{cold}."

    @property
    def summary(self) -> str:
        """The sentence, and all that is wrong."""
        wrong = [file.detail for file in self.damaged] + ([str(self.drill)] if self.drill and self.drill.error else [])
        return f"{self.sentence} {'; '.join(wrong)}".rstrip()

    @property
    def sentence(self) -> str:
        """Say how much is proven, in the words of mail, page, command and JSON."""
        if not self.archived_count:
            return "The archive is empty, so there is nothing to check."
        missing = sum(file.outcome == "missing" for file in self.damaged)
        wrong = f"{len(self.damaged) - missing:,} damaged" + (f", {missing:,} missing" if missing else "")
        # Never more than is proven.
        percent = 100 * self.checked_count // self.archived_count
        share = "less than 1" if self.checked_count and not percent else f"{percent}"
        return f"Checked {share} % of archived files in {CHECK_DAYS} days, {wrong}."
