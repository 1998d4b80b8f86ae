"""The User data file of a campaign or Canvas: a CSV of everybody it had to do with, written whole or not at all (R14).

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
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, StrictBool

from perennial.audiences.completeness import Completeness, TerminalIncompleteError, find_missing
from perennial.engines.sessions import FeatureSession, open_feature_session
from perennial.errors import TerminalRequestError
from perennial.notify import refuse_bad_addresses
from perennial.platform.vanished import nearest_source, unknown_source
from perennial.refusals import read_params
from perennial.sql import statement
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
class ExportRequest:
    """Params of `export_user_data`.

    Attributes:
        source_id: Campaign or Canvas.
        notify: E-mail addresses that are told where the file is.
        all_recipients: Also users whose profile the platform has no longer.
    """

    source_id: Annotated[str, Field(min_length=1)]
    notify: tuple[str, ...] = ()
    all_recipients: StrictBool = False

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> ExportRequest:
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


@dataclass(frozen=True)
class ExportedSource:
    """The campaign or Canvas of a request, and what of its interactions is not there.

    An unknown one has no kind, and perhaps another that is spelled like it."""

    source_id: str
    kind: str
    name: str
    completeness: Completeness
    nearest_id: str = ""


def check_request(warehouse: Warehouse, params: Mapping[str, Any]) -> ExportRequest:
    """Check a request before anything is written.

    Raises:
        TerminalRequestError: The request cannot be done; the text names everything that is wrong with it.
        TerminalIncompleteError: The source's interactions are expired, or were deleted under the previous policy
            (R18), even if it is active again: the file would be short.
    """
    request = ExportRequest.from_params(params)
    with open_source(warehouse, request.source_id) as (_, source):
        _refuse_short(source)
    return request


def write_user_data(warehouse: Warehouse, request: ExportRequest, run_id: str, now: datetime) -> UserDataFile:
    """Write the file of a request and put it into `PERENNIAL_EXPORTS_URI`; the same run writes the same address.

    Raises:
        TerminalRequestError: The source is not known any more.
        TerminalIncompleteError: The source's interactions are not all there any more.
    """
    stem = _stem(request.source_id, run_id, now)
    uri = f"{warehouse.settings.place('exports_uri').rstrip('/')}/{stem}.csv"
    as_of, started = datetime.now(UTC), time.monotonic()
    with (
        _scratch(warehouse.settings.home, stem) as folder,
        open_source(warehouse, request.source_id, _TABLES) as (session, source),
    ):
        _refuse_short(source)
        path = folder / "user-data.csv"
        user_count = _copy(session, source.kind, path, request.all_recipients)
        file_bytes = path.stat().st_size
        storage_for(uri).upload(path, uri)
    seconds = time.monotonic() - started
    log.info("%s in %.1f s, %.0f a second: %s", pluralize(user_count, "user"), seconds, user_count / seconds, uri)
    return UserDataFile(file_uri=uri, user_count=user_count, file_bytes=file_bytes, as_of=as_of)


@contextmanager
def open_source(
    warehouse: Warehouse, source_id: str, tables: Collection[str] = ()
) -> Iterator[tuple[FeatureSession, ExportedSource]]:
    """Open a session on the interactions of one source, and say what the source is."""
    with open_feature_session(warehouse, tables, lambda _: {source_id}) as session:
        found = session.connection.execute(statement("features/find_exported_source"), {"source_id": source_id})
        kind, name = found.fetchone() or ("", "")
        missing = find_missing(session.connection, {source_id})
        nearest_id = "" if kind else nearest_source(session.connection, source_id)
        yield session, ExportedSource(source_id, kind, name, missing, nearest_id)


def _refuse_short(source: ExportedSource) -> None:
    if not source.kind:
        raise unknown_source(source.source_id, 0, source.nearest_id)
    if source.kind not in _COLUMNS:
        raise TerminalRequestError(
            f"{source.source_id!r} vanished from the platform before more than its id was kept, so it cannot be told "
            "whether it was a campaign or a Canvas, and no file is written. Ask for its interactions with `perennial "
            "sql`."
        )
    if not source.completeness.complete:
        raise TerminalIncompleteError(source.completeness)


def _copy(session: FeatureSession, kind: str, path: Path, all_recipients: bool) -> int:
    connection = session.connection
    connection.execute(f"SET memory_limit = '{_MEMORY_LIMIT}'")
    connection.execute("SET temp_directory = $folder", {"folder": str(path.parent / "spill")})
    # Who the users are is a fact; how a cell is written is not.
    session.facts.materialize("user_contacts", statement("features/select_user_contacts"))
    for name in ("features/create_csv_text", "features/create_user_data"):
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
    # Never the same twice: a try that is still at work elsewhere must not be handed this one's half a file.
    with TemporaryDirectory(prefix=f"{stem}.", dir=folder) as name:
        yield Path(name)


def _stem(source_id: str, run_id: str, now: datetime) -> str:
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", source_id)[:_SLUG_LENGTH]
    digest = hashlib.sha256(f"{source_id}\n{run_id}".encode()).hexdigest()[:8]
    return f"user-data-{slug}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{digest}"
