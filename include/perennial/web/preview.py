"""What the next run would do, as a difference to the last one (R19-R21)."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from perennial.policy.preview import Preview, next_run_at
from perennial.policy.preview import preview as previewed
from perennial.web.access import READ
from perennial.web.dependencies import PageContext, PageContextDep, restoring_sources
from perennial.web.pages import render

router = APIRouter(dependencies=[READ], tags=["overview"])

_SHOWN = 200


@router.get("/preview", response_class=HTMLResponse, include_in_schema=False)
def preview_page(request: Request, context: PageContextDep) -> HTMLResponse:
    """Show what the next run changes."""
    return render(request, "preview.html.j2", found=_preview(context), shown_count=_SHOWN)


@router.get("/api/preview", summary="What the next run would do, and what of that is new")
def show_preview(context: PageContextDep) -> Preview:
    """Return what the next run would decide, compared with the last one."""
    return _preview(context)


def _preview(context: PageContext) -> Preview:
    return previewed(context.warehouse, next_run_at(datetime.now(UTC)), frozenset(restoring_sources(context)))
