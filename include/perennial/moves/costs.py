"""What the archive, a run or a source costs and saves, computed from file sizes in the warehouse's metadata."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from perennial.cost import STANDARD, Fact, Objects, PriceTable, count_objects, move_cost, move_facts, read_prices
from perennial.engines.duckdb import open_session
from perennial.sql import statement
from perennial.storage import S3_SCHEMES
from perennial.tables import ARCHIVED_FILES, INTERACTIONS_ARCHIVE, LIFECYCLE_EVENTS
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


def archive_costs(warehouse: Warehouse, source_ids: Collection[str] | None = None) -> Costs:
    """Return the costs of what is in the archive now, of some sources or of all (None).

    Raises:
        TerminalSettingError: The price table cannot be used.
    """
    if not is_on_s3(warehouse):
        return _costs(warehouse, ())
    live = warehouse.live_files(warehouse.table(INTERACTIONS_ARCHIVE.name), source_ids)
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


def is_on_s3(warehouse: Warehouse) -> bool:
    """Whether archived data files go to an object store that has storage classes."""
    place = warehouse.table(INTERACTIONS_ARCHIVE.name).location_provider().new_data_location("file")
    return urlsplit(place).scheme in S3_SCHEMES


def _costs(warehouse: Warehouse, files: Iterable[tuple[str, int]]) -> Costs:
    name = warehouse.settings.archive_storage_class or STANDARD
    # On other storage nothing has a price, so an unusable price table does not matter.
    prices = read_prices(warehouse.settings.prices) if is_on_s3(warehouse) else None
    sizes: dict[str, list[int]] = {}
    for source_id, file_bytes in files:
        sizes.setdefault(source_id, []).append(file_bytes)
    counted = {key: count_objects(found, prices.storage_class(name)) for key, found in sizes.items()} if prices else {}
    return Costs(prices, name, counted)
