"""The Iceberg catalog and its tables: open, create, list files, commit. The only importer of pyiceberg."""

from perennial.warehouse.catalog import Warehouse
from perennial.warehouse.commits import FileChange
from perennial.warehouse.files import LiveFile, SourceTotal
from perennial.warehouse.lineage import OPERATION_KEY
from perennial.warehouse.open import catalog_file, describe_catalog

__all__ = ["OPERATION_KEY", "FileChange", "LiveFile", "SourceTotal", "Warehouse", "catalog_file", "describe_catalog"]
