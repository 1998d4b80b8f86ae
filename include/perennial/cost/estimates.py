"""What a move saves and costs, as decimals in the table's currency, rounded to the cent when shown.

What is left out: price tiers beyond the first, taxes, discounts, transfer to another region, requests of catalogs and
of readers, the days for which a moved file still lies in hot until it is purged, and the days after that for which a
versioned bucket keeps it as an old version: for ever, unless a rule of the bucket ends it (deploy/README.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from perennial.cost.prices import ClassPrice, PriceTable

GB = 2**30
DAYS_A_MONTH = 30
# A copy needs a HEAD request to compare its checksum, and one before a commit lists it; its original needs one.
HEADS_OF_COPY, HEADS_OF_ORIGINAL = 2, 1
# How long a thawed copy exists beside the frozen object, at STANDARD's price.
THAWED_DAYS = 3


@dataclass(frozen=True)
class Objects:
    """Objects as one storage class bills them.

    Attributes:
        count: How many.
        total_bytes: Their size.
        billed_bytes: Bytes that the class bills, with minimum sizes but without the overhead of each object.
        small_count: Objects below the minimum size.
    """

    count: int = 0
    total_bytes: int = 0
    billed_bytes: int = 0
    small_count: int = 0

    def __add__(self, other: Objects) -> Objects:
        return Objects(
            self.count + other.count,
            self.total_bytes + other.total_bytes,
            self.billed_bytes + other.billed_bytes,
            self.small_count + other.small_count,
        )


def count_objects(sizes: Iterable[int], price: ClassPrice) -> Objects:
    """Count objects of these sizes (bytes) as a class bills them."""
    count = total = billed = small = 0
    for size in sizes:
        if size < 0:
            raise ValueError(f"An object has {size} bytes; a size is never negative.")
        count += 1
        total += size
        billed += max(size, price.minimum_object_bytes)
        small += size < price.minimum_object_bytes
    return Objects(count, total, billed, small)


def storage_cost(prices: PriceTable, price: ClassPrice, objects: Objects) -> Decimal:
    """Return the cost of objects per month in a class, including overhead."""
    own = (objects.billed_bytes + objects.count * price.overhead_bytes) * price.storage_per_gb_month
    standard = objects.count * price.overhead_standard_bytes * prices.standard.storage_per_gb_month
    return (own + standard) / GB


def early_removal_cost(prices: PriceTable, price: ClassPrice, objects: Objects, age_days: int) -> Decimal:
    """Return what is billed for the rest of the minimum duration when objects are deleted at this age."""
    return storage_cost(prices, price, objects) * max(0, price.minimum_days - age_days) / DAYS_A_MONTH


@dataclass(frozen=True, kw_only=True)
class MoveCost:
    """The cost of objects in a class of the archive instead of STANDARD.

    Attributes:
        price: Prices of the class.
        objects: The objects, as it bills them.
        hot_per_month: What the same bytes cost a month in STANDARD.
        archive_per_month: What they cost a month in the class.
        move_once: Requests of the move.
    """

    price: ClassPrice
    objects: Objects
    hot_per_month: Decimal
    archive_per_month: Decimal
    move_once: Decimal

    @property
    def saved_per_month(self) -> Decimal:
        """Negative if the class costs more, as it does for tiny objects."""
        return self.hot_per_month - self.archive_per_month

    @property
    def months_to_repay(self) -> Decimal | None:
        """Months until savings have paid for the requests of the move; None: never."""
        return self.move_once / self.saved_per_month if self.saved_per_month > 0 else None


def move_cost(prices: PriceTable, storage_class: str, objects: Objects) -> MoveCost:
    """Estimate a move from STANDARD into a class, by copies.

    Raises:
        TerminalSettingError: The table has no such class.
    """
    price = prices.storage_class(storage_class)
    return MoveCost(
        price=price,
        objects=objects,
        hot_per_month=objects.total_bytes * prices.standard.storage_per_gb_month / GB,
        archive_per_month=storage_cost(prices, price, objects),
        move_once=_copy_requests(objects.count, prices.standard, price),
    )


@dataclass(frozen=True, kw_only=True)
class RestoreCost:
    """The cost of copying objects back to STANDARD; their cost there per month is `MoveCost.hot_per_month`.

    Attributes:
        requests: Thawing and copying.
        retrieval: Reading the bytes out of the class.
        thawed_copy: The copy that thawing makes, for the days that it exists.
        early_removal: The rest of the minimum duration.
    """

    requests: Decimal
    retrieval: Decimal
    thawed_copy: Decimal
    early_removal: Decimal

    @property
    def once(self) -> Decimal:
        return self.requests + self.retrieval + self.thawed_copy + self.early_removal


def restore_cost(
    prices: PriceTable, storage_class: str, objects: Objects, age_days: int, tier: str = "Standard"
) -> RestoreCost:
    """Estimate a restore of objects that have been in a class for some days.

    Args:
        prices: The table.
        storage_class: Where they are.
        objects: As that class bills them.
        age_days: How long they have been there.
        tier: The retrieval tier, if they have to be thawed.

    Raises:
        TerminalSettingError: The table has no such class.
        ValueError: The class has to be thawed, and does not have this tier.
    """
    price = prices.storage_class(storage_class)
    if price.thaw and tier not in price.thaw:
        raise ValueError(f"{storage_class} is not thawed in tier {tier!r}, only in {', '.join(price.thaw)}.")
    thaw = price.thaw.get(tier)
    per_gb = price.retrieval_per_gb + (thaw.per_gb if thaw else 0)
    thawed_copy = objects.total_bytes * prices.standard.storage_per_gb_month * THAWED_DAYS / DAYS_A_MONTH / GB
    return RestoreCost(
        requests=_copy_requests(objects.count, price, prices.standard)
        + (objects.count * thaw.per_1000 / 1000 if thaw else 0),
        retrieval=objects.total_bytes * per_gb / GB,
        thawed_copy=thawed_copy if thaw else Decimal(0),
        early_removal=early_removal_cost(prices, price, objects, age_days),
    )


def _copy_requests(count: int, origin: ClassPrice, destination: ClassPrice) -> Decimal:
    copied = destination.put_per_1000 + HEADS_OF_COPY * destination.get_per_1000
    return count * (copied + HEADS_OF_ORIGINAL * origin.get_per_1000) / 1000
