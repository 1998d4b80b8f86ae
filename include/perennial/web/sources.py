"""The sources: listed, searched, filtered, sorted and paged on the server."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, Field

from perennial.policy.decisions import SOURCE_KINDS, STATUSES
from perennial.web.access import READ
from perennial.web.dependencies import PageContextDep, SnapshotDep, restoring_sources
from perennial.web.listing import PAGE_SIZE, STATES, VANISHED, SelectionDep, find_page, form_method
from perennial.web.pages import fragment, render

router = APIRouter(dependencies=[READ])

COLUMNS = (
    ("name", "Name"),
    ("kind", "Kind"),
    ("status", "Status"),
    ("tags", "Tags"),
    ("state", "Interaction data"),
    ("last_sent", "Last sent"),
    ("interactions", "Interactions"),
    ("size", "Size"),
)
STATE_LABELS = {
    "available": "available",
    "due": "due within 30 days",
    "kept": "kept by an active filter or a hold",
    "expired": "expired",
    "restoring": "restoring",
    "deleted": "deleted under the previous policy",
}
STATUS_LABELS = {status: status for status in STATUSES} | {VANISHED: "no longer in the platform"}
PageNumber = Annotated[int, Query(ge=1, le=1_000_000, description=f"Page of {PAGE_SIZE} sources, from 1")]


class SourceItem(BaseModel):
    """A campaign or Canvas, and where its interaction data is."""

    model_config = ConfigDict(from_attributes=True)

    source_id: str
    kind: str
    name: str
    status: str = Field(description="draft, active, stopped, archived, or vanished: no longer in the platform")
    vanished_at: datetime | None = Field(description="When a sync first missed it; null while the platform has it")
    state: Literal["available", "expired", "restoring", "deleted"]
    since: datetime | None
    expires_at: datetime | None = Field(description="When its clock and its holds end; null while no clock runs")
    is_kept: bool = Field(description="Whether an active referrer or a hold without an end keeps it")
    is_held: bool = Field(description="Whether a hold keeps it, at least until expires_at")
    last_sent_at: datetime | None
    row_count: int = Field(description="Interactions, hot and in long-term storage")
    hot_rows: int
    archived_rows: int
    total_bytes: int
    tags: tuple[str, ...]


class TagItem(BaseModel):
    """A tag, and how many sources carry it."""

    tag: str
    source_count: int


class SourcePage(BaseModel):
    """Some of the sources that match."""

    obstacle: str = Field(description="Why you cannot start a restore at the moment; empty if you can")
    total: int
    page: int
    pages: int
    sources: list[SourceItem]


@router.get("/", include_in_schema=False)
def home(request: Request) -> RedirectResponse:
    """Lead to the sources."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/sources")


@router.get("/sources", response_class=HTMLResponse, include_in_schema=False)
def sources_page(
    request: Request, selection: SelectionDep, context: PageContextDep, page: PageNumber = 1
) -> HTMLResponse:
    """Show the sources."""
    restoring = restoring_sources(context)
    listed = context.snapshot.now()
    found = find_page(listed, selection, page, restoring)
    return render(
        request, "sources.html.j2", selection=selection, found=found, columns=COLUMNS, obstacle=context.obstacle,
        tag_options=_tag_options(listed.tags),
        method=form_method(source.source_id for source in found.sources),
        choices={"kind": {kind: kind for kind in SOURCE_KINDS}, "status": STATUS_LABELS,
                 "state": {state: STATE_LABELS[state] for state in STATES}},
    )  # fmt: skip


# It stays the same until the sources change, and is a sixth of the page.
@lru_cache(maxsize=2)
def _tag_options(tags: tuple[tuple[str, int], ...]) -> Markup:
    return fragment("tag_options.html.j2", tags=tags)


@router.get("/api/sources", summary="Search, filter, sort and page the sources", tags=["sources"])
def list_sources(selection: SelectionDep, context: PageContextDep, page: PageNumber = 1) -> SourcePage:
    """List the sources that match; a page beyond the last has none."""
    restoring = restoring_sources(context)
    found = find_page(context.snapshot.now(), selection, page, restoring)
    sources = [SourceItem.model_validate(source) for source in found.sources]
    return SourcePage(obstacle=context.obstacle, total=found.total, page=page, pages=found.last, sources=sources)


@router.get("/api/tags", summary="The 200 most used tags", tags=["sources"])
def list_tags(snapshot: SnapshotDep) -> list[TagItem]:
    """List the tags to filter by, the most used first."""
    return [TagItem(tag=tag, source_count=count) for tag, count in snapshot.now().tags]
