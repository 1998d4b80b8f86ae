"""The ceiling of a restore: what it compares, and which values it refuses (R23)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perennial.cost import read_prices
from perennial.errors import TerminalRequestError
from perennial.moves import Run, restore_sources
from perennial.moves.ceiling import body, ceiling_report
from perennial.moves.costs import restore_price
from perennial.moves.restore import check_request
from perennial.operations import pending_records
from perennial.warehouse import Warehouse
from tests.moves.test_killed import NOW, REQUEST, expire
from tests.rows import append_hot, interaction, multiset
from tests.workspace import Workspace

RUN = Run("r2", NOW + timedelta(days=1), "ann <a@example.com>")


def expired(warehouse: Warehouse) -> Warehouse:
    workspace = Workspace(warehouse)
    workspace.source("a", name="[x](http://example.com) *A*")
    workspace.source("b")
    append_hot(warehouse, [interaction(source, number) for source in workspace.sources for number in range(20)])
    workspace.sync()
    expire(warehouse)
    return warehouse


@pytest.mark.parametrize(
    ("param", "value", "remedy"),
    [
        ("max_cost", -1, "an amount in USD, 0 or more"),
        ("max_cost", "5", "an amount in USD, 0 or more"),
        ("max_cost", True, "an amount in USD, 0 or more"),
        ("max_cost", float("nan"), "an amount in USD, 0 or more"),
        ("max_bytes", -1, "a whole number of bytes, 0 or more"),
        ("max_bytes", 1.5, "a whole number of bytes, 0 or more"),
    ],
)
def test_r23_a_ceiling_that_cannot_be_used_is_refused_by_name_before_anything_moves(
    warehouse: Warehouse, param: str, value: Any, remedy: str
) -> None:
    with pytest.raises(TerminalRequestError) as refused:
        check_request(warehouse, {**REQUEST, param: value})
    assert f"{param} is {value!r}; give {remedy}." in str(refused.value)


def test_r23_the_ceiling_is_compared_with_what_would_come_back(warehouse: Warehouse) -> None:
    expired(warehouse)
    total = sum(one.total_bytes for one in warehouse.source_totals("interactions_archive").values())
    before = multiset(warehouse, "interactions")

    def asked(**ceiling: Any) -> Any:
        return ceiling_report(warehouse, check_request(warehouse, REQUEST | ceiling), RUN)

    assert asked() is None
    assert asked(max_bytes=total) is None
    # A local disk has no price.
    assert asked(max_bytes=total, max_cost=0) is None
    report = asked(max_bytes=total - 1)
    assert (report.total_bytes, report.row_count, set(report.sources)) == (total, 40, {"a", "b"})
    shown = body(report)
    assert r"\[x\]\(http://example\.com\) \*A\*" in shown
    assert r"ann \<a@example\.com\>" in shown

    # Outside Airflow nobody can be asked.
    with pytest.raises(TerminalRequestError, match=r"max_bytes is .* Nothing was moved\. Raise the ceiling"):
        restore_sources(warehouse, {**REQUEST, "max_bytes": total - 1}, RUN)
    assert multiset(warehouse, "interactions") == before
    assert not list(pending_records(warehouse))


@pytest.mark.long
def test_r23_the_cost_is_retrieval_and_three_months_hot(
    lake_warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = expired(lake_warehouse)
    table = read_prices()
    priced = tmp_path / "prices.toml"
    # So expensive that kilobytes cost dollars: 1 USD a byte and month, nothing else.
    text = table.path.read_text()
    for price in (*table.classes.values(),):
        text = text.replace(f"storage_per_gb_month = {price.storage_per_gb_month}", f"storage_per_gb_month = {2**30}")
    priced.write_text(text)
    object.__setattr__(warehouse.settings, "prices", priced)
    total = sum(one.total_bytes for one in warehouse.source_totals("interactions_archive").values())

    price = restore_price(warehouse, ["a", "b"], "Standard")
    assert price is not None
    assert price.hot == 3 * total
    assert 0 < price.once < Decimal("0.01")
    assert f"USD {3 * total:,} for 3 months in the hot table" in price.sentence

    below = check_request(warehouse, {**REQUEST, "max_cost": 3 * total + 1})
    above = check_request(warehouse, {**REQUEST, "max_cost": 3 * total - 1})
    assert ceiling_report(warehouse, below, RUN) is None
    report = ceiling_report(warehouse, above, RUN)
    assert report is not None
    assert report.reasons == (f"The restore costs USD {3 * total:,}, and max_cost is USD {3 * total - 1:,}.",)

    priced.write_text(text.replace('currency = "USD"', 'currency = "EUR"'))
    with pytest.raises(TerminalRequestError, match=r"max_cost is 5 USD, but the price table .* is in EUR"):
        check_request(warehouse, {**REQUEST, "max_cost": 5})
