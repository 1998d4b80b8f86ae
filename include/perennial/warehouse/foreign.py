"""Changes that other writers may have made to a table: what is corrected here, and what is refused.

Iceberg lets every writer change a table's partitioning, format version and file formats for all others. Data files of
this product keep the contract's partitioning, whatever a table's default is now; the format allows files of any
partition spec of the table.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyiceberg.transforms import IdentityTransform

from perennial.errors import TerminalDataError, TerminalSettingError
from perennial.tables import COUNTED, TABLES, Table
from perennial.warehouse.schemas import refuse_required

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.table import Table as IcebergTable
    from pyiceberg.table.metadata import TableMetadata

    from perennial.warehouse.files import LiveFile

# The newest format version that can be written; later ones can only be read.
_NEWEST_FORMAT = 2
# Properties that are not followed: files written here are Parquet, and the last part of their address identifies a copy
# (M1).
_NOT_FOLLOWED = {"write.format.default", "write.object-storage.partitioned-paths"}
_TABLES = {table.name: table for table in TABLES}
_READABLE, _READABLE_DELETES = ("PARQUET",), ("PARQUET", "PUFFIN")


def as_declared(table: IcebergTable) -> IcebergTable:
    """Prepare a loaded table to be written by the contract: its partitioning, Parquet files.

    Only this copy of the metadata changes: neither is among the updates that a commit sends.
    """
    metadata = table.metadata
    changed: dict[str, object] = {}
    spec_id = _declared_spec_id(table)
    if spec_id is not None and spec_id != metadata.default_spec_id:
        changed["default_spec_id"] = spec_id
    if not _NOT_FOLLOWED.isdisjoint(metadata.properties):
        changed["properties"] = {key: value for key, value in metadata.properties.items() if key not in _NOT_FOLLOWED}
    if changed:
        table.metadata = metadata.model_copy(update=changed)
    return table


def lacks_declared_partitioning(table: IcebergTable) -> bool:
    """Whether none of a table's partition specs is the contract's: somebody else created it."""
    return _declared_spec_id(table) is None


def refuse_unwritable(table: IcebergTable) -> None:
    """Refuse a table that cannot be written, before anything moves.

    Raises:
        TerminalSettingError: Its format version is too new, it was never partitioned as the contract says, or it wants
            values that nobody here has.
    """
    name = ".".join(table.name())
    refuse_required(table.name()[-1], table.schema())
    if table.metadata.format_version > _NEWEST_FORMAT:
        raise TerminalSettingError(
            f"Table {name} has Iceberg format version {table.metadata.format_version}, which can be read here, but not "
            f"written (versions up to {_NEWEST_FORMAT} can). Nothing was moved. No engine can take an upgrade back: "
            f"rename the table, run `perennial init`, which creates {table.name()[-1]} anew, insert the rows of the "
            f"renamed table into it{_accepted(table.name()[-1])}, and run again."
        )
    if lacks_declared_partitioning(table):
        declared = _declared(table)
        wanted = f"by identity of {declared.partition_by}" if declared.partition_by else "unpartitioned"
        raise TerminalSettingError(
            f"Table {name} has never been {'partitioned ' if declared.partition_by else ''}{wanted}: somebody else "
            f"created it ({table.metadata.spec()}). Nothing was moved. Run `perennial init`, which corrects that."
        )


def _accepted(name: str) -> str:
    # For a table that each run replaces, no record exists that could be missing.
    return f", confirm that with `perennial repair --accept {name}`" if name in COUNTED else ""


def _unreadable_file(live_files: Iterable[LiveFile]) -> DataFile | None:
    """Find the first data or delete file in a format that cannot be read; None if all can be read."""
    for live in live_files:
        if _format(live.data_file) not in _READABLE or live.data_file.key_metadata is not None:
            return live.data_file
        for deletes in live.deletes:
            if _format(deletes) not in _READABLE_DELETES:
                return deletes
    return None


def refuse_unreadable(table: IcebergTable, live_files: Iterable[LiveFile]) -> None:
    """Refuse files of another writer in a format that cannot be read.

    Raises:
        TerminalDataError: Names the table, the file and its format.
    """
    found = _unreadable_file(live_files)
    if found is not None:
        kind = "encrypted" if found.key_metadata is not None else _format(found).capitalize()
        raise TerminalDataError(
            f"Table {'.'.join(table.name())} holds the file {found.file_path}, which is {kind}; only plain Parquet "
            "files can be read. Nothing was moved. Set the table's property write.format.default to parquet (and "
            "write.delete.format.default, if it is set), have the engine that wrote the file rewrite it (Spark: CALL "
            "system.rewrite_data_files with the option rewrite-all), and run again."
        )


def _format(data_file: DataFile) -> str:
    return str(data_file.file_format).upper().rpartition(".")[2]


def _declared(table: IcebergTable) -> Table:
    return _TABLES[table.name()[-1]]


def _declared_spec_id(table: IcebergTable) -> int | None:
    """Find the contract's partition spec in a table: the default if that is the one, otherwise the first match."""
    metadata = table.metadata
    column = _declared(table).partition_by
    fitting = [spec.spec_id for spec in metadata.partition_specs if _is_by(metadata, spec, column)]
    return metadata.default_spec_id if metadata.default_spec_id in fitting else next(iter(fitting), None)


def _is_by(metadata: TableMetadata, spec: PartitionSpec, column: str | None) -> bool:
    if column is None:
        return not spec.fields
    field_id = next((field.field_id for field in metadata.schema().fields if field.name == column), None)
    return (
        len(spec.fields) == 1
        and spec.fields[0].source_id == field_id
        and isinstance(spec.fields[0].transform, IdentityTransform)
    )
