"""The sources: listed, searched, filtered, sorted and paged on the server."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from perennial.web.access import READ
from perennial.web.pages import render
from perennial.web.warehouse import SnapshotDep

router = APIRouter(dependencies=[READ])


@router.get("/", include_in_schema=False)
def home(request: Request) -> RedirectResponse:
    """Lead to the sources."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/sources")


@router.get("/sources", response_class=HTMLResponse, include_in_schema=False)
def sources_page(request: Request, snapshot: SnapshotDep) -> HTMLResponse:
    """Show the sources."""
    with snapshot.cursor() as cursor:
        rows = cursor.execute("SELECT count(*) FROM listed_sources").fetchall()
    return render(request, "sources.html.j2", count=rows[0][0])
