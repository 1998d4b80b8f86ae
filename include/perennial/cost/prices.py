"""The price table: what it holds, and how it is read and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from perennial.errors import TerminalSettingError
from perennial.resources import resource

SHIPPED_PRICES = resource("cost/prices.toml")
STANDARD = "STANDARD"
TIERS = ("Expedited", "Standard", "Bulk")
_REQUIRED = ("storage_per_gb_month", "put_per_1000", "get_per_1000")
_WHOLE = ("minimum_days", "minimum_object_bytes", "overhead_bytes", "overhead_standard_bytes")


@dataclass(frozen=True, kw_only=True)
class ThawPrice:
    """What thawing costs in one tier: a GB, and 1,000 requests."""

    per_gb: Fraction
    per_1000: Fraction


@dataclass(frozen=True, kw_only=True)
class ClassPrice:
    """What one storage class costs; `prices.toml` says what each field is.

    Prices are exact fractions: a sum of them depends neither on their order nor on rounding.
    """

    name: str
    storage_per_gb_month: Fraction
    put_per_1000: Fraction
    get_per_1000: Fraction
    retrieval_per_gb: Fraction = Fraction(0)
    minimum_days: int = 0
    minimum_object_bytes: int = 0
    overhead_bytes: int = 0
    overhead_standard_bytes: int = 0
    thaw: Mapping[str, ThawPrice] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PriceTable:
    """Prices of every storage class of one region, on one day.

    Attributes:
        region: Where they hold.
        currency: Code of the currency.
        as_of: The day they were read from their source.
        source: Where they were read.
        classes: Prices by name of the storage class; STANDARD is always among them.
        path: The file they are in.
    """

    region: str
    currency: str
    as_of: date
    source: str
    classes: Mapping[str, ClassPrice]
    path: Path

    @property
    def standard(self) -> ClassPrice:
        """The class of hot data."""
        return self.classes[STANDARD]

    def storage_class(self, name: str) -> ClassPrice:
        """Look a class up.

        Raises:
            TerminalSettingError: The table has no such class; names those it has.
        """
        if name not in self.classes:
            raise TerminalSettingError(
                f"The price table {self.path} has no storage class {name!r}, only {', '.join(self.classes)}; "
                f"add a section [classes.{name}] to a copy of it and set PERENNIAL_PRICES to the copy."
            )
        return self.classes[name]


def read_prices(path: Path | None = None) -> PriceTable:
    """Read a price table and check every field.

    Args:
        path: An operator's own table; None means the one that is shipped.

    Raises:
        TerminalSettingError: The file cannot be read, or a field cannot be used; names file, field and value.
    """
    path = path or SHIPPED_PRICES
    try:
        # As text, never as a float: 0.1 is to be a tenth.
        content = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TerminalSettingError(
            f"The price table {path} cannot be read ({error}); set PERENNIAL_PRICES to a TOML file like "
            "include/perennial/cost/prices.toml, or leave it empty for that one."
        ) from error
    return _Reader(path).table(content)


class _Reader:
    """Takes a table apart; every complaint names the file and the field."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def table(self, content: Mapping[str, Any]) -> PriceTable:
        self._known("", content, ("region", "currency", "as_of", "source", "classes"))
        classes = {str(name): self._class(str(name), fields) for name, fields in self._section("classes", content)}
        if STANDARD not in classes:
            raise self._wrong("classes", ", ".join(classes) or "empty", f"sections that have {STANDARD} among them")
        as_of = content.get("as_of")
        if not isinstance(as_of, date) or isinstance(as_of, datetime):
            raise self._wrong("as_of", as_of, "the day of the prices, such as 2025-10-28")
        texts = {name: self._text(name, content.get(name)) for name in ("region", "currency", "source")}
        return PriceTable(**texts, as_of=as_of, classes=classes, path=self.path)

    def _class(self, name: str, fields: Any) -> ClassPrice:
        where = f"classes.{name}"
        if not isinstance(fields, dict):
            raise self._wrong(where, fields, f"a section [{where}]")
        self._known(where, fields, (*_REQUIRED, "retrieval_per_gb", *_WHOLE, "thaw"))
        prices = {
            key: self._price(f"{where}.{key}", fields.get(key))
            for key in (*_REQUIRED, *_present(fields, "retrieval_per_gb"))
        }
        whole = {key: self._whole(f"{where}.{key}", fields[key]) for key in _present(fields, *_WHOLE)}
        thaw = {
            tier: self._tier(f"{where}.thaw.{tier}", tier, found)
            for tier, found in self._section("thaw", fields, where)
        }
        return ClassPrice(name=name, thaw=thaw, **prices, **whole)  # type: ignore[arg-type]  # whole numbers where they are asked for

    def _tier(self, where: str, tier: str, fields: Any) -> ThawPrice:
        if tier not in TIERS or not isinstance(fields, dict):
            raise self._wrong(where, fields, f"one of {', '.join(TIERS)}, with per_gb and per_1000")
        self._known(where, fields, ("per_gb", "per_1000"))
        return ThawPrice(
            per_gb=self._price(f"{where}.per_gb", fields.get("per_gb")),
            per_1000=self._price(f"{where}.per_1000", fields.get("per_1000")),
        )

    def _section(self, name: str, content: Mapping[str, Any], where: str = "") -> list[tuple[str, Any]]:
        section = content.get(name, {})
        if not isinstance(section, dict):
            raise self._wrong(f"{where}.{name}".lstrip("."), section, "a table of sections")
        return list(section.items())

    def _known(self, where: str, fields: Mapping[str, Any], known: tuple[str, ...]) -> None:
        # A misspelt field would silently count as zero.
        for name in fields:
            if name not in known:
                raise self._wrong(f"{where}.{name}".lstrip("."), fields[name], f"removed: known are {', '.join(known)}")

    def _price(self, where: str, value: Any) -> Fraction:
        is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
        if not is_number or not Decimal(value).is_finite() or value < 0:
            raise self._wrong(where, value, "a price, zero or more, such as 0.023")
        return Fraction(value)

    def _whole(self, where: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self._wrong(where, value, "a whole number, zero or more")
        return value

    def _text(self, where: str, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(where, value, "a text that is not empty")
        return value.strip()

    def _wrong(self, where: str, value: Any, expected: str) -> TerminalSettingError:
        shown = "missing" if value is None else repr(str(value) if isinstance(value, Decimal) else value)
        return TerminalSettingError(f"The price table {self.path}: {where} is {shown}; make it {expected}.")


def _present(fields: Mapping[str, Any], *names: str) -> tuple[str, ...]:
    return tuple(name for name in names if name in fields)
