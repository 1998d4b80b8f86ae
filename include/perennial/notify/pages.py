"""The Jinja2 templates: one HTML and one text template for each kind of message."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from perennial import text as formatting
from perennial.notify import links
from perennial.resources import resource

TEMPLATE_ROOT = resource("templates")


def render(name: str, **context: Any) -> tuple[str, str]:
    """Render `<name>.txt.j2` and `<name>.html.j2`.

    Every string that a template prints is made visible character by character, and escaped in HTML, whether the
    template asks for it or not.

    Returns:
        The text and the HTML document.
    """
    text = _environment(html=False).get_template(f"{name}.txt.j2").render(context)
    return text, _environment(html=True).get_template(f"{name}.html.j2").render(context)


@cache
def _environment(*, html: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_ROOT),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible if html else _isolated,
    )
    environment.filters.update(
        count=formatting.pluralize, size=formatting.format_bytes, exact_size=formatting.exact_size,
        moment=formatting.moment, day=formatting.day, shortened=formatting.shortened,
        verbatim=Verbatim, local_path=local_path,
    )  # fmt: skip
    environment.globals.update(source_link=links.source_link, run_link=links.run_link)
    environment.tests["web_address"] = lambda value: str(value).startswith(("http://", "https://"))
    environment.tests["local"] = lambda value: local_path(str(value)).startswith("/")
    return environment


def local_path(uri: str) -> str:
    """Return the path of a file of this machine as people write it; any other address as it is."""
    return uri.removeprefix("file://")


class Verbatim(str):
    """Text to be copied, visible already: the text part adds no isolating characters to it."""


def _visible(value: Any) -> Any:
    return formatting.escape_invisible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _isolated(value: Any) -> Any:
    return formatting.bidi_isolate(value) if isinstance(value, str) and not isinstance(value, Verbatim) else value
