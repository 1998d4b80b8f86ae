"""The price table: the one that is shipped, an operator's own, and what is wrong with it."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from perennial.cost.prices import SHIPPED_PRICES, read_prices
from perennial.errors import TerminalSettingError
from perennial.settings import Settings

OWN = """
region = "eu-west-3"
currency = "EUR"
as_of = 2026-02-01
source = "our contract"
[classes.STANDARD]
storage_per_gb_month = 0.1
put_per_1000 = 1
get_per_1000 = 0.30
"""


def test_the_shipped_table_says_where_and_when_its_prices_hold() -> None:
    prices = read_prices()
    assert (prices.region, prices.currency, prices.as_of) == ("us-east-1", "USD", date(2025, 10, 28))
    assert "aws.amazon.com/s3/pricing" in prices.source
    assert prices.path == SHIPPED_PRICES


def test_every_class_of_the_shipped_table_is_cheaper_to_keep_and_dearer_to_enter_than_standard() -> None:
    prices = read_prices()
    assert list(prices.classes) == ["STANDARD", "STANDARD_IA", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"]
    for name, price in prices.classes.items():
        if name != "STANDARD":
            assert price.storage_per_gb_month < prices.standard.storage_per_gb_month
            assert price.put_per_1000 > prices.standard.put_per_1000
            assert price.minimum_days
    assert {name: tuple(price.thaw) for name, price in prices.classes.items() if price.thaw} == {
        "GLACIER": ("Expedited", "Standard", "Bulk"),
        "DEEP_ARCHIVE": ("Standard", "Bulk"),
    }


def test_an_operators_own_table_is_read_to_the_last_digit(tmp_path: Path) -> None:
    own = tmp_path / "prices.toml"
    own.write_text(OWN)
    settings = Settings.from_environment({"PERENNIAL_HOME": str(tmp_path), "PERENNIAL_PRICES": "prices.toml"})
    prices = read_prices(settings.prices)
    assert prices.path == own
    assert prices.standard.storage_per_gb_month == Decimal("0.1")
    assert prices.standard.put_per_1000 == 1
    assert prices.standard.minimum_days == 0


def test_without_the_setting_the_shipped_table_is_read() -> None:
    assert Settings.from_environment({"PERENNIAL_PRICES": " "}).prices is None


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ("0.1", "-0.1", "classes.STANDARD.storage_per_gb_month is -0.1; input should be greater than or equal to 0"),
        ("0.1", "nan", "classes.STANDARD.storage_per_gb_month is NaN; input should be a finite number"),
        ("0.1", "inf", "classes.STANDARD.storage_per_gb_month is Infinity; input should be a finite number"),
        ("0.1", "true", "classes.STANDARD.storage_per_gb_month is True; write a number"),
        ("0.1", '"0.1"', "classes.STANDARD.storage_per_gb_month is '0.1'; write a number, such as 0.023"),
        ("put_per_1000 = 1\n", "", "classes.STANDARD.put_per_1000 is missing; add it"),
        ("get_per_1000", "got_per_1000", "classes.STANDARD.got_per_1000 is not a field of the table; correct"),
        (
            "get_per_1000",
            "minimum_days = 1.5\nget_per_1000",
            "classes.STANDARD.minimum_days is 1.5; input should be a valid int",
        ),
        ("get_per_1000", "minimum_days = -1\nget_per_1000", "classes.STANDARD.minimum_days is -1; input"),
        ("get_per_1000", "thaw = 3\nget_per_1000", "classes.STANDARD.thaw is 3; input should be a valid dictionary"),
        ("get_per_1000", "thaw.Fast = {}\nget_per_1000", "classes.STANDARD.thaw.Fast is 'Fast'; string should match"),
        ("get_per_1000", "thaw.Bulk = {per_gb = 1}\nget_per_1000", "classes.STANDARD.thaw.Bulk.per_1000 is missing"),
        ("[classes.STANDARD]", "[classes.COLD]", "has no section [classes.STANDARD], the class of hot data; add it"),
        ("[classes.STANDARD]", "[[classes.STANDARD]]", "; input should be a valid dictionary"),
        ("2026-02-01", "2026-02-01T00:00:00", "as_of is datetime.datetime(2026, 2, 1, 0, 0); input"),
        ("as_of = 2026-02-01", "", "as_of is missing"),
        ('"EUR"', '" "', "currency is ' '; string should have at least 1 character"),
        ("region", "regoin", "regoin is not a field of the table"),
        ("[classes.STANDARD]", "classes.STANDARD", "cannot be read"),
    ],
    ids=lambda text: text.strip()[:30],
)
def test_a_field_that_cannot_be_used_is_named_with_its_value_and_the_remedy(
    tmp_path: Path, was: str, now: str, said: str
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(OWN.replace(was, now, 1))
    with pytest.raises(TerminalSettingError, match=re.escape(said)) as refused:
        read_prices(own)
    assert str(own) in str(refused.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["missing", "not UTF-8"])
def test_a_table_that_cannot_be_read_is_named_with_the_remedy(tmp_path: Path, content: bytes | None) -> None:
    own = tmp_path / "own.toml"
    if content is not None:
        own.write_bytes(content)
    with pytest.raises(TerminalSettingError, match="set PERENNIAL_PRICES to a TOML file"):
        read_prices(own)


def test_a_class_that_the_table_does_not_have_is_named_with_those_it_has() -> None:
    with pytest.raises(TerminalSettingError, match=r"no storage class 'INTELLIGENT_TIERING', only STANDARD, STANDARD_"):
        read_prices().storage_class("INTELLIGENT_TIERING")
