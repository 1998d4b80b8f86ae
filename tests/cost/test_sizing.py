"""The arithmetic behind docs/layout.md."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts.reference import layout_page
from scripts.sizing import COMPACTED_BYTES, MOVE_FILES, WORKSPACES, Workspace, break_even_bytes, tables

from perennial.cost import Objects, move_cost, read_prices
from perennial.maintenance import groups
from perennial.moves import plan
from tests import PROJECT_ROOT

PRICES = read_prices()
COLD = [name for name in PRICES.classes if name != "STANDARD"]
KIB = 1024


def test_compaction_merges_to_the_size_that_the_page_reckons_with() -> None:
    assert groups.SMALL_BYTES == COMPACTED_BYTES


def test_a_move_has_as_many_files_at_most_as_the_page_reckons_with() -> None:
    assert plan.MOVE_FILES == MOVE_FILES


def test_a_source_has_one_file_at_least_and_one_for_each_16_mib() -> None:
    tiny, large = Workspace(1_000_000, 10**9), Workspace(10_000, 10**11)
    assert (tiny.file_count, tiny.file_bytes) == (1_000_000, 100_000)
    # 1 GB a source: 59 times 16 MiB
    assert (large.files_per_source, large.file_count, large.file_bytes) == (59, 590_000, 16_949_152)


def test_the_page_is_about_10k_to_1m_sources_with_1_and_100_billion_rows() -> None:
    assert [(space.source_count, space.row_count) for space in WORKSPACES] == [
        (sources, rows) for rows in (10**9, 10**11) for sources in (10_000, 100_000, 1_000_000)
    ]


def test_objects_of_a_workspace_are_billed_as_counted_one_by_one() -> None:
    found = Workspace(1_000_000, 10**9).objects(PRICES.classes["GLACIER_IR"])
    assert found == Objects(1_000_000, 100_000_000_000, 1_000_000 * 128 * KIB, 1_000_000)


@pytest.mark.parametrize(
    ("name", "kib"),
    # 128 KiB x 0.0125 / 0.023; 128 x 0.004 / 0.023; (32 x 0.0036 + 8 x 0.023) / (0.023 - 0.0036)
    [("STANDARD_IA", 69.57), ("GLACIER_IR", 22.26), ("GLACIER", 15.42)],
)
def test_the_smallest_file_that_saves_is_what_a_calculator_says(name: str, kib: float) -> None:
    assert break_even_bytes(PRICES, name, None) / KIB == pytest.approx(kib, abs=0.01)


@pytest.mark.parametrize("name", COLD)
@pytest.mark.parametrize("months", [3, 12])
def test_a_byte_less_does_not_earn_its_move_back_in_time(name: str, months: int) -> None:
    def earned(size: int) -> bool:
        cost = move_cost(PRICES, name, Objects(1, size, max(size, PRICES.classes[name].minimum_object_bytes), 0))
        return cost.months_to_repay is not None and cost.months_to_repay <= months

    enough = break_even_bytes(PRICES, name, months)
    assert (earned(enough - 1), earned(enough)) == (False, True)


def test_every_table_stands_on_the_page_as_it_is_computed() -> None:
    page = PROJECT_ROOT / "docs" / "layout.md"
    text = page.read_text(encoding="utf-8")
    assert layout_page(page) == text
    assert all(table in text for table in tables(PRICES).values())


def test_a_page_without_a_place_for_a_table_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "layout.md"
    page.write_text("# No tables\n")
    with pytest.raises(ValueError, match="no place for the table 'files'"):
        layout_page(page)
