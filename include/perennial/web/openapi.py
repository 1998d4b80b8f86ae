"""The OpenAPI document of the HTTP routes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response

from perennial.web.access import ERASE_DAG, EXPORT_DAG, HOLD_DAG, READ, RESTORE_DAG
from perennial.web.problems import MEDIA_TYPE

router = APIRouter(dependencies=[READ], include_in_schema=False)

_MOUNTED_AT = "/perennial"
_DESCRIPTION = f"""Restores, exports, erasures and everything that the pages show.

Ask for a token with `POST /auth/token` of Airflow, and send it along with every request as `Authorization: Bearer …`.
Rights are those to the DAGs: reading takes the right to see `{RESTORE_DAG}`, restoring the right to trigger it,
cancelling the right to change its runs, exports of people's data the right to trigger `{EXPORT_DAG}`, holds the right
to trigger `{HOLD_DAG}`, erasures those to trigger `{EXPORT_DAG}` and `{ERASE_DAG}`. Every error is a problem
(RFC 9457)."""
_PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "What went wrong (RFC 9457), and what to do about it.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was wrong, where, and what to do"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
            "description": "With 422: what is wrong with each field",
        },
        "completeness": {
            "$ref": "#/components/schemas/CompletenessObject",
            "description": "With 409 of an export: what the answer would leave out",
        },
        "run_ids": {
            "type": "array",
            "items": {"type": "string"},
            "description": "With 409 of a restore: the runs that are bringing the same sources back",
        },
    },
}
_PROBLEMS = {
    "400": "Part of the request cannot be done",
    "401": "Nobody is logged in",
    "403": "The user lacks the right",
    "404": "The address names something that does not exist",
    "422": "A parameter or a field has an invalid value",
    "500": "Something is broken; the detail says what is known, and the log of Airflow's API server says more",
    "503": "The warehouse or the catalog cannot be read at the moment; try again",
}
_PROBLEMS_OF_BODIES = {"411": "The body was sent without its length", "413": "The body is too large"}


def describe(app: FastAPI) -> None:
    """Add to an app's OpenAPI document what FastAPI does not know: problems, the token, where the app is mounted."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _described(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, summary=app.summary, description=_DESCRIPTION, routes=app.routes
    )
    document["servers"] = [{"url": _MOUNTED_AT}]
    document["security"] = [{"bearer": []}]
    components = document.setdefault("components", {})
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for schema in schemas.values():
        _let_nulls_out(schema)
    schemas["Problem"] = _PROBLEM
    for methods in document["paths"].values():
        for operation in methods.values():
            _add_problems(operation)
    return document


def _let_nulls_out(schema: dict[str, Any]) -> None:
    """Let fields that may be null be left out, as the product does."""
    properties = schema.get("properties", {})
    if "required" in schema:
        required = [name for name in schema["required"] if {"type": "null"} not in properties[name].get("anyOf", ())]
        schema["required"] = required


def _add_problems(operation: dict[str, Any]) -> None:
    operation.pop("security", None)
    responses = operation["responses"]
    problems = _PROBLEMS | (_PROBLEMS_OF_BODIES if "requestBody" in operation else {})
    described = {status: {"description": text} for status, text in problems.items()}
    described |= {status: response for status, response in responses.items() if status >= "400" and status != "422"}
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status, response in described.items():
        responses[status] = {"description": response["description"], "content": content}
    operation["responses"] = dict(sorted(responses.items()))


@router.get("/openapi.json")
def openapi(request: Request) -> Response:
    """Return the document; its addresses start where this app is mounted."""
    document = request.app.openapi()
    return JSONResponse({**document, "servers": [{"url": request.scope.get("root_path") or _MOUNTED_AT}]})
