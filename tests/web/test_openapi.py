"""The description of the HTTP routes: that it is whole, that it is no stranger's, and that the routes keep to it."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx2
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, reject
from hypothesis import settings as hypothesis_settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks
from scripts.check_citations import CITATION

from perennial.settings import Settings
from perennial.warehouse import Warehouse
from perennial.web import create_app
from tests.web.conftest import As

DOCUMENT = create_app().openapi()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
EXAMPLES = 15
# Made-up tokens would get no further than the door, which has tests of its own (test_access.py).
WITH_TOKEN = {**DOCUMENT, "security": []}


@pytest.fixture
def settings(expired: Warehouse) -> Settings:
    return expired.settings


def test_the_document_names_the_token_the_prefix_and_problems(page: As) -> None:
    document = page("vic").get("/perennial/openapi.json").json()
    assert document == DOCUMENT
    assert document["servers"] == [{"url": "/perennial"}]
    assert document["security"] == [{"bearer": []}]
    assert document["components"]["securitySchemes"] == {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operation in OPERATIONS.values():
        refused = {status: found for status, found in operation["responses"].items() if status >= "400"}
        assert refused.keys() >= {"400", "401", "403", "404", "422", "500", "503"}
        assert {json.dumps(found["content"]) for found in refused.values()} == {json.dumps(problem)}
        assert operation["summary"]


def test_every_reference_of_the_document_leads_somewhere() -> None:
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(DOCUMENT)))
    assert named <= DOCUMENT["components"]["schemas"].keys()


def test_the_document_cites_no_rule_by_its_number() -> None:
    text = json.dumps(DOCUMENT)
    assert [text[found.start() - 80 : found.end()] for found in CITATION.finditer(text)] == []


def test_every_page_links_the_document(page: As) -> None:
    text = page("vic").get("/perennial/sources").text
    assert '<a href="/perennial/openapi.json" target="_blank" data-airflow>API</a>' in text


def test_a_stranger_reads_no_description(server: TestClient) -> None:
    answer = server.get("/perennial/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


# What takes nothing cannot be asked wrongly.
ASKED = [
    pytest.param(name, mode, id=f"{name} {mode.value}")
    for name, operation in OPERATIONS.items()
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or operation.keys() & {"parameters", "requestBody"}
]


@pytest.mark.long(but="/api/sources|GET /api/restores positive|users/delete")
@pytest.mark.parametrize(("operation", "mode"), ASKED)
def test_a_route_answers_as_it_is_described_whatever_it_is_asked(
    page: As, operation: str, mode: GenerationMode
) -> None:
    method, path = operation.split()
    client, described = page("ann"), schemathesis.openapi.from_dict(WITH_TOKEN)[path][method]

    @hypothesis_settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=described.as_strategy(generation_mode=mode))
    def keeps_to_it(case: Any) -> None:
        asked = case.as_transport_kwargs(base_url="http://testserver/perennial")
        del asked["cookies"]
        asked["content"] = asked.pop("data", None)
        try:
            answer = client.request(**asked)
        except httpx2.InvalidURL:
            # Longer than the client sends.
            reject()
        # A well-formed request may still name what is not there, or nothing at all.
        case.validate_response(answer, excluded_checks=[checks.positive_data_acceptance])

    keeps_to_it()
