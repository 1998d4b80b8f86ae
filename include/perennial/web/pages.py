"""Pages: Jinja2 templates that escape everything, rendered on the server."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from perennial import text as formatting
from perennial.resources import resource
from perennial.settings import dag_id

TEMPLATE_ROOT = resource("web/templates")
# Letters and symbols, as Unicode has them, that are drawn as nothing: fillers of Hangul, the empty Braille pattern.
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"
# A form field holds a megabyte as sent, where each of these characters may take three bytes.
_FIELD_CHARACTERS = 250_000


def render(request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """Render a page.

    Args:
        request: Gives the address below which the app is mounted.
        template: Name of a template.
        status: HTTP status.
        context: Values for the template.
    """
    root = request.scope.get("root_path", "")
    text = (
        _environment()
        .get_template(template)
        .render(root=root, path=request.url.path, view=_view(request), status=status, **context)
    )
    return HTMLResponse(text, status)


def _view(request: Request) -> str:
    """The address that shows the same page again; empty if there is none, as after a form was sent."""
    query = request.url.query
    return f"{request.url.path}{'?' if query else ''}{query}" if request.method == "GET" else ""


def fragment(template: str, **context: Any) -> Markup:
    """Render a part of a page that is the same for everybody, so that it can be cached."""
    return Markup(_environment().get_template(template).render(**context))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_ROOT),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # They come with the package.
        auto_reload=False,
    )
    environment.filters.update(
        count=formatting.pluralize, size=formatting.format_bytes, moment=formatting.moment, day=formatting.day,
        dated=formatting.dated, shown=_escape_for_page, segment=segment, query=query, named=named,
        json_lists=json_lists,
    )  # fmt: skip
    environment.globals["dag_id"] = dag_id
    return environment


def segment(text: str) -> str:
    """Write an id as one segment of a path; ids may contain slashes, and a server may not see an escaped one."""
    return quote(text, safe="")


def _escape_for_page(text: str) -> str:
    """As `text.escape_invisible`, but fast for text that is entirely visible, as nearly all of it is."""
    return text if text.isprintable() else formatting.escape_invisible(text)


def named(name: str | None, source_id: str) -> str:
    """Return the text of a link to a source: its name, or its id if the name is invisible."""
    return name if name and any(map(_has_ink, name)) else source_id


def _has_ink(char: str) -> bool:
    # Separators, controls and joiners, and marks, which only modify another character.
    return unicodedata.category(char)[0] not in "ZCM" and char not in _BLANK


def json_lists(texts: Iterable[str]) -> Iterator[str]:
    """Write texts as JSON lists, each small enough for a field of a form, in plain ASCII."""
    begun: list[str] = []
    length = 0
    for written in map(json.dumps, texts):
        if begun and length + len(written) > _FIELD_CHARACTERS:
            yield f"[{', '.join(begun)}]"
            begun, length = [], 0
        begun.append(written)
        length += len(written) + 2
    if begun:
        yield f"[{', '.join(begun)}]"


def query(fields: Mapping[str, str]) -> str:
    """Write fields as the query of an address."""
    return "&".join([f"{_quoted(field)}={_quoted(value)}" for field, value in fields.items()])


# The same names, tags and ids appear on page after page.
_quoted = lru_cache(maxsize=10_000)(quote_plus)
