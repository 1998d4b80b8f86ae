"""Pages: Jinja2 templates that escape everything, rendered on the server."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from perennial.notify import wording

TEMPLATE_ROOT = Path(__file__).parent / "templates"


def render(request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """Render a page.

    Args:
        request: Tells the address below which the app is mounted.
        template: Name of a template.
        status: HTTP status.
        context: What the template shows.
    """
    root = request.scope.get("root_path", "")
    text = _environment().get_template(template).render(root=root, path=request.url.path, status=status, **context)
    return HTMLResponse(text, status)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_ROOT),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=wording.count, size=wording.size, moment=wording.moment, day=wording.day, shown=wording.shown,
        segment=segment, query=urlencode,
    )  # fmt: skip
    return environment


def segment(text: str) -> str:
    """Write an id as one segment of a path; ids may hold slashes, and a server may not be told of an escaped one."""
    return quote(text, safe="")
