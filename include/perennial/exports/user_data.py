"""The User data file of a campaign or Canvas: a CSV of everybody it had to do with, written whole or not at all (R14).

A request is checked, its file is written, and its requesters are notified where the file is or why there is none.
Its columns are `_COLUMNS`; `docs/analysts.md` says what each holds.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, StrictBool

from perennial.audiences.completeness import TerminalIncompleteError, find_missing
from perennial.engines.sessions import FeatureSession, open_feature_session
from perennial.erasures import suppressed
from perennial.errors import TerminalRequestError, TransientConflictError
from perennial.notify import DeliveryRecord, Letter, deliver, export_message, is_address, refuse_bad_addresses
from perennial.notify.delivery import EXPORT
from perennial.platform.vanished import nearest_source, unknown_source
from perennial.refusals import read_params
from perennial.reports import ExportReport
from perennial.statements import statement
from perennial.storage import storage_for
from perennial.tables import CANVAS_STEPS, SOURCE_VARIANTS, USERS
from perennial.text import pluralize

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)

REMEDIES = {
    "source_id": "the id of one campaign or Canvas",
    "notify": "a list of e-mail addresses",
    "all_recipients": "true or false",
}
_TABLES = (USERS.name, SOURCE_VARIANTS.name, CANVAS_STEPS.name)
# Columns of view user_data, in the order of the file.
_CAMPAIGN_COLUMNS = (
    "user_id", "external_id", "email", "phone", "first_name", "last_name", "country", "language", "time_zone",
    "variation_name", "in_control", "first_received_at", "last_received_at", "received_count", "opened_email",
    "machine_opened_email", "opened_push", "clicked_email", "clicked_in_app_message", "replied", "converted",
    "last_interaction_at",
)  # fmt: skip
_COLUMNS = {
    "campaign": _CAMPAIGN_COLUMNS,
    "canvas": (*_CAMPAIGN_COLUMNS, "last_entered_at", "entered_count", "last_step_name"),
}
# What does not fit is spilled beside the file, so memory is flat for any number of users.
_MEMORY_LIMIT = "1GB"
_SLUG_LENGTH = 60


@dataclass(frozen=True, kw_only=True)
class UserDataRequest:
    """Params of `export_user_data`.

    Attributes:
        source_id: Campaign or Canvas.
        notify: E-mail addresses of those who get to know where the file is.
        all_recipients: Also users whose profile the platform has no longer.
    """

    source_id: Annotated[str, Field(min_length=1)]
    notify: tuple[str, ...] = ()
    all_recipients: StrictBool = False

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> UserDataRequest:
        """Check the params of a run.

        Raises:
            TerminalRequestError: Names every param that cannot be used, its value and the remedy.
        """
        request = read_params(cls, params, REMEDIES)
        refuse_bad_addresses(list(request.notify))
        return replace(request, notify=tuple(dict.fromkeys(request.notify)))


@dataclass(frozen=True, kw_only=True)
class UserDataFile:
    """A file as it was written.

    Attributes:
        file_uri: Its address.
        user_count: Lines after the header.
        file_bytes: Its size.
        as_of: The moment of the warehouse that it shows.
    """

    file_uri: str
    user_count: int
    file_bytes: int
    as_of: datetime


@dataclass(frozen=True, kw_only=True)
class ExportAttempt:
    """How far a run came.

    Attributes:
        run_id: The run.
        requested_by: Who asked.
        written: The file; None where there is none.
        error: What went wrong last, for a person; empty when nothing did.
        error_details: What of it this module needs to know, as in `PerennialError`.
        run_url: Address of the run on Airflow's page.
        page_url: Address of the page.
    """

    run_id: str
    requested_by: str | None = None
    written: UserDataFile | None = None
    error: str = ""
    error_details: Mapping[str, str] = field(default_factory=dict)
    run_url: str | None = None
    page_url: str | None = None


def check_request(warehouse: Warehouse, params: Mapping[str, Any]) -> UserDataRequest:
    """Check a request before anything is written.

    Raises:
        TerminalRequestError: The request cannot be done; the text names everything that is wrong with it.
        TerminalIncompleteError: The source's interactions are expired, or were deleted under the previous policy
            (R18), even if it is active again: the file would be short.
    """
    request = UserDataRequest.from_params(params)
    with _open_whole_source(warehouse, request.source_id):
        return request


def write_user_data(warehouse: Warehouse, request: UserDataRequest, run_id: str, now: datetime) -> UserDataFile:
    """Write the file of a request and put it into `PERENNIAL_EXPORTS_URI`; the same run writes the same address.

    Raises:
        TerminalRequestError: The source is not known any more.
        TerminalIncompleteError: The source's interactions are not all there any more.
        TransientConflictError: People were erased meanwhile (R22); there is no file.
    """
    stem = _stem(request.source_id, run_id, now)
    uri = f"{warehouse.settings.place('exports_uri').rstrip('/')}/{stem}.csv"
    as_of, started, erased = datetime.now(UTC), time.monotonic(), suppressed(warehouse)
    with (
        _scratch(warehouse.settings.home, stem) as folder,
        _open_whole_source(warehouse, request.source_id, _TABLES) as (session, kind),
    ):
        path = folder / "user-data.csv"
        user_count = _copy(session, kind, path, request.all_recipients)
        file_bytes = path.stat().st_size
        storage_for(uri).upload(path, uri)
    if suppressed(warehouse) != erased:
        storage_for(uri).delete(uri)
        raise TransientConflictError(
            "People were erased while the file was written, so it may hold what is to be gone; it was deleted. "
            "Run it again."
        )
    seconds = time.monotonic() - started
    log.info("%s in %.1f s, %.0f a second: %s", pluralize(user_count, "user"), seconds, user_count / seconds, uri)
    return UserDataFile(file_uri=uri, user_count=user_count, file_bytes=file_bytes, as_of=as_of)


def notify_requesters(warehouse: Warehouse, params: Mapping[str, Any], attempt: ExportAttempt) -> ExportReport:
    """Send the one e-mail of a request, whether it has come to a file or not.

    Raises:
        TerminalRequestError: The addresses cannot be used, so nobody gets an e-mail.
        TransientDeliveryError: Somebody was refused for now; the next attempt writes to nobody twice.
        TerminalDeliveryError: Somebody was refused for good.
    """
    notify = params.get("notify") or []
    if isinstance(notify, str) or not any(map(is_address, notify)):
        refuse_bad_addresses(notify)
    report = _report(warehouse, params, tuple(map(str, notify)), attempt)
    letter = Letter(message=export_message(report), to=report.notify)
    deliver(DeliveryRecord.of(warehouse, EXPORT, attempt.run_id), [letter]).refuse_gaps()
    return report


def _report(
    warehouse: Warehouse, params: Mapping[str, Any], notify: tuple[str, ...], attempt: ExportAttempt
) -> ExportReport:
    source_id = str(params.get("source_id") or "")
    with _open_source(warehouse, source_id) as (_, kind, name):
        report = ExportReport(
            run_id=attempt.run_id,
            requested_by=attempt.requested_by or "unknown",
            source_id=source_id,
            name=name,
            kind=kind,
            notify=notify,
            all_recipients=params.get("all_recipients") is True,
            run_url=attempt.run_url,
            page_url=attempt.page_url,
        )
    if attempt.written is not None:
        return replace(report, **asdict(attempt.written))
    error = attempt.error or "The file could not be written; the run's log says why."
    # The message has a place of its own for the command that restores, which the summary leaves out.
    details = attempt.error_details
    return replace(report, error=details.get("summary", error), missing=details.get("missing", ""))


@contextmanager
def _open_source(
    warehouse: Warehouse, source_id: str, tables: Collection[str] = ()
) -> Iterator[tuple[FeatureSession, str, str]]:
    """Open a session on the interactions of one source, with its kind and name; both are empty where it is unknown."""
    with open_feature_session(warehouse, tables, lambda opening: opening.session({source_id})) as session:
        binds = {"source_id": source_id}
        found = session.connection.execute(statement("exports/find_exported_source"), binds).fetchone()
        kind, name = found or ("", "")
        yield session, kind, name


@contextmanager
def _open_whole_source(
    warehouse: Warehouse, source_id: str, tables: Collection[str] = ()
) -> Iterator[tuple[FeatureSession, str]]:
    """Open a session on the interactions of one source, with its kind; refuse it where a file would be short."""
    with _open_source(warehouse, source_id, tables) as (session, kind, _):
        if not kind:
            raise unknown_source(source_id, 0, nearest_source(session.connection, source_id))
        if kind not in _COLUMNS:
            raise TerminalRequestError(
                f"{source_id!r} vanished from the platform before more than its id was kept, so it cannot be told "
                "whether it was a campaign or a Canvas, and no file is written. Ask for its interactions with "
                "`perennial sql`."
            )
        completeness = find_missing(session.connection, {source_id})
        if not completeness.complete:
            raise TerminalIncompleteError(completeness)
        yield session, kind


def _copy(session: FeatureSession, kind: str, path: Path, all_recipients: bool) -> int:
    connection = session.connection
    connection.execute(f"SET memory_limit = '{_MEMORY_LIMIT}'")
    connection.execute("SET temp_directory = $folder", {"folder": str(path.parent / "spill")})
    # Who the users are is asked of the tables; how a cell is written is decided here.
    session.queries.materialize("user_contacts", statement("exports/select_user_contacts"))
    for name in ("exports/create_csv_text", "exports/create_user_data"):
        connection.execute(statement(name))
    # RFC 4180: lines end in CR LF. Names of columns come from this module, every value is a bind.
    copied = connection.execute(
        f"COPY (SELECT {', '.join(_COLUMNS[kind])} FROM user_data WHERE has_profile OR $all_recipients "  # noqa: S608
        "ORDER BY user_key) TO $path (FORMAT csv, HEADER, NEW_LINE '\\r\\n')",
        {"path": str(path), "all_recipients": all_recipients},
    )
    return int(copied.fetchall()[0][0])


@contextmanager
def _scratch(home: Path | None, stem: str) -> Iterator[Path]:
    """Make a directory that only this process's user can read; what a killed try of the same run left is removed."""
    folder = home / "exporting" if home else Path(gettempdir())
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{stem}.*"):
        shutil.rmtree(left, ignore_errors=True)
    # Never the same twice: an attempt that is still running elsewhere must not be handed this one's half a file.
    with TemporaryDirectory(prefix=f"{stem}.", dir=folder) as name:
        yield Path(name)


def _stem(source_id: str, run_id: str, now: datetime) -> str:
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", source_id)[:_SLUG_LENGTH]
    digest = hashlib.sha256(f"{source_id}\n{run_id}".encode()).hexdigest()[:8]
    return f"user-data-{slug}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{digest}"
