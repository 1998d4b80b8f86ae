"""Errors as RFC 9457 problem details for programs, and as a page for people."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from perennial.errors import PerennialError, TerminalRequestError, TransientError
from perennial.web.pages import render

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_LOGGED = " The log of Airflow's API server says why."
_DATABASE = "The database of the catalog, or Airflow's own,"
_FILES = "Files of the warehouse are missing, or cannot be read at the moment."
# Errors of libraries, whether a retry may help, and what to say; the first match counts.
_OUTAGES: tuple[tuple[tuple[str, ...], bool, str], ...] = (
    (
        ("sqlalchemy.OperationalError", "sqlalchemy.InterfaceError", "sqlalchemy.TimeoutError"),
        True,
        f"{_DATABASE} does not answer, or another program has locked it.",
    ),
    (("sqlalchemy.SQLAlchemyError",), False, f"{_DATABASE} cannot be read."),
    (
        ("pyiceberg.ServerError", "pyiceberg.ServiceUnavailableError", "pyiceberg.TooManyRequestsError"),
        True,
        "The catalog does not answer.",
    ),
    (("pyiceberg.RESTError",), False, "The catalog refuses to answer; its settings or its login may be wrong."),
    # Invalid input: how a view says that its files have vanished.
    (("builtins.OSError", "duckdb.OperationalError", "duckdb.InvalidInputException"), True, _FILES),
)


class NotFoundError(TerminalRequestError):
    """The address names something that does not exist."""


def handle_problems(app: FastAPI) -> None:
    """Make every error of an app a problem."""
    app.add_exception_handler(HTTPException, http_problem)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(PerennialError, _of_perennial)


def problem(
    request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """Answer with a problem: as a page if a browser navigated here, otherwise as RFC 9457."""
    title = HTTPStatus(status).phrase
    if "text/html" in request.headers.get("accept", ""):
        page = render(request, "problem.html.j2", status=status, title=title, detail=detail)
        page.headers.update(headers or {})
        return page
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return JSONResponse(content, status, headers, MEDIA_TYPE)


async def http_problem(request: Request, error: Exception) -> Response:
    """Answer an invalid request."""
    assert isinstance(error, HTTPException)
    return problem(request, error.status_code, str(error.detail), error.headers)


async def _of_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # Without the input and its context: both may contain what JSON cannot, and neither is needed to correct it.
    mistakes = [{"field": ".".join(map(str, flaw["loc"])), "message": flaw["msg"]} for flaw in error.errors()]
    detail = "; ".join(f"{mistake['field']}: {mistake['message']}" for mistake in mistakes[:5])
    return problem(request, 422, detail, errors=mistakes)


async def _of_perennial(request: Request, error: Exception) -> Response:
    if isinstance(error, NotFoundError):
        return problem(request, 404, str(error))
    if isinstance(error, TerminalRequestError):
        return problem(request, 400, str(error))
    if isinstance(error, TransientError):
        return _unavailable(request, str(error))
    if isinstance(error.__cause__, OSError):
        # A file that is missing may come back, and the text names its path.
        return unexpected_problem(request, error.__cause__)
    log.error("%s %s: %s", request.method, request.url.path, error)
    return problem(request, 500, str(error))


def unexpected_problem(request: Request, error: Exception) -> Response:
    """Answer when a library failed. Its message goes only to the log: it may name hosts, paths and logins."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    # Libraries that most requests do not need are not imported for the names of their errors.
    names = {f"{kind.__module__.partition('.')[0].lstrip('_')}.{kind.__name__}" for kind in type(error).__mro__}
    for kinds, passes, detail in _OUTAGES:
        if not names.isdisjoint(kinds):
            return _unavailable(request, detail + _LOGGED) if passes else problem(request, 500, detail + _LOGGED)
    return problem(request, 500, f"This request could not be answered.{_LOGGED}")


def _unavailable(request: Request, detail: str) -> Response:
    return problem(request, 503, detail, {"Retry-After": "5"})
