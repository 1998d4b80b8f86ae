"""What other tests share: the DAGs, Airflow's API server, mail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from fastapi.testclient import TestClient

from tests.dags.conftest import dags, mailbox, run_dag  # noqa: F401 - the same Airflow
from tests.web.conftest import server, tokens  # noqa: F401 - likewise
from tests.web.restoring import forget_runs


@pytest.fixture
def airflow(server: TestClient, tokens: Mapping[str, str]) -> Iterator[TestClient]:  # noqa: F811
    """Airflow's API, asked as an administrator."""
    server.headers["Authorization"] = f"Bearer {tokens['ann']}"
    forget_runs()
    yield server
    server.headers.pop("Authorization")
    forget_runs()
