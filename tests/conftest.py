"""Fixtures that every test may use: a fresh workspace with real tables on a local disk."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from perennial.demo.in_process import airflow_environment

# Airflow reads its configuration when it is first imported, by whichever test comes first.
os.environ |= airflow_environment(Path(tempfile.mkdtemp(prefix="perennial-airflow-"))) | {
    "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of the tests, long enough to be one of sixty-four bytes.",
    "AIRFLOW__API__BASE_URL": "http://127.0.0.1:8080",
}

from perennial.settings import Settings
from perennial.warehouse import Warehouse


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment(
        {"PERENNIAL_HOME": str(tmp_path / "home"), "PERENNIAL_LANDING_SETTLE_SECONDS": "0"}
    )


@pytest.fixture
def warehouse(settings: Settings) -> Warehouse:
    warehouse = Warehouse(settings)
    warehouse.create_tables()
    return warehouse
