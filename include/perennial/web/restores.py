"""Requesting a restore: what it would do, and the click that starts it."""

from __future__ import annotations

import threading
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from perennial.errors import TerminalRequestError
from perennial.notify.addresses import is_address
from perennial.web.access import CANCEL, READ, RESTORE
from perennial.web.airflow_runs import cancel_run, trigger_restore
from perennial.web.dependencies import PageContext, PageContextDep, restoring_sources
from perennial.web.listing import Selection, SelectionDep, matching_ids
from perennial.web.pages import render
from perennial.web.problems import problem
from perennial.web.restore_preview import RefusedError, Resolved, preview_restore, refuse_restore, resolve_restore
from perennial.web.restore_runs import running_restore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perennial.moves import RestoreRequest
    from perennial.moves.requests import RequestedSource

router = APIRouter(tags=["restores"])

# Between the check whether a restore is under way and the start of one, nobody else may check. Two server processes
# may still start two: concurrent moves of the same files neither lose nor double anything (M1, M2).
_STARTING = threading.Lock()
_SHOWN_SOURCES = 100

Text = Annotated[str, Field(min_length=1, max_length=1_000)]
Reason = Annotated[str, Field(max_length=2_000, pattern=r"^[^\x00]*$")]
_LIST = TypeAdapter(list[Text])


def _typed(text: Any) -> Any:
    # A form sends a line break as two characters, but the limit that the writer saw counts one.
    return text.replace("\r\n", "\n").strip() if isinstance(text, str) else text


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Filters(_Model):
    """The filters of the list of sources; an empty one means all."""

    q: str = Field("", max_length=1_000, description="Part of a name or of an id, in any case")
    tag: str = Field("", max_length=1_000, description="A tag, exactly")
    kind: str = ""
    status: str = ""
    state: str = ""


class RestoreOrder(_Model):
    """What to restore, and whom to notify. At least one source, tag or `all` is needed."""

    source_ids: list[Text] = Field([], max_length=100_000, description="Campaigns and Canvases by id")
    tags: list[Text] = Field([], max_length=1_000, description="All sources that carry one of these tags")
    all: Filters | None = Field(None, description="All sources that match these filters now")
    notify: list[str] = Field([], max_length=50, description="E-mail addresses to notify of the outcome")
    reason: Reason = Field("", description="Shown in the audit trail and in the e-mail")
    max_cost: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="Above it in USD, it waits for approval"
    )
    max_bytes: int | None = Field(None, ge=0, description="Above it, it waits for approval")


class SelectedForm(Filters):
    """The form around the list of sources; `ids` are JSON lists, for more of them than a form has fields."""

    # The form also carries the order of the list.
    model_config = ConfigDict(extra="ignore")

    id: list[Text] = Field([], max_length=1_000)
    ids: list[str] = Field([], max_length=1_000)
    tags: list[Text] = Field([], max_length=1_000)
    all: bool = False

    @property
    def selection(self) -> Selection | None:
        """The selection of the filters, if all that match are requested."""
        return Selection(**self.model_dump(include=set(Filters.model_fields))) if self.all else None


class OrderForm(_Model):
    """The form that starts a restore; the lists are JSON, in as many fields as they need.

    Its texts have no limits here: the page says above the form what is too long.
    """

    source_ids: list[str] = Field([], max_length=1_000)
    tags: list[str] = Field([], max_length=10)
    notify: Annotated[str, BeforeValidator(_typed)] = ""
    reason: Annotated[str, BeforeValidator(_typed)] = ""
    max_cost: Annotated[str, BeforeValidator(_typed)] = ""
    max_bytes: Annotated[str, BeforeValidator(_typed)] = ""

    @property
    def params(self) -> dict[str, Any]:
        """Whom to notify and why, and the ceiling, within the limits of every request."""
        ceiling = {name: value for name in ("max_cost", "max_bytes") if (value := getattr(self, name))}
        try:
            order = RestoreOrder.model_validate({"notify": self.notify.split(), "reason": self.reason, **ceiling})
        except ValidationError as error:
            flaws = [f"{flaw['loc'][0]}: {flaw['msg']}" for flaw in error.errors()]
            raise TerminalRequestError(f"{'; '.join(flaws)}.") from None
        return order.model_dump(include={"notify", "reason", *ceiling})


class CancelOrder(_Model):
    """Which restore to cancel."""

    run_id: str = Field(max_length=250, pattern=r"^[^\x00]*$")


class RestoreStarted(_Model):
    """A restore that was started, or is being cancelled."""

    run_id: str
    progress_url: str = Field(description="Shows its progress")


class PreviewedSource(BaseModel):
    """A source of a request."""

    source_id: str
    name: str
    kind: str
    outcome: str = Field(description="Its outcome")
    under_way: bool = Field(description="Whether a restore is bringing it back already")
    run_id: str = Field(description="The run that does so; empty if it is not one of Airflow's")


class RestorePreview(BaseModel):
    """What a restore would do."""

    source_count: int = Field(description="Sources that would come back")
    row_count: int = Field(description="Interactions that would come back")
    total_bytes: int = Field(description="Their size")
    expected: str = Field(description="Time from the request to the e-mail, estimated from earlier restores")
    expected_seconds: tuple[int, int] | None = Field(
        description="The estimate in seconds: least and most; null if nothing is restored"
    )
    expected_from_runs: int = Field(description="How many restores of about that size it is based on; 0: a guess")
    expected_fixed_seconds: int | None = Field(description="The part that any restore takes; null if it is unknown")
    expected_seconds_per_gb: int | None = Field(description="What each GB adds; null if it is unknown")
    expires_at: datetime | None = Field(
        description="When the first of them would expire again if restored now; null if none would"
    )
    cost: str = Field(description="What it costs; empty if the archive is not on S3")
    cost_once: Decimal | None = Field(description="Requests and retrieval; null if the archive is not on S3")
    cost_hot: Decimal | None = Field(description="Storage in the hot table until it expires again")
    currency: str | None = Field(description="Of the costs")
    thaw: str = Field(description="How long the archive needs before that; empty if its data can be read at once")
    refusal: str = Field(description="Why it cannot be requested; empty if it can")
    sources: list[PreviewedSource]


Ids = Annotated[list[Text], Query(alias="id", default_factory=list, max_length=1_000, description="Id of a source")]
Tags = Annotated[list[Text], Query(default_factory=list, max_length=1_000, description="A tag of a source")]
All = Annotated[bool, Query(alias="all", description="Every source that matches the filters")]


@router.get("/restore", dependencies=[READ], response_class=HTMLResponse, include_in_schema=False)
def restore_page(
    request: Request, context: PageContextDep, selection: SelectionDep, ids: Ids, tags: Tags, everything: All = False
) -> HTMLResponse:
    """Show what a restore would do, with the form to request it."""
    return _page(request, context, _chosen(context, ids, tags, selection if everything else None))


@router.post("/restore", dependencies=[READ], response_class=HTMLResponse, include_in_schema=False)
def restore_page_of_many(
    request: Request, context: PageContextDep, form: Annotated[SelectedForm, Form()]
) -> HTMLResponse:
    """Show the same for more ids than an address holds; starts nothing."""
    named = [*form.id, *_listed("ids", form.ids)]
    return _page(request, context, _chosen(context, named, form.tags, form.selection))


@router.post("/restores", dependencies=[RESTORE], include_in_schema=False)
def restore_by_form(request: Request, context: PageContextDep, form: Annotated[OrderForm, Form()]) -> Response:
    """Start a restore and lead to its progress; an error is shown above the form, which keeps its texts."""
    form_ids, form_tags = _listed("source_ids", form.source_ids), _listed("tags", form.tags)
    try:
        run_id = _start(context, {"source_ids": form_ids, "tags": form_tags, **form.params}, by_page=True)
    except TerminalRequestError as error:
        wanted = _request(form_ids, form_tags)
        status = 409 if isinstance(error, RefusedError) else 400
        typed = form.model_dump(include={"notify", "reason", "max_cost", "max_bytes"})
        return _page(request, context, wanted, status, error=str(error), **typed)
    return RedirectResponse(_progress_address(request, "/restores/run", run_id), 303)


@router.post(
    "/api/restores",
    dependencies=[RESTORE],
    status_code=202,
    summary="Start a restore",
    response_model=RestoreStarted,
    responses={
        400: {"description": "The request cannot be carried out: it names something unknown, or nobody to notify"},
        409: {"description": "Not now: a restore is under way, nothing can be restored, or the DAG is paused"},
    },
)
def restore_by_api(request: Request, context: PageContextDep, order: RestoreOrder) -> Any:
    """Start one restore, whatever the number of sources: one run, one e-mail. Nothing is started when it is refused."""
    params = order.model_dump(exclude={"all"})
    if order.all is not None:
        chosen = _matching(context, Selection(**order.all.model_dump()))
        params = {**params, "source_ids": [*order.source_ids, *chosen[0]], "tags": [*order.tags, *chosen[1]]}
    try:
        run_id = _start(context, params, by_page=False)
    except RefusedError as error:
        return problem(request, 409, str(error), run_ids=error.run_ids)
    address = _progress_address(request, "/api/restores/run", run_id)
    return JSONResponse({"run_id": run_id, "progress_url": address}, 202, {"Location": address})


@router.post("/restores/cancel", dependencies=[CANCEL], include_in_schema=False)
def cancel_by_form(request: Request, context: PageContextDep, form: Annotated[CancelOrder, Form()]) -> Response:
    """Cancel a restore and lead to its page, which shows how it ends; one that is over stays as it is."""
    if (run := running_restore(context, form.run_id)) is not None:
        cancel_run(context.session, run, context.user.get_name())
    return RedirectResponse(_progress_address(request, "/restores/run", form.run_id), 303)


@router.post(
    "/api/restores/cancel",
    dependencies=[CANCEL],
    status_code=202,
    summary="Cancel a restore",
    response_model=RestoreStarted,
    responses={404: {"description": "There is no such run"}, 409: {"description": "The restore is over"}},
)
def cancel_by_api(request: Request, context: PageContextDep, order: CancelOrder) -> Any:
    """Cancel a restore: before its data is in the hot table nothing of it is left, after that it is finished."""
    if (run := running_restore(context, order.run_id)) is None:
        return problem(request, 409, f"The restore {order.run_id!r} has ended; there is nothing to cancel.")
    cancel_run(context.session, run, context.user.get_name())
    address = _progress_address(request, "/api/restores/run", order.run_id)
    return JSONResponse({"run_id": order.run_id, "progress_url": address}, 202, {"Location": address})


@router.get("/api/restore", dependencies=[READ], summary="What a restore would do", response_model=RestorePreview)
def preview_by_api(
    context: PageContextDep, selection: SelectionDep, ids: Ids, tags: Tags, everything: All = False
) -> RestorePreview:
    """Return what would be restored and what cannot be, without starting anything. Give sources, tags or filters."""
    preview = preview_restore(context, _chosen(context, ids, tags, selection if everything else None))
    resolved, expected = preview.resolved or Resolved((), (), ()), preview.expected
    pace = expected.pace if expected else None
    sources = [_previewed(source) for source in resolved.coming]
    sources += [_previewed(source, group.of) for group in resolved.under_way for source in group.sources]
    sources += [_previewed(source) for group in resolved.staying for source in group.sources]
    return RestorePreview(
        source_count=len(resolved.coming),
        row_count=preview.row_count,
        total_bytes=preview.total_bytes,
        expected=expected.sentence if expected else "",
        expected_seconds=(round(expected.shortest.total_seconds()), round(expected.longest.total_seconds()))
        if expected
        else None,
        expected_fixed_seconds=round(pace.fixed.total_seconds()) if pace else None,
        expected_seconds_per_gb=round(pace.per_gb.total_seconds()) if pace else None,
        expected_from_runs=expected.run_count if expected else 0,
        expires_at=preview.again.first_at if preview.again else None,
        cost=preview.cost,
        cost_once=preview.price.once if preview.price else None,
        cost_hot=preview.price.hot if preview.price else None,
        currency=preview.price.currency if preview.price else None,
        thaw=preview.thaw,
        refusal=preview.refusal,
        sources=sources,
    )


def _previewed(source: RequestedSource, run_id: str | None = None) -> PreviewedSource:
    return PreviewedSource(
        source_id=source.source_id,
        name=source.name,
        kind=source.kind,
        outcome=source.outcome,
        under_way=run_id is not None,
        run_id=run_id or "",
    )


def _start(context: PageContext, params: Mapping[str, Any], *, by_page: bool) -> str:
    from perennial.moves import RestoreRequest

    request = RestoreRequest.from_params(params)
    with _STARTING:
        refuse_restore(context, resolve_restore(context, request, at_once=True))
        return trigger_restore(context.session, request, context.user.get_name(), by_page)


def _chosen(context: PageContext, ids: list[str], tags: list[str], selection: Selection | None) -> RestoreRequest:
    matching: tuple[list[str], list[str]] = ([], []) if selection is None else _matching(context, selection)
    source_ids, chosen_tags = [*ids, *matching[0]], [*tags, *matching[1]]
    if not source_ids and not chosen_tags:
        raise TerminalRequestError("No source is selected; select some in the list of sources, or all that match.")
    return _request(source_ids, chosen_tags)


def _request(source_ids: list[str], tags: list[str]) -> RestoreRequest:
    from perennial.moves import RestoreRequest

    return RestoreRequest(source_ids=tuple(dict.fromkeys(source_ids)), tags=tuple(dict.fromkeys(tags)))


def _matching(context: PageContext, selection: Selection) -> tuple[list[str], list[str]]:
    """The ids and the tags for a selection; all sources with one tag are requested by that tag (R11).

    A restore by tag brings back the expired sources with it, so the filter for expired sources changes nothing.
    """
    if selection.tag and selection.filters.items() <= {"tag": selection.tag, "state": "expired"}.items():
        return [], [selection.tag]
    source_ids = matching_ids(context.snapshot.now(), selection, restoring_sources(context))
    if not source_ids:
        raise TerminalRequestError(f"No source matches {selection.filters or 'all'}; nothing was started.")
    return source_ids, []


def _listed(name: str, fields: list[str]) -> list[str]:
    """Read lists of strings from form fields; each field is a JSON list, so that it holds many."""
    try:
        return [text for field in fields for text in _LIST.validate_json(field)]
    except ValueError:
        raise TerminalRequestError(
            f"{name} of the form is not a JSON list of strings; open the page again and try again."
        ) from None


def _page(
    request: Request, context: PageContext, wanted: RestoreRequest, status: int = 200, error: str = "", **typed: str
) -> HTMLResponse:
    name = context.user.get_name()
    texts = {"notify": name if is_address(name) else "", "reason": "", "max_cost": "", "max_bytes": ""} | typed
    preview = preview_restore(context, wanted)
    return render(
        request, "restore.html.j2", status, preview=preview, error=error, shown_count=_SHOWN_SOURCES, **texts,
    )  # fmt: skip


def _progress_address(request: Request, path: str, run_id: str) -> str:
    return f"{request.scope.get('root_path', '')}{path}?id={quote(run_id, safe='')}"
