"""What tasks read and write, as datasets of OpenLineage: Airflow's provider asks for it and sends it (ADR 59).

Where the provider `openlineage` is not installed, or is not switched on, nothing is collected. Airflow imports this
module as soon as a process makes an asset, so nothing of ours is imported here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Volume:
    """How much of a table a task has read or written; None: not counted.

    Attributes:
        row_count: Rows.
        total_bytes: Size of the files.
        file_count: Files.
    """

    row_count: int | None = None
    total_bytes: int | None = None
    file_count: int | None = None


def report_lineage(
    warehouse: Warehouse,
    inputs: Mapping[str, Volume] | None = None,
    outputs: Mapping[str, Volume] | None = None,
    input_uri: str = "",
    output_uri: str = "",
) -> None:
    """Say what the current task has read and written; what cannot be said is logged, and fails nothing.

    Args:
        warehouse: Whose tables they are.
        inputs: What was read, by table.
        outputs: What was written, by table.
        input_uri: A file or folder that was read; its scheme says which of Airflow's providers names it.
        output_uri: A file that was written.
    """
    try:
        collector = _collector()
        if collector is None:
            return
        from perennial.airflow import asset

        for role, tables, add in (
            ("input", inputs, collector.add_input_asset),
            ("output", outputs, collector.add_output_asset),
        ):
            for table, volume in (tables or {}).items():
                location = warehouse.table(table).location()
                add(warehouse, uri=asset(table).uri, asset_extra={"role": role, "location": location, **asdict(volume)})
        if input_uri:
            collector.add_input_asset(warehouse, uri=input_uri)
        if output_uri:
            collector.add_output_asset(warehouse, uri=output_uri)
    except Exception:  # whatever it is: no move may fail because of it
        log.warning("The lineage of this task was not collected", exc_info=True)


def get_provider_info() -> dict[str, Any]:
    """Tell Airflow, which calls this as an entry point, how assets of this project become datasets."""
    return {
        "package-name": "perennial-airflow",
        "name": "Perennial",
        "description": "A life cycle for messaging interaction data.",
        "asset-uris": [
            {"schemes": ["iceberg"], "handler": None, "to_openlineage_converter": f"{__name__}.to_dataset"},
        ],
    }


def to_dataset(asset: Any, _context: Any = None) -> Any:
    """Return a table as OpenLineage names Iceberg tables: by the location of its files, with its name as a symlink.

    Args:
        asset: As `report_lineage` has described it; None comes of an asset that is only declared.
    """
    from openlineage.client import event_v2 as events
    from openlineage.client.facet_v2 import input_statistics_input_dataset as read
    from openlineage.client.facet_v2 import output_statistics_output_dataset as written
    from openlineage.client.facet_v2 import symlinks_dataset as symlinks

    extra = asset.extra
    if "location" not in extra:
        return None
    catalog, name = urlsplit(asset.uri).netloc, urlsplit(asset.uri).path.strip("/").replace("/", ".")
    known_as = symlinks.Identifier(namespace=f"iceberg://{catalog}", name=name, type="TABLE")
    place = urlsplit(extra["location"])
    is_local = place.scheme in ("", "file")
    named: dict[str, Any] = {
        "namespace": "file" if is_local else f"{place.scheme}://{place.netloc}",
        "name": place.path.rstrip("/") if is_local else place.path.strip("/"),
        "facets": {"symlinks": symlinks.SymlinksDatasetFacet(identifiers=[known_as])},
    }
    counts = {"rowCount": extra["row_count"], "size": extra["total_bytes"], "fileCount": extra["file_count"]}
    is_counted = any(count is not None for count in counts.values())
    if extra["role"] == "input":
        facets: dict[str, Any] = {"inputStatistics": read.InputStatisticsInputDatasetFacet(**counts)}
        return events.InputDataset(**named, inputFacets=facets if is_counted else {})
    facets = {"outputStatistics": written.OutputStatisticsOutputDatasetFacet(**counts)}
    return events.OutputDataset(**named, outputFacets=facets if is_counted else {})


def _collector() -> Any:
    """Return what Airflow collects in; None where nobody reads it."""
    try:
        from airflow.providers.openlineage import conf
    except ImportError:
        return None
    if conf.is_disabled():
        return None
    try:
        return import_module("airflow.sdk.lineage").get_hook_lineage_collector()
    except ModuleNotFoundError:  # Airflow 3.1
        return import_module("airflow.lineage.hook").get_hook_lineage_collector()
