"""Tables that no catalog of others knows: the ground of drills.

A scratch warehouse has a catalog of its own, a file on this machine that is gone with the process. Its tables have the
columns, field ids, partitioning and name mapping of the real ones, and none of their snapshots. Nothing that is
committed there can change a table that anybody reads, and nobody who lists tables sees them.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table import Table, TableProperties

from perennial.tables import INTERACTIONS_ARCHIVE
from perennial.warehouse.catalog import Warehouse

# Where files of the real table go, and who else may need them.
_NOT_TAKEN_OVER = (
    TableProperties.WRITE_DATA_PATH,
    TableProperties.OBJECT_STORE_ENABLED,
    TableProperties.WRITE_PY_LOCATION_PROVIDER_IMPL,
    "gc.enabled",
)


class ScratchWarehouse(Warehouse):
    """Empty tables like those of another warehouse.

    Args:
        real: The other warehouse; only read.
        root: Address below which data files and records of operations go.
        folder: Where the catalog and the tables' metadata go.
        names: The tables.
    """

    def __init__(self, real: Warehouse, root: str, folder: Path, names: Iterable[str]) -> None:
        self.settings = replace(
            real.settings,
            home=folder,
            archive_uri=None,
            archive_storage_class=None,
            operations_uri=f"{root}/operations",
        )
        self._operations_uri = ""
        # With the credentials for the files of the archive.
        given: dict[str, Any] = dict(real.table(INTERACTIONS_ARCHIVE.name).io.properties)
        own = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}"}
        self.catalog = SqlCatalog(real.settings.catalog, **{**given, **own})
        self.catalog.create_namespace(self.settings.namespace)
        for name in names:
            self._register(real.table(name), f"{root}/{name}", folder / name)

    def _register(self, real: Table, location: str, folder: Path) -> None:
        properties = {key: value for key, value in real.metadata.properties.items() if key not in _NOT_TAKEN_OVER}
        metadata = real.metadata.model_copy(
            update={
                "table_uuid": uuid.uuid4(),
                "location": location,
                "properties": {**properties, TableProperties.WRITE_METADATA_PATH: f"file://{folder}"},
                "last_sequence_number": 0,
                "current_snapshot_id": None,
                "snapshots": [],
                "snapshot_log": [],
                "metadata_log": [],
                "refs": {},
                "statistics": [],
                "partition_statistics": [],
            }
        )
        folder.mkdir()
        uri = f"file://{folder}/00000-{metadata.table_uuid}.metadata.json"
        ToOutputFile.table_metadata(metadata, self.catalog._load_file_io(location=uri).new_output(uri))
        self.catalog.register_table((self.settings.namespace, real.name()[-1]), uri)


@contextmanager
def scratch_warehouse(real: Warehouse, root: str, names: Iterable[str]) -> Iterator[ScratchWarehouse]:
    """Open a scratch warehouse; its catalog and metadata are gone at the end of the block, its data files are not."""
    with tempfile.TemporaryDirectory(prefix="perennial-drill-") as folder:
        scratch = ScratchWarehouse(real, root, Path(folder), names)
        try:
            yield scratch
        finally:
            scratch.catalog.close()
