"""The users export over HTTP: up to 50 users by id in one answer, or a segment as a stream."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Body, Depends, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse
from pydantic import WithJsonSchema
from starlette.types import Receive, Scope, Send

from perennial.audiences.completeness import Completeness, TerminalIncompleteError
from perennial.audiences.definitions import TerminalDefinitionError
from perennial.errors import TerminalRequestError, TransientError
from perennial.exports.models import (
    ExportRequest,
    ExportResponse,
    FieldsRequest,
    SegmentExportRequest,
    completeness_object,
    parse_request,
    parse_segment_request,
)
from perennial.web.access import EXPORT, EXPORT_DAG
from perennial.web.dependencies import MissingPageDep, WarehouseDep, until_answered
from perennial.web.problems import problem

if TYPE_CHECKING:
    from perennial.exports.users import SegmentExport

NDJSON = "application/x-ndjson"
# Fifty ids of a thousand bytes each; the audit log keeps all of them.
_BODY_LIMIT_BYTES = 64 * 2**10
# Proxies accept 4 kB for all headers of an answer by default.
_HEADER_BYTES = 2_000
_CHUNK_CHARACTERS = 2**16
# Each may use a gigabyte of the API server's memory.
_STREAMS = threading.BoundedSemaphore(2)

_SHORT = {"description": "`strict` was set, and the answer would be incomplete; `completeness` says what is missing"}
_SEGMENT_HELP = f"""Stream all users of a segment as lines of JSON, in order of `braze_id`; each line is a *UserObject*.

The lines contain users and nothing else. The headers say what they leave out:

- `Perennial-Complete`: `true` or `false`. If it is `false`, some users may be missing, some may be included by mistake,
  and lists may be incomplete.
- `Perennial-Missing-Count`: how many sources are left out.
- `Perennial-Missing`: a JSON list of some of them, those that left last first, in ASCII; as many as {_HEADER_BYTES:,}
  bytes hold. Ask with `strict=true` for more: the answer is then a problem that names them page by page
  (`missing_from`, `missing_limit`).
- `Perennial-Unavailable-Fields`: a JSON list of the requested fields for which there is no data.

An answer that is cut off (its last chunk has no end) is incomplete: send the request again. Two streams run at a time;
a third is refused for the moment (503). Airflow's audit log records who requested which segment."""


def _small_body(request: Request) -> None:
    size = int(request.headers["content-length"])
    if size > _BODY_LIMIT_BYTES:
        raise HTTPException(413, f"The body has {size:,} bytes; an export takes at most {_BODY_LIMIT_BYTES:,}.")


router = APIRouter(prefix="/users/export", dependencies=[EXPORT, Depends(_small_body)], tags=["users"])


def _described(model: type[FieldsRequest], **example: Any) -> WithJsonSchema:
    example["fields_to_export"] = ["braze_id", "email", "campaigns_received"]
    return WithJsonSchema(model.model_json_schema() | {"examples": [example]})


# The models' own parsers check it: their errors name field, value and remedy.
_IdsBody = Annotated[dict[str, Any], _described(ExportRequest, external_ids=["customer-1"]), Body()]
_SegmentBody = Annotated[dict[str, Any], _described(SegmentExportRequest, segment_id="everybody"), Body()]
_Strict = Annotated[bool, Query(description="Refuse with 409 instead of leaving data out")]


@dataclass(frozen=True)
class Audit:
    """Airflow's audit log, and the user to record in it."""

    session: Any
    user_name: str

    def write(self, event: str, request: FieldsRequest, strict: bool) -> None:
        """Record the request before anything is read: no export happens without a log entry."""
        from airflow.models.log import Log

        # Airflow's own action_logging also logs refused requests, whatever their size, and takes the DAG's name from
        # the address.
        asked = {**request.model_dump(exclude_defaults=True), "strict": strict}
        self.session.add(
            Log(
                event=event,
                owner=self.user_name,
                owner_display_name=self.user_name,
                dag_id=EXPORT_DAG,
                extra=json.dumps(asked),
            )
        )
        self.session.commit()


def _audit(session: SessionDep, user: GetUserDep) -> Audit:
    return Audit(session, user.get_name())


# As long as Airflow's session: until the answer begins.
AuditDep = Annotated[Audit, until_answered(_audit)]


@router.post(
    "/ids", summary="Export up to 50 users by their ids", response_model=ExportResponse, responses={409: _SHORT}
)
def export_ids(
    http: Request,
    warehouse: WarehouseDep,
    audit: AuditDep,
    body: _IdsBody,
    missing: MissingPageDep,
    strict: _Strict = False,
) -> Response:
    """Export users with their profile and what they received, newest first. Null values are left out.

    `completeness` counts the expired and deleted sources that may have had interactions of theirs and names some of
    them, the latest first; `missing_from` asks for others. If nobody was found, nothing is missing. Airflow's audit log
    records who exported whom.
    """
    from perennial.exports.users import export_users

    request = parse_request(body)
    audit.write("export_users_by_id", request, strict)
    try:
        export = export_users(warehouse, request, strict, missing)
    except TerminalIncompleteError as error:
        return _short(http, error)
    return Response(export.to_json(), media_type="application/json")


@router.post(
    "/segment",
    summary="Export all users of a segment, as a stream",
    description=_SEGMENT_HELP,
    response_class=StreamingResponse,
    responses={200: {"content": {NDJSON: {"schema": {"type": "string"}}}}, 409: _SHORT},
)
def export_segment(
    http: Request,
    warehouse: WarehouseDep,
    audit: AuditDep,
    body: _SegmentBody,
    missing: MissingPageDep,
    strict: _Strict = False,
) -> Response:
    """Refuse everything that has to be refused before the first byte."""
    from perennial.exports.users import open_segment_export

    request = parse_segment_request(body)
    audit.write("export_users_by_segment", request, strict)
    with ExitStack() as opening:
        if not _STREAMS.acquire(blocking=False):
            raise TransientError("Two segments are being exported at the moment; try again when one has finished.")
        opening.callback(_STREAMS.release)
        try:
            export = opening.enter_context(open_segment_export(warehouse, request, datetime.now(UTC), strict, missing))
        except TerminalIncompleteError as error:
            return _short(http, error)
        except TerminalDefinitionError as error:
            raise TerminalRequestError(f"Segment {request.segment_id!r} cannot be exported. {error}") from error
        headers = _headers(export)
        return _ClosingStream(_chunks(export), opening.pop_all(), media_type=NDJSON, headers=headers)


class _ClosingStream(StreamingResponse):
    """A stream that closes its source, also when the client has disconnected."""

    def __init__(self, chunks: Iterator[str], opened: ExitStack, **options: Any) -> None:
        super().__init__(chunks, **options)
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(self._opened.close)


def _chunks(export: SegmentExport) -> Iterator[str]:
    """Join lines: sending each one by itself costs more than building it."""
    chunk, size = [], 0
    for user in export.users():
        line = f"{user.to_json()}\n"
        chunk.append(line)
        size += len(line)
        if size >= _CHUNK_CHARACTERS:
            yield "".join(chunk)
            chunk, size = [], 0
    yield "".join(chunk)


def _headers(export: SegmentExport) -> Mapping[str, str]:
    completeness = export.completeness
    return {
        "Perennial-Complete": json.dumps(completeness.complete),
        "Perennial-Missing-Count": str(completeness.missing_count),
        "Perennial-Missing": _fitting(completeness),
        "Perennial-Unavailable-Fields": json.dumps(export.unavailable_fields),
    }


def _fitting(completeness: Completeness) -> str:
    named: list[str] = []
    left = _HEADER_BYTES
    for source in completeness_object(completeness).missing:
        text = json.dumps(source.model_dump(mode="json"))
        left -= len(text) + 2
        if left < 0:
            break
        named.append(text)
    return f"[{', '.join(named)}]"


def _short(http: Request, error: TerminalIncompleteError) -> Response:
    missing = completeness_object(error.completeness).model_dump(mode="json")
    return problem(http, 409, str(error), completeness=missing)
