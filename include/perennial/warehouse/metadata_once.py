"""pyiceberg's metadata of tables: parsed once for each text, and copied without copying what cannot change.

pyiceberg parses a metadata file whenever a table is loaded, several times in one commit, and ends each look at what a
transaction has changed with a deep copy. Both take as long as the table's history is. Sharing is safe: parsing depends
on the text alone, and whatever the metadata lists (snapshots, schemas, log entries) is frozen.

pyiceberg's catalogs call these functions themselves, so they are replaced in its own classes.
tests/warehouse/test_metadata_once.py checks what is relied on.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

from pyiceberg.serializers import Compressor, ToOutputFile
from pyiceberg.table.metadata import TableMetadata, TableMetadataUtil, TableMetadataV1, TableMetadataV2, TableMetadataV3
from pyiceberg.utils.config import Config

if TYPE_CHECKING:
    from pyiceberg.io import OutputFile

# About as many as there are tables; the metadata of a busy one takes some 3 MB.
KEPT = 16

_parse = TableMetadataUtil.parse_raw
_known: OrderedDict[str, TableMetadata] = OrderedDict()
_lock = Lock()


def install() -> None:
    """Let pyiceberg parse, write and copy like this, in this process."""
    TableMetadataUtil.parse_raw = staticmethod(parse_once)  # type: ignore[method-assign]
    ToOutputFile.table_metadata = staticmethod(write)  # type: ignore[method-assign]
    for version in (TableMetadataV1, TableMetadataV2, TableMetadataV3):
        version.__deepcopy__ = copy_of  # type: ignore[method-assign, assignment]


def parse_once(data: str) -> TableMetadata:
    """Parse the text of a metadata file; each caller gets lists and properties of its own."""
    with _lock:
        metadata = _known.pop(data, None)
        if metadata is not None:
            _known[data] = metadata
    return copy_of(metadata if metadata is not None else _remembered(data, _parse(data)))


def write(metadata: TableMetadata, output_file: OutputFile, overwrite: bool = False) -> None:
    """Write a metadata file; whoever loads it in this process need not parse it."""
    text = metadata.model_dump_json(exclude_none=not Config().get_bool("legacy-current-snapshot-id"))
    compress = Compressor.get_compressor(location=output_file.location).bytes_compressor()
    with output_file.create(overwrite=overwrite) as stream:
        stream.write(compress(text.encode()))
    _remembered(text, copy_of(metadata))


def copy_of(metadata: TableMetadata, _: object = None) -> TableMetadata:
    """Copy metadata with its lists and mappings, which share their frozen members."""
    held = {name: value.copy() for name, value in metadata if isinstance(value, (list, dict))}
    return metadata.model_copy(update=held)


def _remembered(text: str, metadata: TableMetadata) -> TableMetadata:
    with _lock:
        _known[text] = metadata
        if len(_known) > KEPT:
            _known.popitem(last=False)
    return metadata
