"""What the archive, a run or a source costs and saves, computed from file sizes in the warehouse's metadata."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from urllib.parse import urlsplit

from perennial.cost import (
    GB,
    STANDARD,
    Fact,
    Objects,
    PriceTable,
    count_objects,
    money,
    move_cost,
    move_facts,
    read_prices,
    restore_cost,
)
from perennial.engines.duckdb import open_session
from perennial.statements import statement
from perennial.storage import S3_SCHEMES
from perennial.tables import ARCHIVED_FILES, INTERACTIONS, INTERACTIONS_ARCHIVE, LIFECYCLE_EVENTS
from perennial.text import pluralize
from perennial.warehouse import Warehouse

LOCAL = Fact("Each month", "No saving: the archive is not on S3.")
NOTHING = Fact("Each month", "No saving: there are no archived files.")


@dataclass(frozen=True)
class Costs:
    """Archived files by source, as their storage class bills them.

    Attributes:
        prices: The price table; None if the archive is not on S3, and then there are no sources.
        storage_class: The archive's configured storage class; earlier files may be in another one.
        sources: Files by source.
    """

    prices: PriceTable | None
    storage_class: str
    sources: Mapping[str, Objects]

    def of(self, source_ids: Collection[str]) -> Costs:
        """Return the costs of some of the sources."""
        chosen = {source_id: self.sources[source_id] for source_id in source_ids if source_id in self.sources}
        return replace(self, sources=chosen)

    def facts(self) -> list[Fact]:
        """Say what these files save per month, what it cost to move them, and what a restore would cost.

        Raises:
            TerminalSettingError: The price table has no such storage class.
        """
        if self.prices is None:
            return [LOCAL]
        total = sum(self.sources.values(), Objects())
        if not total.count:
            return [NOTHING]
        return move_facts(self.prices, move_cost(self.prices, self.storage_class, total))


@dataclass(frozen=True, kw_only=True)
class StorageCosts:
    """What the interactions of both tables cost to store, as decimals in the currency.

    Attributes:
        currency: The price table's.
        today_per_month: What they cost a month as they are stored now.
        saved_per_month: What they would cost more a month if all were hot; negative if less.
        saved_so_far: What the archive has saved since the first expiry, requests of the moves taken off: an estimate
            from the bytes of each move at today's prices.
        next_per_month: What they will cost a month once what is forecast has moved.
    """

    currency: str
    today_per_month: Decimal
    saved_per_month: Decimal
    saved_so_far: Decimal
    next_per_month: Decimal


def storage_costs(warehouse: Warehouse, now: datetime, soon_saved: Decimal) -> StorageCosts | None:
    """Work out what storage costs and saves; None if the archive is not on S3.

    Args:
        warehouse: Where.
        now: The moment.
        soon_saved: What the next expiries will save a month.

    Raises:
        TerminalSettingError: The price table cannot be used.
    """
    archived = archive_costs(warehouse)
    prices = archived.prices
    if prices is None:
        return None
    hot_bytes = sum(total.total_bytes for total in warehouse.source_totals(INTERACTIONS.name).values())
    hot = hot_bytes * prices.standard.storage_per_gb_month / GB
    cost = move_cost(prices, archived.storage_class, sum(archived.sources.values(), Objects()))
    with open_session(warehouse, [LIFECYCLE_EVENTS.name]) as session:
        rows = session.execute(statement("moves/sum_archived_months"), {"now": now}).fetchall()
    ((byte_months, file_count),) = rows
    difference = prices.standard.storage_per_gb_month - cost.price.storage_per_gb_month
    requests = move_cost(prices, archived.storage_class, Objects(count=file_count)).move_once
    today = hot + cost.archive_per_month
    return StorageCosts(
        currency=prices.currency,
        today_per_month=today,
        saved_per_month=cost.saved_per_month,
        saved_so_far=Decimal(round(byte_months)) * difference / GB - requests,
        next_per_month=today - soon_saved,
    )


def archive_costs(warehouse: Warehouse, source_ids: Collection[str] | None = None) -> Costs:
    """Return the costs of what is in the archive now, of some sources or of all (None).

    Raises:
        TerminalSettingError: The price table cannot be used.
    """
    if not is_on_s3(warehouse):
        return _costs(warehouse, ())
    live = warehouse.live_files(warehouse.table(INTERACTIONS_ARCHIVE.name), source_ids)
    return _costs(warehouse, ((file.source_id, file.file_bytes) for file in live))


def hot_costs(warehouse: Warehouse, source_ids: Collection[str]) -> Costs:
    """Look at what the hot table holds of some sources, as the archive would bill it.

    Raises:
        TerminalSettingError: The price table cannot be used.
    """
    if not is_on_s3(warehouse):
        return _costs(warehouse, ())
    live = warehouse.live_files(warehouse.table(INTERACTIONS.name), source_ids)
    return _costs(warehouse, ((file.source_id, file.file_bytes) for file in live))


def run_costs(warehouse: Warehouse, run_id: str) -> Costs:
    """Return the costs of what one run archived, whether it is still there or has been restored since.

    Raises:
        TerminalSettingError: The price table cannot be used.
    """
    if not is_on_s3(warehouse):
        return _costs(warehouse, ())
    with open_session(warehouse, [ARCHIVED_FILES.name, LIFECYCLE_EVENTS.name]) as session:
        rows = session.execute(statement("moves/list_files_of_run"), {"run_id": run_id}).fetchall()
    return _costs(warehouse, rows)


@dataclass(frozen=True, kw_only=True)
class RestorePrice:
    """What it costs to bring data back, as decimals in the currency; an estimate from the price table.

    The rest of a storage class's minimum duration is not part of it.

    Attributes:
        currency: The price table's.
        once: Requests, retrieval, and the copy that a thaw makes.
        hot: Storage in the hot table until it expires again.
        months: How many months that is.
        tier: The retrieval tier; empty if nothing has to be thawed.
    """

    currency: str
    once: Decimal
    hot: Decimal
    months: int
    tier: str

    @property
    def total(self) -> Decimal:
        """What both come to."""
        return self.once + self.hot

    @property
    def sentence(self) -> str:
        """The price as a sentence."""
        total, once, hot = (money(amount, self.currency) for amount in (self.total, self.once, self.hot))
        tier = f" in tier {self.tier}" if self.tier else ""
        return (
            f"About {total}: {once} for requests and retrieval{tier}, and {hot} for "
            f"{pluralize(self.months, 'month')} in the hot table."
        )


def restore_price(warehouse: Warehouse, source_ids: Collection[str], tier: str) -> RestorePrice | None:
    """Estimate what it costs to restore some sources; None if the archive is not on S3.

    Raises:
        TerminalSettingError: The price table cannot be used.
    """
    archived = archive_costs(warehouse, source_ids)
    prices = archived.prices
    if prices is None:
        return None
    price, objects = prices.storage_class(archived.storage_class), sum(archived.sources.values(), Objects())
    # A tier that the class does not have is refused when the thaw is requested.
    used = tier if tier in price.thaw else next(iter(price.thaw), "")
    once = restore_cost(prices, price.name, objects, price.minimum_days, used).once
    months = warehouse.settings.retention_months
    hot = objects.total_bytes * prices.standard.storage_per_gb_month * months / GB
    return RestorePrice(currency=prices.currency, once=once, hot=hot, months=months, tier=used)


def price_table(warehouse: Warehouse) -> PriceTable | None:
    """Read the price table; None if the archive is not on S3, where nothing has a price.

    Raises:
        TerminalSettingError: The price table cannot be used.
    """
    return read_prices(warehouse.settings.prices) if is_on_s3(warehouse) else None


def is_on_s3(warehouse: Warehouse) -> bool:
    """Whether archived data files go to an object store that has storage classes."""
    place = warehouse.table(INTERACTIONS_ARCHIVE.name).location_provider().new_data_location("file")
    return urlsplit(place).scheme in S3_SCHEMES


def _costs(warehouse: Warehouse, files: Iterable[tuple[str, int]]) -> Costs:
    name = warehouse.settings.archive_storage_class or STANDARD
    prices = price_table(warehouse)
    sizes: dict[str, list[int]] = {}
    for source_id, file_bytes in files:
        sizes.setdefault(source_id, []).append(file_bytes)
    counted = {key: count_objects(found, prices.storage_class(name)) for key, found in sizes.items()} if prices else {}
    return Costs(prices, name, counted)
