"""What e-mails and receipts say about erasures (R22). Nothing in it names the person: they are kept for years."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from perennial.text import pluralize


@dataclass(frozen=True, kw_only=True)
class PlaceCount:
    """What there is of some people in one place, or was.

    Attributes:
        place: A table, or a kind of file.
        row_count: Rows, or records of files.
        file_count: Files that hold them; 0 for a table.
        request_count: Of how many requests that is: more than one where they cannot be distinguished.
    """

    place: str
    row_count: int = 0
    file_count: int = 0
    request_count: int = 1

    @property
    def amount(self) -> str:
        noun = "record" if self.file_count else "row"
        files = f" in {pluralize(self.file_count, 'file')}" if self.file_count else ""
        shared = f", of all {self.request_count:,} requests of the run" if self.request_count > 1 else ""
        return f"{pluralize(self.row_count, noun)}{files}{shared}"

    def plus(self, rows: int = 0, files: int = 0) -> PlaceCount:
        """Add to it, or take away from it; what is negative is nothing."""
        rows, files = max(0, self.row_count + rows), max(0, self.file_count + files)
        return replace(self, row_count=rows, file_count=files)


@dataclass(frozen=True, kw_only=True)
class FoundReport:
    """What the warehouse holds of the people of some requests, and what retrieving cold files costs.

    Attributes:
        request_ids: The requests; none in a dry run of ids that no request has.
        person_count: How many people they are about.
        found: What can be read of them.
        cold_file_count: Files that have to be thawed before it is known whether they hold anybody.
        cold_bytes: Their size.
        cost: What that costs, as a sentence; empty where it is unknown.
        is_requested: Whether the files were requested.
        retrieve_at: When they are requested at the latest.
        dry_run: Whether nothing comes of it.
        run_id: Run that reports it.
        run_url: Address of the run on Airflow's page.
    """

    request_ids: tuple[str, ...]
    person_count: int
    found: tuple[PlaceCount, ...]
    cold_file_count: int
    cold_bytes: int
    cost: str
    is_requested: bool = False
    retrieve_at: datetime | None = None
    dry_run: bool = False
    run_id: str
    run_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What was removed where, and how that was verified: the last that is known of a request.

    Attributes:
        request_id: The request.
        requested_by: Who asked for it; the messaging platform, where it did.
        approved_by: Who approved it; empty where nobody had to.
        reason: Why, in the requester's words.
        requested_at: When it was made.
        due_at: Its deadline.
        verified_at: When nothing was found any more.
        person_count: How many people it is about.
        found: What was removed.
        checked: What was read to verify it, a sentence for each kind of place.
        to_let_go: What storage keeps that nothing here can remove, and what the operator has to do, one sentence each.
        airflow: What Airflow keeps of the request, and how it is cleaned, one sentence each.
        notify: Who gets the receipt, besides PERENNIAL_ERASURE_NOTIFY.
        run_id: Run that verified it.
        run_url: Address of the run on Airflow's page.
    """

    request_id: str
    requested_by: str
    approved_by: str = ""
    reason: str = ""
    requested_at: datetime
    due_at: datetime
    verified_at: datetime
    person_count: int
    found: tuple[PlaceCount, ...] = ()
    checked: tuple[str, ...] = ()
    to_let_go: tuple[str, ...] = ()
    airflow: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()
    run_id: str
    run_url: str | None = None

    @property
    def is_anybody_found(self) -> bool:
        """Whether something was removed that is known to be of these people, and not of another request's."""
        return any(count.request_count == 1 for count in self.found)


@dataclass(frozen=True, kw_only=True)
class Concern:
    """A request that needs a person.

    Attributes:
        request_id: The request.
        due_at: Its deadline.
        what: What is the matter, in a sentence.
        remedy: What to do, in a sentence.
        is_late: Whether the deadline has passed.
    """

    request_id: str
    due_at: datetime
    what: str
    remedy: str
    is_late: bool = False


@dataclass(frozen=True, kw_only=True)
class ConcernsReport:
    """Requests that need a person, the most urgent first.

    Attributes:
        concerns: They.
        run_id: Run that found them.
        run_url: Address of the run on Airflow's page.
        page_url: Address of the page; None where none is configured.
    """

    concerns: tuple[Concern, ...]
    run_id: str
    run_url: str | None = None
    page_url: str | None = None
