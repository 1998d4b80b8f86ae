"""Erasures: where requests stand, how to make one, and what to decide about those of the platform (R22).

Nothing here shows the id of a person, or puts one into an address, a log or Airflow's database: a request is a
document, and the run that carries it out gets only its id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from perennial.errors import TerminalRequestError, TerminalSettingError
from perennial.notify.addresses import is_address
from perennial.web.access import ERASE, ERASE_DAG
from perennial.web.airflow_runs import FAILED, SUCCESS, find_obstacle, find_run, trigger_run
from perennial.web.dependencies import PageContext, PageContextDep
from perennial.web.erasure_models import (
    DecisionOrder,
    ErasureDetails,
    ErasureForm,
    ErasureItem,
    ErasureList,
    ErasureOrder,
    ErasureStarted,
    RequestId,
    UserDeletion,
    UsersDeleted,
)
from perennial.web.pages import render
from perennial.web.problems import NotFoundError, problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perennial.erase.open_requests import RequestState
    from perennial.erasures import ErasureRequest

router = APIRouter(dependencies=[ERASE], tags=["erasures"])

_LISTED, _MOST_LISTED = 200, 10_000
_NOT_NOW = {"description": "Not now: the DAG is paused, Airflow cannot read it, or there is no key of the hashes"}


@router.get("/erasures", response_class=HTMLResponse, include_in_schema=False)
def erasures_page(request: Request, context: PageContextDep) -> HTMLResponse:
    """Show where requests stand, with the form to make one."""
    return _page(request, context)


@router.get("/api/erasures", summary="Where the requests to erase people stand")
def list_erasures(
    context: PageContextDep,
    limit: Annotated[int, Query(ge=1, le=_MOST_LISTED, description="How many to list at most")] = _LISTED,
) -> ErasureList:
    """List requests, the open ones first. Nothing of it names a person."""
    return _list(context, limit)


@router.get("/erasure", response_class=HTMLResponse, include_in_schema=False)
def erasure_page(
    request: Request, context: PageContextDep, request_id: Annotated[str, Query(alias="id")], run: str = ""
) -> HTMLResponse:
    """Show a request: its state and what it waits for, what to decide about it, or its receipt."""
    return _request_page(request, context, request_id, run)


@router.get("/api/erasure", summary="Where a request stands, and its receipt")
def read_erasure_request(
    context: PageContextDep, request_id: Annotated[RequestId, Query(alias="id")]
) -> ErasureDetails:
    """Return one request. Nothing of it names a person."""
    return _details(context, request_id)


@router.post("/erasures", include_in_schema=False)
def erase_by_form(request: Request, context: PageContextDep, form: Annotated[ErasureForm, Form()]) -> Response:
    """Make a request and lead to its page. An error is shown without what was typed, which may contain ids."""
    if obstacle := _obstacle(context):
        return _page(request, context, 409, error=obstacle)
    try:
        started = _start(context, form.params, by_page=True)
    except TerminalRequestError as error:
        return _page(request, context, 400, error=str(error))
    return _to_request(request, started)


@router.post(
    "/api/erasures",
    status_code=202,
    summary="Erase people",
    response_model=ErasureStarted,
    responses={409: _NOT_NOW},
)
def erase_by_api(request: Request, context: PageContextDep, order: ErasureOrder) -> Any:
    """Open a request and have a run carry it out at once. Nothing is opened when it is refused."""
    if obstacle := _obstacle(context):
        return problem(request, 409, obstacle)
    return _start(context, order.model_dump(), by_page=False)


@router.post("/erasures/decide", include_in_schema=False)
def decide_by_form(request: Request, context: PageContextDep, form: Annotated[DecisionOrder, Form()]) -> Response:
    """Have a decision recorded; an error is shown on the page of the request."""
    if obstacle := _obstacle(context):
        return _request_page(request, context, form.request_id, status=409, error=obstacle)
    try:
        started = _decide(context, form, by_page=True)
    except TerminalRequestError as error:
        return _request_page(request, context, form.request_id, status=400, error=str(error))
    return _to_request(request, started)


@router.post(
    "/api/erasures/decide",
    status_code=202,
    summary="Approve or refuse a request of the messaging platform",
    response_model=ErasureStarted,
    responses={409: _NOT_NOW},
)
def decide_by_api(request: Request, context: PageContextDep, order: DecisionOrder) -> Any:
    """Start the run that records it, and carries out what is approved."""
    if obstacle := _obstacle(context):
        return problem(request, 409, obstacle)
    return _decide(context, order, by_page=False)


@router.post(
    "/users/delete",
    status_code=202,
    summary="Queue up to 50 people for erasure, as in the product",
    response_model=UsersDeleted,
    responses={409: _NOT_NOW},
    tags=["users"],
)
def delete_users(request: Request, context: PageContextDep, body: UserDeletion) -> Any:
    """Open a request, which the next run carries out together with all others: the daily one, or one that is triggered.

    `deleted` counts the ids that are queued, and `/api/erasure` says what becomes of them.
    """
    if obstacle := _obstacle(context):
        return problem(request, 409, obstacle)
    opened = _open(context, body.params)
    return UsersDeleted(deleted=body.count, request_id=opened.request_id, due_at=opened.due_at)


def _obstacle(context: PageContext) -> str:
    """Why nobody can be erased at the moment, and who can fix that; empty if people can be erased."""
    from perennial.erasures import erasure_key

    try:
        erasure_key(context.warehouse.settings)
    except TerminalSettingError as error:
        return str(error)
    return find_obstacle(context.session, ERASE_DAG, "request")


def _open(context: PageContext, params: Mapping[str, Any]) -> ErasureRequest:
    from perennial.erase.opening import read_erasure
    from perennial.erasures.requests import write_request

    request = read_erasure(context.warehouse, params, context.user.get_name())
    # The document is enough: whichever run begins next opens what is written down.
    write_request(context.warehouse, request)
    return request


def _start(context: PageContext, params: Mapping[str, Any], *, by_page: bool) -> ErasureStarted:
    request_id = _open(context, params).request_id
    return _trigger(context, {"request_id": request_id}, by_page)


def _decide(context: PageContext, order: DecisionOrder, *, by_page: bool) -> ErasureStarted:
    from perennial.erase.open_requests import refusable, undecided

    if order.decision == "approve":
        undecided(context.warehouse, order.request_id)
        return _trigger(context, order.model_dump(exclude={"reason"}), by_page)
    refusable(context.warehouse, order.request_id, order.reason)
    return _trigger(context, order.model_dump(), by_page)


def _trigger(context: PageContext, conf: dict[str, str], by_page: bool) -> ErasureStarted:
    run_id = trigger_run(context.session, ERASE_DAG, conf, conf, context.user.get_name(), by_page)
    return ErasureStarted(request_id=conf["request_id"], run_id=run_id)


def _list(context: PageContext, limit: int) -> ErasureList:
    from perennial.erase.open_requests import request_states

    states = request_states(context.warehouse)
    unfinished = sorted((state for state in states if not state.is_over), key=lambda state: state.due_at)
    over = sorted((state for state in states if state.is_over), key=lambda state: state.at, reverse=True)
    items = [ErasureItem(**_fields(state)) for state in [*unfinished, *over][:limit]]
    return ErasureList(erasures=items, count=len(states))


def _details(context: PageContext, request_id: str) -> ErasureDetails:
    from perennial.erase.open_requests import find_state
    from perennial.erase.opening import person_count
    from perennial.erase.receipts import find_receipt
    from perennial.erasures import read_request
    from perennial.notify.erasure_message import receipt_text

    try:
        state = find_state(context.warehouse, request_id)
    except TerminalRequestError as error:
        raise NotFoundError(str(error)) from error
    receipt = find_receipt(context.warehouse, request_id)
    document = read_request(context.warehouse, request_id)
    return ErasureDetails(
        **_fields(state),
        person_count=receipt.person_count if receipt else person_count(document) if document else None,
        receipt=receipt_text(receipt) if receipt else None,
    )


def _fields(state: RequestState) -> dict[str, Any]:
    from perennial.erase.concerns import is_late, what_waits
    from perennial.operations import wall_clock

    return {
        "request_id": state.request_id,
        "state": state.state,
        "since": state.at,
        "requested_by": state.requested_by or None,
        "requested_at": state.requested_at,
        "due_at": state.due_at,
        "late": is_late(state, wall_clock()),
        "waits_for": what_waits(state),
        "needs_decision": state.needs_decision,
    }


def _page(request: Request, context: PageContext, status: int = 200, error: str = "") -> HTMLResponse:
    name = context.user.get_name()
    return render(
        request, "erasures.html.j2", status, listed=_list(context, _LISTED), error=error, obstacle=_obstacle(context),
        notify=name if is_address(name) else "",
    )  # fmt: skip


def _request_page(
    request: Request, context: PageContext, request_id: str, run_id: str = "", status: int = 200, error: str = ""
) -> HTMLResponse:
    found = _details(context, request_id)
    # The run carries out others as well, and may fail for one of them.
    run_state, run_error = _outcome(context, run_id) if found.waits_for else ("", "")
    return render(
        request, "erasure.html.j2", status, found=found, error=error, run_state=run_state, run_error=run_error,
        obstacle=_obstacle(context),
    )  # fmt: skip


def _outcome(context: PageContext, run_id: str) -> tuple[str, str]:
    """Say how far a run is: pending, done or failed, and why it failed; empty if there is none of that id."""
    from perennial.airflow import kept_error_of

    run = find_run(context.session, run_id, ERASE_DAG) if run_id else None
    if run is None:
        return "", ""
    if run.state == FAILED:
        return "failed", kept_error_of(context.warehouse, ERASE_DAG, run_id) or "The log of the run says why."
    return ("done" if run.state == SUCCESS else "pending"), ""


def _to_request(request: Request, started: ErasureStarted) -> RedirectResponse:
    root = request.scope.get("root_path", "")
    query = f"id={quote(started.request_id, safe='')}&run={quote(started.run_id, safe='')}"
    return RedirectResponse(f"{root}/erasure?{query}", 303)
