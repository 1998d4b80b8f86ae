"""The users export: up to 50 users by id in one answer, or all users of a segment as a stream (R14, R16, R17)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from perennial.audiences.completeness import (
    FIRST_PAGE,
    NOTHING_MISSING,
    Completeness,
    MissingPage,
    TerminalIncompleteError,
)
from perennial.audiences.evaluate import open_audience, segment_definition
from perennial.engines.protocol import BATCH_ROWS
from perennial.exports.models import ExportRequest, ExportResponse, SegmentExportRequest, UserObject
from perennial.exports.received import ReceivedSession, UserRecord, open_received

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

# What does not fit is spilled to disk, so memory is flat for any number of users.
_MEMORY_LIMIT = "1GB"
# Columns of `users` that a field is not called after.
_COLUMNS = {"external_id": "external_user_id", "braze_id": "user_id"}


def export_users(
    warehouse: Warehouse, request: ExportRequest, strict: bool = False, page: MissingPage = FIRST_PAGE
) -> ExportResponse:
    """Export users by their ids.

    Args:
        warehouse: Where everything is.
        request: From `parse_request`.
        strict: Refuse instead of answering short.
        page: Which of the sources that the lists leave out are named.

    Raises:
        TerminalIncompleteError: The lists would leave data out, and `strict` was asked for.
    """
    with open_received(warehouse, request.kinds) as received:
        received.ask_for(request.braze_id, request.external_ids)
        records = list(received.users())
        completeness = received.find_missing(request.kinds, page) if records else NOTHING_MISSING
        _refuse_short(completeness, strict)
    braze_ids = {record.profile["user_id"] for record in records}
    external_ids = {record.profile["external_user_id"] for record in records}
    unknown = [given for given in request.external_ids if given not in external_ids]
    unknown += [given for given in request.braze_id if given not in braze_ids]
    return ExportResponse(
        users=tuple(_user_object(record, request.fields) for record in records),
        invalid_user_ids=tuple(dict.fromkeys(unknown)),
        unavailable_fields=request.unavailable_fields,
        completeness=completeness if request.kinds else None,
    )


@dataclass(frozen=True)
class SegmentExport:
    """An export of a segment, ready to be streamed, as of one moment of the warehouse.

    Attributes:
        completeness: What it leaves out: sources that decide who is in the segment (they have `paths`, and all are
            named), and sources that the lists of what was received would need (a page of them is named).
        unavailable_fields: Fields that were asked for and that the warehouse holds nothing for.
        fields: The fields to fill.
        received: Where it is asked.
    """

    completeness: Completeness
    unavailable_fields: tuple[str, ...]
    fields: frozenset[str]
    received: ReceivedSession

    def users(self, batch_rows: int = BATCH_ROWS) -> Iterator[UserObject]:
        """Stream the users in order of braze_id, once, in memory that does not grow with their number.

        Args:
            batch_rows: Rows that are fetched at a time.
        """
        return (_user_object(record, self.fields) for record in self.received.users(batch_rows))


@contextmanager
def open_segment_export(
    warehouse: Warehouse,
    request: SegmentExportRequest,
    now: datetime,
    strict: bool = False,
    page: MissingPage = FIRST_PAGE,
) -> Iterator[SegmentExport]:
    """Find the users of a segment, and make their export ready.

    Args:
        warehouse: Where everything is.
        request: From `parse_segment_request`.
        now: What `days_ago` is counted from.
        strict: Refuse instead of answering short.
        page: Which of the sources that the lists leave out are named.

    Raises:
        TerminalDefinitionError: The segment does not exist, or its definition is wrong.
        TerminalIncompleteError: The segment or the lists would leave data out, and `strict` was asked for.
    """
    definition, kinds = segment_definition(request.segment_id), request.kinds
    with (
        TemporaryDirectory(prefix="perennial-export-") as spill,
        open_audience(warehouse, definition, now, all_sources=bool(kinds)) as audience,
    ):
        audience.session.connection.execute(f"SET memory_limit = '{_MEMORY_LIMIT}'")
        # Each thread has buffers of its own for groups and order: with two, 60,000 users of 40 sources do not fit.
        # Making objects of the rows takes longer than one thread needs to find them.
        audience.session.connection.execute("SET threads = 1")
        audience.session.connection.execute("SET temp_directory = $spill", {"spill": spill})
        audience.define_users("asked_users")
        received = ReceivedSession(audience.session, kinds)
        lists = frozenset() if kinds and received.is_for_nobody() else kinds
        completeness = received.find_missing(lists, page, audience.completeness)
        _refuse_short(completeness, strict)
        yield SegmentExport(completeness, request.unavailable_fields, request.fields, received)


def _refuse_short(completeness: Completeness, strict: bool) -> None:
    if strict and not completeness.complete:
        raise TerminalIncompleteError(completeness)


def _user_object(record: UserRecord, fields: frozenset[str]) -> UserObject:
    received = {"campaigns_received": record.campaigns, "canvases_received": record.canvases}
    values: dict[str, Any] = {
        name: received[name] if name in received else record.profile[_COLUMNS.get(name, name)] for name in fields
    }
    if "custom_attributes" in values:
        values["custom_attributes"] = _json_object(values["custom_attributes"])
    return UserObject(**values)


def _json_object(text: str | None) -> dict[str, Any] | None:
    """Read a JSON object; None for what is none, and for one too deep (over 200) to be written again."""
    try:
        found = from_json(text, allow_inf_nan=False) if text else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
