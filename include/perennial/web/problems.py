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


class NotFoundError(TerminalRequestError):
    """What an address names is not there."""


def handle_problems(app: FastAPI) -> None:
    """Make every error of an app a problem."""
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(PerennialError, _of_perennial)
    app.add_exception_handler(Exception, _of_unexpected)


def problem(
    request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """Answer with a problem: a page where the request came from a browser's address bar, RFC 9457 otherwise."""
    title = HTTPStatus(status).phrase
    if "text/html" in request.headers.get("accept", ""):
        return render(request, "problem.html.j2", status=status, title=title, detail=detail)
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return JSONResponse(content, status, headers, MEDIA_TYPE)


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(request, error.status_code, str(error.detail), error.headers)


async def _of_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # Neither the input nor its context: both may hold what JSON cannot, and neither is needed to mend it.
    flaws = [{"field": ".".join(map(str, flaw["loc"])), "message": flaw["msg"]} for flaw in error.errors()]
    told = "; ".join(f"{flaw['field']}: {flaw['message']}" for flaw in flaws[:5])
    return problem(request, 422, told, errors=flaws)


async def _of_perennial(request: Request, error: Exception) -> Response:
    if isinstance(error, NotFoundError):
        return problem(request, 404, str(error))
    if isinstance(error, TerminalRequestError):
        return problem(request, 400, str(error))
    if isinstance(error, TransientError):
        return problem(request, 503, str(error), {"Retry-After": "5"})
    log.error("%s %s: %s", request.method, request.url.path, error)
    return problem(request, 500, str(error))


async def _of_unexpected(request: Request, error: Exception) -> Response:
    log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(request, 500, "The warehouse could not be asked; Airflow's API server has logged why. Try again.")
