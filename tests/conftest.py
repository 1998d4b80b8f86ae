"""Fixtures that every test may use: a fresh workspace with real tables on a local disk."""

from __future__ import annotations

from pathlib import Path

import pytest

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
