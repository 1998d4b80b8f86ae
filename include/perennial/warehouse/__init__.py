"""The Iceberg catalog and its tables: open, create, list files, commit. The only importer of pyiceberg."""

from perennial.warehouse.catalog import Warehouse, catalog_file
from perennial.warehouse.commits import OPERATION_KEY, FileChange
from perennial.warehouse.files import LiveFile, SourceTotal

__all__ = ["OPERATION_KEY", "FileChange", "LiveFile", "SourceTotal", "Warehouse", "catalog_file"]
