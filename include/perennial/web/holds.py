"""Holds: who keeps what hot, why and until when; placed and lifted by a run of the DAG `hold_sources` (R19)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from perennial.errors import TerminalRequestError
from perennial.statements import statement
from perennial.web.access import HOLD, HOLD_DAG, READ
from perennial.web.airflow_runs import FAILED, SUCCESS, find_run, trigger_run
from perennial.web.dependencies import PageContext, PageContextDep
from perennial.web.pages import render
from perennial.web.problems import problem

router = APIRouter(tags=["holds"])

Short = Annotated[str, Field(max_length=1_000, pattern=r"^[^\x00]*$")]


class HoldItem(BaseModel):
    """A hold that counts now: on a source or on a tag."""

    hold_id: str
    source_id: str | None
    tag: str | None
    held_by: str
    reason: str
    held_at: datetime
    until: datetime | None = Field(description="Its end; null: until it is lifted")
    kept_count: int = Field(description="Sources whose data it keeps hot; a hold brings nothing back")


class HoldOrder(BaseModel):
    """A hold to place, or the id of one to lift. Give a source or a tag, with a reason."""

    model_config = ConfigDict(extra="forbid")

    source_id: Short = ""
    tag: Short = ""
    until: Short = Field("", description="A day or moment, UTC; empty: until it is lifted")
    reason: Short = Field("", description="Shown wherever the hold is named")
    lift: Short = Field("", description="The id of a hold to lift")

    @property
    def params(self) -> dict[str, str]:
        """The params of the DAG."""
        return {name: text for name, text in self.model_dump().items() if text.strip()}


class HoldStarted(BaseModel):
    """A run that records a hold, or its end. The hold counts when the run has succeeded."""

    run_id: str


@router.get("/holds", dependencies=[READ], response_class=HTMLResponse, include_in_schema=False)
def holds_page(
    request: Request,
    context: PageContextDep,
    source_id: Annotated[str, Query(alias="id")] = "",
    tag: str = "",
    run: str = "",
) -> HTMLResponse:
    """Show the holds, with the form to place one."""
    return _page(request, context, run=run, typed={"source_id": source_id, "tag": tag})


@router.get("/api/holds", dependencies=[READ], summary="The holds that count now, the first to end first")
def list_holds(context: PageContextDep) -> list[HoldItem]:
    """List the holds that count now."""
    return _holds(context)


@router.post("/holds", dependencies=[HOLD], include_in_schema=False)
def hold_by_form(request: Request, context: PageContextDep, form: Annotated[HoldOrder, Form()]) -> Response:
    """Have a hold placed or lifted; an error is shown above the form, which keeps its texts."""
    try:
        run_id = _start(context, form.params, by_page=True)
    except TerminalRequestError as error:
        return _page(request, context, 400, error=str(error), typed=form.model_dump())
    root = request.scope.get("root_path", "")
    return RedirectResponse(f"{root}/holds?run={quote(run_id, safe='')}", 303)


@router.post(
    "/api/holds",
    dependencies=[HOLD],
    status_code=202,
    summary="Place a hold, or lift one",
    response_model=HoldStarted,
    responses={409: {"description": "Not now: the DAG is paused, or Airflow cannot read it"}},
)
def hold_by_api(request: Request, context: PageContextDep, order: HoldOrder) -> Any:
    """Start the run that records it; nothing is started when it is refused."""
    if obstacle := context.hold_obstacle:
        return problem(request, 409, obstacle)
    return JSONResponse({"run_id": _start(context, order.params, by_page=False)}, 202)


def _start(context: PageContext, params: dict[str, str], *, by_page: bool) -> str:
    from perennial.policy.hold_requests import refuse_request

    if obstacle := context.hold_obstacle:
        raise TerminalRequestError(obstacle)
    name = context.user.get_name()
    refuse_request(context.warehouse, params, name, datetime.now(UTC))
    return trigger_run(context.session, HOLD_DAG, dict(params), params, name, by_page)


def _holds(context: PageContext) -> list[HoldItem]:
    from perennial.engines.duckdb import open_status_session
    from perennial.policy.holds import show_holds

    now = datetime.now(UTC)
    with open_status_session(context.warehouse) as session:
        show_holds(session, context.warehouse, now)
        result = session.execute(statement("policy/list_holds"), {"as_of": now})
        columns = [column[0] for column in result.description or ()]
        return [HoldItem(**dict(zip(columns, row, strict=True))) for row in result.fetchall()]


def _page(
    request: Request,
    context: PageContext,
    status: int = 200,
    run: str = "",
    error: str = "",
    typed: Mapping[str, str] | None = None,
) -> HTMLResponse:
    state, said = _outcome(context, run) if run else ("", "")
    texts = dict.fromkeys(HoldOrder.model_fields, "") | dict(typed or {})
    return render(
        request, "holds.html.j2", status, holds=_holds(context), error=error, typed=texts, run_state=state,
        run_error=said, obstacle=context.hold_obstacle, today=f"{datetime.now(UTC):%Y-%m-%d}",
    )  # fmt: skip


def _outcome(context: PageContext, run_id: str) -> tuple[str, str]:
    """Say how far the run of a hold is: pending, recorded or failed, and why it failed."""
    from perennial.airflow import kept_error_of

    run = find_run(context.session, run_id, HOLD_DAG)
    if run is None or run.state == SUCCESS:
        return ("recorded", "") if run else ("", "")
    if run.state == FAILED:
        return "failed", kept_error_of(context.warehouse, HOLD_DAG, run_id) or "The log of the run says why."
    return "pending", ""
