"""Airflow's API, for runs of an earlier version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from fastapi.testclient import TestClient

from tests.web.restoring import forget_runs


@pytest.fixture
def airflow(server: TestClient, tokens: Mapping[str, str]) -> Iterator[TestClient]:
    """Airflow's API, asked as an administrator."""
    server.headers["Authorization"] = f"Bearer {tokens['ann']}"
    forget_runs()
    yield server
    server.headers.pop("Authorization")
    forget_runs()
