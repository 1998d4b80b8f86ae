"""The app: its routers, security headers on every answer, every error as a problem or a page."""

from __future__ import annotations

from airflow.api_fastapi.core_api.security import bearer_scheme, get_user
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perennial.resources import resource
from perennial.web.archive import router as archive
from perennial.web.erasures import router as erasures
from perennial.web.exports import router as exports
from perennial.web.forecast import router as forecast
from perennial.web.holds import router as holds
from perennial.web.openapi import describe
from perennial.web.openapi import router as openapi
from perennial.web.overview import router as overview
from perennial.web.preview import router as preview
from perennial.web.problems import handle_problems, http_problem, problem, unexpected_problem
from perennial.web.restore_runs import router as restore_runs
from perennial.web.restores import router as restores
from perennial.web.source import router as source
from perennial.web.sources import router as sources
from perennial.web.users import router as users

ROUTERS = (
    overview,
    archive,
    forecast,
    preview,
    sources,
    source,
    holds,
    restores,
    restore_runs,
    users,
    exports,
    erasures,
    openapi,
)
# Room for the ids of 100,000 sources; nobody sends more than that.
BODY_LIMIT_BYTES = 8 * 2**20
# No content from other hosts, no inline script or style; Airflow's own page shows this one in a frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
STATIC = "/static"


def create_app() -> FastAPI:
    """Build the app. Reads no setting and opens nothing: every Airflow process that loads plugins calls it."""
    app = FastAPI(
        title="Perennial",
        summary="Interaction data that expires, is kept for ever, and comes back.",
        docs_url=None,
        redoc_url=None,
        # FastAPI's own needs no right, so anybody could read it.
        openapi_url=None,
    )
    handle_problems(app)
    app.add_middleware(Guard)
    app.mount(STATIC, StaticFiles(directory=resource("web/static")), name="static")
    for router in ROUTERS:
        app.include_router(router)
    describe(app)
    return app


class Guard:
    """Refuses requests that no route should see, adds security headers to every answer, turns errors into problems.

    It is not one of FastAPI's handlers: they would raise the error again, to Airflow's app around this one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        # A browser may cache static files and asks whether they have changed. Routing changes the scope.
        static = scope["path"].startswith(f"{scope.get('root_path', '')}{STATIC}/")
        begun = False

        async def send_guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                _add_headers(MutableHeaders(scope=message), "no-cache" if static else "no-store")
            await send(message)

        try:
            await (await _refused(request) or self._app)(scope, receive, send_guarded)
        except Exception as error:
            if begun:
                raise
            await unexpected_problem(request, error)(scope, receive, send_guarded)


def _add_headers(headers: MutableHeaders, caching: str) -> None:
    headers.setdefault("Content-Security-Policy", POLICY)
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "same-origin"
    headers.setdefault("Cache-Control", caching)


async def _refused(request: Request) -> Response | None:
    # No route accepts another method with a body.
    if request.method != "POST":
        return None
    try:
        # A route checks its right only after the body is read, and a stranger's body must not be read.
        # The second argument says the same, and has another name in Airflow 3.1 and 3.2.
        await get_user(request, None, await bearer_scheme(request))
    except HTTPException as stranger:
        return await http_problem(request, stranger)
    # A browser sends the cookie with a form of any site, but its header about the site cannot be forged by a page.
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return problem(request, 403, "This request came from a page of another site; open the page here and try again.")
    length = request.headers.get("content-length", "")
    if not length.isdigit():
        return problem(request, 411, "Send the body with its length (Content-Length), not in chunks.")
    if int(length) > BODY_LIMIT_BYTES:
        return problem(request, 413, f"The body has {int(length):,} bytes; send at most {BODY_LIMIT_BYTES:,}.")
    return None
