"""The price table: what it holds, and how it is read and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from perennial.errors import TerminalSettingError
from perennial.resources import resource

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

SHIPPED_PRICES = resource("cost/prices.toml")
STANDARD = "STANDARD"
# How many mistakes an error names; a file that is not a price table has one for each field.
_NAMED = 5


def _number(value: object) -> object:
    if isinstance(value, bool | str):
        raise ValueError("write a number, such as 0.023")
    return value


Price = Annotated[Decimal, BeforeValidator(_number), Field(ge=0, allow_inf_nan=False, strict=False)]
Whole = Annotated[int, Field(ge=0)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Tier = Annotated[str, StringConstraints(pattern="^(Expedited|Standard|Bulk)$")]


class _Section(BaseModel):
    # A misspelt field would silently count as zero.
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class ThawPrice(_Section):
    """What thawing costs in one tier: a GB, and 1,000 requests."""

    per_gb: Price
    per_1000: Price


class ClassPrice(_Section):
    """What one storage class costs; `prices.toml` says what each field is."""

    name: str
    storage_per_gb_month: Price
    put_per_1000: Price
    get_per_1000: Price
    retrieval_per_gb: Price = Decimal(0)
    minimum_days: Whole = 0
    minimum_object_bytes: Whole = 0
    overhead_bytes: Whole = 0
    overhead_standard_bytes: Whole = 0
    thaw: dict[Tier, ThawPrice] = Field(default_factory=dict)


class PriceTable(_Section):
    """Prices of every storage class of one region, on one day.

    Attributes:
        region: Where they hold.
        currency: Code of the currency.
        as_of: The day they were read from their source.
        source: Where they were read.
        classes: Prices by name of the storage class; STANDARD is always among them.
        path: The file they are in.
    """

    region: Text
    currency: Text
    as_of: date
    source: Text
    classes: dict[str, ClassPrice]
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
    try:
        table = PriceTable.model_validate({**content, "classes": _named(content.get("classes")), "path": path})
    except ValidationError as error:
        mistakes = [_flaw(flaw) for flaw in error.errors()]
        more = f"; and {len(mistakes) - _NAMED:,} more" if len(mistakes) > _NAMED else ""
        raise TerminalSettingError(f"The price table {path}: {'; '.join(mistakes[:_NAMED])}{more}.") from None
    if STANDARD not in table.classes:
        raise TerminalSettingError(
            f"The price table {path} has no section [classes.{STANDARD}], the class of hot data; add it."
        )
    return table


def _named(classes: Any) -> Any:
    if not isinstance(classes, Mapping):
        return classes
    return {name: {**price, "name": name} if isinstance(price, Mapping) else price for name, price in classes.items()}


def _flaw(flaw: ErrorDetails) -> str:
    """Say what is wrong with a field: its name, its value, and what to write."""
    where = ".".join(str(step) for step in flaw["loc"] if step != "[key]")
    if flaw["type"] == "missing":
        return f"{where} is missing; add it"
    if flaw["type"] == "extra_forbidden":
        return f"{where} is not a field of the table; correct its name, or remove it"
    value, expected = flaw["input"], flaw["msg"].removeprefix("Value error, ")
    shown = str(value) if isinstance(value, Decimal) else repr(value)
    return f"{where} is {shown}; {expected[0].lower()}{expected[1:]}"
