"""Maintenance through Airflow: what its tasks do to the tables, and which windows it takes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ParamValidationError

from perennial.warehouse import Warehouse
from tests.airflow import RunDag
from tests.rows import append_hot, hot_and_archive, interaction

NOW = datetime(2026, 6, 1, 5, 30, tzinfo=UTC)


def test_a_run_merges_small_files_and_keeps_every_row(warehouse: Warehouse, run_dag: RunDag) -> None:
    for load in range(4):
        append_hot(warehouse, [interaction(source, load) for source in ("a", "it's/b")])
    before = hot_and_archive(warehouse)

    run = run_dag("maintain_warehouse", at=NOW)

    assert run.state == "success"
    assert {key: total.file_count for key, total in warehouse.source_totals("interactions").items()} == {
        "a": 1,
        "it's/b": 1,
    }
    assert hot_and_archive(warehouse) == before


@pytest.mark.parametrize("retain_days", [0, -3, 1.5, "many"])
def test_a_window_that_is_no_whole_number_of_days_is_refused(dags: Mapping[str, Any], retain_days: object) -> None:
    param = dags["maintain_warehouse"].params.get_param("retain_days")

    with pytest.raises(ParamValidationError):
        param.resolve(retain_days)
