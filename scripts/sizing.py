"""The arithmetic of `docs/layout.md`: how many files a workspace has, what planning takes, what each class costs.

Sizes are those of a table that has been compacted; how it comes to them is on the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil

from perennial.cost.estimates import Objects, move_cost, restore_cost
from perennial.cost.prices import ClassPrice, PriceTable
from perennial.cost.texts import money

# Measured: `make bench ONLY=commits` on two cores, and the files of the sample workspace.
BYTES_PER_ROW = 100
MANIFEST_BYTES_PER_FILE = 275
LIST_SECONDS_PER_FILE = Decimal("0.000075")
MOVE_SECONDS_PER_FILE = Decimal("0.001")
MOVE_MEMORY_PER_FILE = 8_000
# A larger run is cut into several moves, so that memory does not grow any more.
MOVE_FILES = 25_000
# What `maintain_warehouse` merges small files to.
COMPACTED_BYTES = 16 * 2**20
LOADS_A_DAY = {"15 minutes": 96, "hour": 24, "day": 1}
ACTIVE_SHARE = Decimal("0.01")


@dataclass(frozen=True)
class Workspace:
    """So many sources with so many interactions, all of them alike."""

    source_count: int
    row_count: int

    @property
    def total_bytes(self) -> int:
        return self.row_count * BYTES_PER_ROW

    @property
    def files_per_source(self) -> int:
        """A file a source at least, because files are cut by source; more where there is more than one file's worth."""
        return max(1, self.total_bytes // self.source_count // COMPACTED_BYTES)

    @property
    def file_count(self) -> int:
        return self.source_count * self.files_per_source

    @property
    def file_bytes(self) -> int:
        return self.total_bytes // self.file_count

    def objects(self, price: ClassPrice, share: Decimal = Decimal(1)) -> Objects:
        """Its files, or a share of them, as a class bills them."""
        count = int(self.file_count * share)
        billed = max(self.file_bytes, price.minimum_object_bytes)
        small = count if self.file_bytes < price.minimum_object_bytes else 0
        return Objects(count, count * self.file_bytes, count * billed, small)


WORKSPACES = tuple(
    Workspace(sources, rows) for rows in (10**9, 10**11) for sources in (10_000, 100_000, 1_000_000)
)  # fmt: skip


def break_even_bytes(prices: PriceTable, name: str, months: int | None) -> int:
    """Return the smallest file that is worth moving into a class.

    Args:
        prices: The table.
        name: The class, other than STANDARD.
        months: Within which the requests of the move are to be earned back; None: only the storage counts.
    """
    price = prices.storage_class(name)

    def pays(size: int) -> bool:
        one = Objects(1, size, max(size, price.minimum_object_bytes), 0)
        cost = move_cost(prices, name, one)
        return cost.saved_per_month * (months or 1) >= (cost.move_once if months else 0)

    below, enough = 0, 1
    while not pays(enough):
        below, enough = enough, enough * 2
    while enough - below > 1:
        middle = (below + enough) // 2
        below, enough = (below, middle) if pays(middle) else (middle, enough)
    return enough


def tables(prices: PriceTable) -> dict[str, str]:
    """Return the tables of the page, in Markdown, by name."""
    cold = [name for name, price in prices.classes.items() if price.minimum_days]
    return {
        "files": _table(("rows", "sources", "bytes", "files", "a file", "manifests", "list all"), _files()),
        "growth": _table(("sources", "active", *(f"loaded every {every}" for every in LOADS_A_DAY)), _growth()),
        "moves": _table(
            ("rows", "sources", "files of 1 %", "time", "memory", "files of 90 %", "time", "memory"), _moves()
        ),
        "smallest": _table(
            ("class", "saves", "earns its move back in a year", "in three months"), _smallest(prices, cold)
        ),
        "monthly": _table(("rows", "sources", *prices.classes), _monthly(prices)),
        "once": _table(("rows", "sources", *cold), _once(prices, cold)),
        "back": _table(("rows", "sources", *cold), _back(prices, cold)),
    }


def _files() -> Iterator[Sequence[str]]:
    for space in WORKSPACES:
        manifest_bytes = space.file_count * MANIFEST_BYTES_PER_FILE
        yield (
            *_named(space),
            _size(space.total_bytes),
            f"{space.file_count:,}",
            _size(space.file_bytes),
            _size(manifest_bytes),
            _seconds(space.file_count * LIST_SECONDS_PER_FILE),
        )


def _growth() -> Iterator[Sequence[str]]:
    for sources in sorted({space.source_count for space in WORKSPACES}):
        active = int(sources * ACTIVE_SHARE)
        yield f"{sources:,}", f"{active:,}", *(f"{active * loads:,}" for loads in LOADS_A_DAY.values())


def _moves() -> Iterator[Sequence[str]]:
    for space in WORKSPACES:
        cells: list[str] = []
        for share in (Decimal("0.01"), Decimal("0.9")):
            count = int(space.file_count * share)
            memory = min(count, MOVE_FILES) * MOVE_MEMORY_PER_FILE
            cells += [f"{count:,}", _seconds(count * MOVE_SECONDS_PER_FILE), _size(memory)]
        yield *_named(space), *cells


def _smallest(prices: PriceTable, cold: Sequence[str]) -> Iterator[Sequence[str]]:
    for name in cold:
        yield f"`{name}`", *(_kib(break_even_bytes(prices, name, months)) for months in (None, 12, 3))


def _monthly(prices: PriceTable) -> Iterator[Sequence[str]]:
    for space in WORKSPACES:
        costs = (move_cost(prices, name, space.objects(price)) for name, price in prices.classes.items())
        yield *_named(space), *(money(cost.archive_per_month, prices.currency) for cost in costs)


def _once(prices: PriceTable, cold: Sequence[str]) -> Iterator[Sequence[str]]:
    for space in WORKSPACES:
        costs = (move_cost(prices, name, space.objects(prices.classes[name])) for name in cold)
        yield *_named(space), *(money(cost.move_once, prices.currency) for cost in costs)


def _back(prices: PriceTable, cold: Sequence[str]) -> Iterator[Sequence[str]]:
    for space in WORKSPACES:
        costs = (_restored(prices, prices.classes[name], space) for name in cold)
        yield *_named(space), *(money(cost, prices.currency) for cost in costs)


def _restored(prices: PriceTable, price: ClassPrice, space: Workspace) -> Decimal:
    return restore_cost(prices, price.name, space.objects(price, ACTIVE_SHARE), price.minimum_days).once


def _named(space: Workspace) -> tuple[str, str]:
    return f"{space.row_count // 10**9} billion", f"{space.source_count:,}"


def _size(number: int) -> str:
    value, unit = float(number), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = round(value / 1000, 1), larger
    return f"{value:g} {unit}"


def _kib(number: int) -> str:
    return f"{ceil(number / 1024):,} KiB"


def _seconds(seconds: Decimal) -> str:
    if seconds < 120:
        return f"{max(1, round(seconds))} s" if seconds >= 1 else f"{float(seconds):.1g} s"
    return f"{round(seconds / 60):,} min"


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
