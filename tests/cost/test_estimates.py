"""What a move saves and costs: worked out by hand, and what holds for any sizes."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.cost import Fact, Objects, count_objects, move_cost, move_facts, read_prices
from perennial.cost.estimates import THAWED_DAYS, early_removal_cost, restore_cost, storage_cost
from perennial.cost.texts import money, payback
from perennial.storage import s3

PRICES = read_prices()
KIB, GB = 2**10, 2**30
CLASSES = sorted(PRICES.classes)
COLD = [name for name in CLASSES if name != "STANDARD"]
# What 28 digits round away, in a table's currency.
ROUNDED = Decimal("1e-12")
SIZES = st.lists(st.integers(min_value=0, max_value=8 * GB), max_size=12)


def usd(text: str) -> Decimal:
    return Decimal(text)


def objects(name: str, *sizes: int) -> Objects:
    return count_objects(sizes, PRICES.classes[name])


# --- by hand -----------------------------------------------------------------------------------------------------


def test_a_thousand_files_of_a_gigabyte_in_standard_ia() -> None:
    cost = move_cost(PRICES, "STANDARD_IA", objects("STANDARD_IA", *[GB] * 1000))
    assert cost.hot_per_month == 23
    assert cost.archive_per_month == usd("12.5")
    assert cost.saved_per_month == usd("10.5")
    # 1,000 COPY at 0.01, 2,000 HEAD at 0.001 and 1,000 HEAD in STANDARD at 0.0004 for each thousand
    assert cost.move_once == usd("0.0124")
    assert cost.months_to_repay == usd("0.0124") / usd("10.5")


def test_files_below_128_kib_are_billed_as_128_kib_and_then_cost_more_than_in_standard() -> None:
    small = objects("STANDARD_IA", *[64 * KIB] * (8 * 1024))
    assert small == Objects(8192, GB // 2, GB, 8192)
    cost = move_cost(PRICES, "STANDARD_IA", small)
    assert (cost.hot_per_month, cost.archive_per_month) == (usd("0.0115"), usd("0.0125"))
    assert cost.saved_per_month == usd("-0.001")
    assert cost.months_to_repay is None


def test_a_frozen_object_is_billed_with_32_kib_of_its_own_class_and_8_kib_of_standard() -> None:
    empty = objects("GLACIER", *[0] * 2**20)
    # 32 GB at 0.0036 and 8 GB at 0.023
    assert storage_cost(PRICES, PRICES.classes["GLACIER"], empty) == usd("0.1152") + usd("0.184")


def test_removal_before_the_minimum_duration_is_billed_for_the_days_that_are_left() -> None:
    price = PRICES.classes["GLACIER_IR"]
    ten = objects("GLACIER_IR", *[GB] * 10)
    assert early_removal_cost(PRICES, price, ten, 0) == usd("0.12")
    assert early_removal_cost(PRICES, price, ten, 60) == usd("0.04")
    assert early_removal_cost(PRICES, price, ten, 90) == 0
    assert early_removal_cost(PRICES, price, ten, 900) == 0


def test_a_restore_from_deep_archive_thaws_copies_and_keeps_the_thawed_copy_for_some_days() -> None:
    cost = restore_cost(PRICES, "DEEP_ARCHIVE", objects("DEEP_ARCHIVE", *[GB] * 1000), age_days=180)
    # 1,000 thaws at 0.1, 1,000 COPY at 0.005 and 3,000 HEAD at 0.0004 for each thousand
    assert cost.requests == usd("0.1062")
    assert cost.retrieval == 20
    assert cost.thawed_copy == usd("2.3")
    assert cost.early_removal == 0
    assert cost.once == usd("22.4062")


def test_a_thawed_copy_is_reckoned_to_lie_there_as_long_as_the_storage_asks_for() -> None:
    assert THAWED_DAYS == s3.THAWED_DAYS


def test_a_bulk_thaw_of_glacier_is_free_but_for_its_copies() -> None:
    cost = restore_cost(PRICES, "GLACIER", objects("GLACIER", GB), age_days=90, tier="Bulk")
    assert (cost.requests, cost.retrieval) == (usd("0.0000062"), 0)


def test_a_tier_that_a_class_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="'Expedited', only in Standard, Bulk"):
        restore_cost(PRICES, "DEEP_ARCHIVE", Objects(), 0, "Expedited")


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 bytes"):
        objects("STANDARD", 5, -1)


# --- for any sizes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSES)
@given(sizes=SIZES)
def test_no_figure_is_negative_but_a_saving(name: str, sizes: list[int]) -> None:
    found = objects(name, *sizes)
    move, restore = move_cost(PRICES, name, found), restore_cost(PRICES, name, found, 0)
    assert found.billed_bytes >= found.total_bytes >= 0
    assert min(move.hot_per_month, move.archive_per_month, move.move_once, restore.once) >= 0
    assert move.saved_per_month <= move.hot_per_month


@pytest.mark.parametrize("name", CLASSES)
@given(one=SIZES, other=SIZES)
def test_two_moves_cost_what_they_cost_together(name: str, one: list[int], other: list[int]) -> None:
    parts = [move_cost(PRICES, name, objects(name, *sizes)) for sizes in (one, other)]
    whole = move_cost(PRICES, name, objects(name, *one, *other))
    assert objects(name, *one) + objects(name, *other) == whole.objects
    assert abs(sum(part.saved_per_month for part in parts) - whole.saved_per_month) < ROUNDED
    assert abs(sum(part.move_once for part in parts) - whole.move_once) < ROUNDED


@pytest.mark.parametrize("name", CLASSES)
@given(sizes=SIZES, more=st.integers(min_value=0, max_value=GB))
def test_more_bytes_never_cost_less(name: str, sizes: list[int], more: int) -> None:
    costs = [storage_cost(PRICES, PRICES.classes[name], objects(name, *chosen)) for chosen in (sizes, [*sizes, more])]
    assert costs == sorted(costs)


@pytest.mark.parametrize("name", COLD)
@given(size=st.integers(min_value=2, max_value=8 * GB), pieces=st.integers(min_value=2, max_value=1000))
def test_the_same_bytes_in_more_files_never_save_more(name: str, size: int, pieces: int) -> None:
    cut = [size // pieces] * (pieces - 1)
    whole, parts = (move_cost(PRICES, name, objects(name, *found)) for found in ([size], [*cut, size - sum(cut)]))
    assert whole.saved_per_month >= parts.saved_per_month
    assert whole.move_once < parts.move_once


@pytest.mark.parametrize("name", COLD)
def test_tiny_files_cost_more_than_in_standard_and_large_ones_less(name: str) -> None:
    saved = [move_cost(PRICES, name, objects(name, size)).saved_per_month for size in (KIB, 16 * KIB, 200 * KIB, GB)]
    assert saved[0] < 0 < saved[-1]
    assert all(one <= other for one, other in pairwise(saved[2:]))


@given(st.lists(st.integers(min_value=0, max_value=400), min_size=2))
def test_the_longer_an_object_has_lain_the_less_its_removal_costs(ages: list[int]) -> None:
    lain = objects("DEEP_ARCHIVE", GB)
    costs = [early_removal_cost(PRICES, PRICES.classes["DEEP_ARCHIVE"], lain, age) for age in sorted(ages)]
    assert costs == sorted(costs, reverse=True)


# --- in words ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("0", "USD 0.00"), ("0.00999", "less than USD 0.01"), ("0.01", "USD 0.01"), ("12.346", "USD 12.35"),
     ("999.994", "USD 999.99"), ("1234.5", "USD 1,234"), ("9876543.2", "USD 9,876,543")],
)  # fmt: skip
def test_an_amount_is_shown_with_the_digits_that_matter(amount: str, shown: str) -> None:
    assert money(Decimal(amount), "USD") == shown


def test_a_negative_amount_has_to_be_put_into_words() -> None:
    with pytest.raises(ValueError, match="negative"):
        money(Decimal(-1), "USD")


@pytest.mark.parametrize(
    ("months", "said"),
    [(None, "never recovered"), ("0", "recovered after a day"), ("0.4", "recovered after 12 days"),
     ("2.01", "recovered after 3 months"), ("121", "recovered after more than 10 years")],
)  # fmt: skip
def test_how_long_a_move_takes_to_pay_is_said_in_days_then_months(months: str | None, said: str) -> None:
    assert payback(None if months is None else Decimal(months)) == said


def test_what_a_move_saves_is_said_with_what_it_costs_to_undo_it_and_of_when_the_prices_are() -> None:
    cost = move_cost(PRICES, "DEEP_ARCHIVE", objects("DEEP_ARCHIVE", *[GB] * 1000))
    assert move_facts(PRICES, cost) == [
        Fact("Each month", "USD 22.01 saved: USD 0.99 in DEEP_ARCHIVE instead of USD 23.00 in STANDARD"),
        Fact("The move", "USD 0.05 once, for requests; recovered after a day"),
        Fact("To bring back", "USD 22.41 once, for requests and retrieval in tier Standard; within 180 days of the "
             "move up to USD 5.94 more"),
        Fact("Prices", "an estimate, from the price table of us-east-1 as of 28 Oct 2025"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "why"),
    [("STANDARD_IA", "because 2,000 of 2,001 files are billed as 128 KiB"),
     ("GLACIER", "because each of 2,001 files is billed with 40 KiB more than it holds")],
)  # fmt: skip
def test_that_tiny_files_cost_more_is_said_with_the_reason(name: str, why: str) -> None:
    monthly, moved, *_ = move_facts(PRICES, move_cost(PRICES, name, objects(name, *[KIB] * 2000, 200 * KIB)))
    assert " more than before: " in monthly.text
    assert monthly.text.endswith(why)
    assert moved.text.endswith("; never recovered")


def test_an_archive_in_the_same_class_is_said_to_save_nothing() -> None:
    [fact] = move_facts(PRICES, move_cost(PRICES, "STANDARD", objects("STANDARD", GB)))
    assert fact.text == "No saving: the archive has the storage class of the hot table (STANDARD)."
