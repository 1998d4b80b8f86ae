"""Entries of manifests, in which the metrics of a file stay the bytes that they are.

A move lists files in one table and then in the other one. It looks at addresses, partitions and counts. The metrics of
the columns, which are most of an entry, are the same in both manifests, but pyiceberg decodes and encodes all of them.
Here they are carried over, and decoded only for those who ask for them.

The bytes of an entry, in this order (manifests of version 2, https://iceberg.apache.org/spec/#manifests; numbers are
zigzag varints, a value that may be null follows a 0 for null or a 1, https://avro.apache.org/docs/1.11.1/specification):

    status, snapshot_id, sequence_number, file_sequence_number, and of the data file:
    content, file_path, file_format, partition (these are decoded; what follows is the tail),
    record_count, file_size_in_bytes,
    column_sizes, value_counts, null_value_counts, nan_value_counts (column ids with numbers),
    lower_bounds, upper_bounds (column ids with bytes),
    key_metadata (bytes), split_offsets, equality_ids (lists of numbers), sort_order_id;
    after the tail, what other writers declare besides: it is skipped, as pyiceberg does.

A manifest that is laid out in another way (another version, other fields or types, a partition that is no text) is
read by pyiceberg. Manifests are written by pyiceberg's own writer, in blocks of many entries instead of one, with the
bytes of those that are carried. tests/warehouse/test_entries.py checks what is relied on.
"""

from __future__ import annotations

import gc
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from pyiceberg.avro.decoder import BinaryDecoder, new_decoder
from pyiceberg.avro.encoder import BinaryEncoder
from pyiceberg.avro.file import META_SCHEMA, AvroFileHeader, AvroOutputFile
from pyiceberg.avro.resolver import construct_reader, construct_writer
from pyiceberg.manifest import (
    DATA_FILE_TYPE,
    MANIFEST_ENTRY_SCHEMAS,
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriterV2,
    _inherit_from_manifest,
)
from pyiceberg.typedef import Record
from pyiceberg.types import NestedField, StringType, StructType
from pyiceberg.utils.schema_conversion import AvroSchemaConversion

if TYPE_CHECKING:
    from pyiceberg.io import FileIO, OutputFile
    from pyiceberg.schema import Schema

# Entries of one block: enough for compression to find what repeats itself.
BLOCK_ENTRIES = 200
_ENTRY, _FILE = MANIFEST_ENTRY_SCHEMAS[2].fields, DATA_FILE_TYPE[2].fields
_PARTITION, _COUNTS, _METRICS = 3, 4, 6
# Of delete files; other writers declare them in every manifest of version 2.
_SKIPPED_IDS = {143, 144, 145}
_HEADER = construct_reader(META_SCHEMA, {-1: AvroFileHeader})
_TAIL = construct_reader(StructType(*_FILE[_COUNTS:]), {-1: Record})
_status, _content, _format = lru_cache(ManifestEntryStatus), lru_cache(DataFileContent), lru_cache(FileFormat)


@dataclass(slots=True, eq=False, repr=False)
class CarriedFile(DataFile):
    """A data file whose metrics are decoded when they are asked for; it cannot be changed."""

    tail: bytes
    # In the place of pyiceberg's properties, which look into `_data`.
    content: DataFileContent
    file_path: str
    file_format: FileFormat
    partition: Record
    record_count: int
    file_size_in_bytes: int
    key_metadata: bytes | None
    sort_order_id: int | None
    spec_id: int

    # pyiceberg's looks at every name.
    __setattr__ = object.__setattr__  # type: ignore[assignment]

    @cached_property
    def _data(self) -> list[Any]:  # type: ignore[override]
        decoded = values_of(_TAIL.read(new_decoder(self.tail)))
        return [self.content, self.file_path, self.file_format, self.partition, *decoded]

    def __setitem__(self, position: int, value: Any) -> None:
        raise TypeError("the entry of a manifest cannot be changed")


def elsewhere(data_file: DataFile, uri: str, partition: Record, spec_id: int) -> DataFile:
    """Describe a copy of a file at another address and in another table, where it has no sort order."""
    known = data_file.content, uri, data_file.file_format, partition
    counts = data_file.record_count, data_file.file_size_in_bytes
    if isinstance(data_file, CarriedFile) and data_file.tail.endswith(ends := _optional(data_file.sort_order_id)):
        tail = data_file.tail.removesuffix(ends) + _optional(None)
        return CarriedFile(tail, *known, *counts, data_file.key_metadata, None, spec_id)
    copied = DataFile(*known, *counts, *data_file._data[_METRICS:-1], None)
    copied.spec_id = spec_id
    return copied


def without_metrics(data_file: DataFile) -> DataFile:
    """Describe a file that is removed: nobody plans with its metrics, and they are most of an entry."""
    # pyiceberg gives the content as a number where a manifest has none, in version 1.
    known = DataFileContent(data_file.content), data_file.file_path, data_file.file_format, data_file.partition
    counts = data_file.record_count, data_file.file_size_in_bytes
    tail = b"".join([*map(_number, counts), len(_FILE[_METRICS:]) * _optional(None)])
    return CarriedFile(tail, *known, *counts, None, None, data_file.spec_id)


def values_of(partition: Record) -> tuple[Any, ...]:
    """Values by which two partitions of one spec are the same."""
    return tuple([partition[place] for place in range(len(partition))])


def entries_of(manifest: ManifestFile, file_io: FileIO, discard_deleted: bool = True) -> list[ManifestEntry]:
    """Read the entries of a manifest.

    Looking for cycles among so many objects takes longer than reading them, and there are none. If threads overlap, one
    of them may look after all, but the collector is never left off.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        with file_io.new_input(manifest.manifest_path).open() as file:
            decoder = new_decoder(file.read())
        header = _HEADER.read(decoder)
        layout = _layout(header.meta.get("avro.schema", "{}"))
        if layout is None:
            return manifest.fetch_manifest_entry(file_io, discard_deleted)
        unwanted = ManifestEntryStatus.DELETED if discard_deleted else None
        return [entry for entry in _read(manifest, decoder, header, *layout) if entry.status is not unwanted]
    finally:
        if enabled:
            gc.enable()


@lru_cache(64)
def _layout(avro_schema: str) -> tuple[tuple[bool, ...], Callable[[BinaryDecoder], None]] | None:
    """Which values of the partition are never null, and what skips the fields after the tail; None if unknown here."""
    try:
        fields = AvroSchemaConversion().avro_to_iceberg(json.loads(avro_schema)).fields
        of_file = getattr(fields[-1].field_type, "fields", ())
    except (IndexError, KeyError, TypeError, ValueError):
        return None
    known, others = of_file[: len(_FILE)], of_file[len(_FILE) :]
    if _signature(fields[:-1]) != _signature(_ENTRY[:-1]) or _signature(known) != _signature(_FILE):
        return None
    partition = getattr(known[_PARTITION].field_type, "fields", ())
    is_text = all(field.field_type == StringType() for field in partition)
    if not is_text or not {field.field_id for field in others} <= _SKIPPED_IDS:
        return None
    return tuple(field.required for field in partition), construct_reader(StructType(*others)).skip


def _signature(fields: Sequence[NestedField]) -> list[tuple[object, ...]]:
    """What decides about bytes: an int is written as a long is, and partitions are of another type in every table."""
    kinds = [repr(one.field_type).replace("IntegerType", "LongType") for one in fields]
    partition = _FILE[_PARTITION].field_id
    return [(one.field_id, one.required, one.field_id == partition or kinds[at]) for at, one in enumerate(fields)]


def _read(
    manifest: ManifestFile,
    decoder: BinaryDecoder,
    header: AvroFileHeader,
    required: tuple[bool, ...],
    skip: Callable[[BinaryDecoder], None],
) -> Iterator[ManifestEntry]:
    """Read what follows the header: blocks of entries, up to the end."""
    codec = header.compression_codec()
    partitions: dict[tuple[str | None, ...], Record] = {}
    while True:
        try:
            count = decoder.read_int()
        except EOFError:
            return
        block = decoder.read_bytes()
        if decoder.read(len(header.sync)) != header.sync:
            raise ValueError(f"Manifest {manifest.manifest_path} is damaged: a block does not end where it says.")
        block = block if codec is None else codec.decompress(block)
        inner = new_decoder(block)
        read = inner.read_int
        for _ in range(count):
            status, numbers = _status(read()), [read() if read() else None for _ in range(3)]
            content, path, file_format = _content(read()), inner.read_utf8(), _format(inner.read_utf8())
            values = tuple([inner.read_utf8() if always or read() else None for always in required])
            partition = partitions.get(values) or partitions.setdefault(values, Record(*values))
            start = inner.tell()
            known = content, path, file_format, partition, *_read_tail(inner), manifest.partition_spec_id
            file = CarriedFile(block[start : inner.tell()], *known)
            skip(inner)
            yield _inherit_from_manifest(ManifestEntry(status, *numbers, file), manifest)


def _read_tail(inner: BinaryDecoder) -> tuple[int, int, bytes | None, int | None]:
    """Step over a tail; returns its two counts, key_metadata and sort_order_id."""
    read, ints = inner.read_int, inner.read_ints
    counts = read(), read()
    _step_over(4, read, lambda length: ints(2 * length))
    _step_over(2, read, lambda length: inner.read_int_bytes_dict(length, {}))
    key_metadata = inner.read_bytes() if read() else None
    _step_over(2, read, ints)
    return *counts, key_metadata, read() if read() else None


def _step_over(lists: int, read: Callable[[], int], items: Callable[[int], object]) -> None:
    for _ in range(lists):
        if read():
            while length := read():
                if length < 0:
                    read()  # The number of bytes.
                items(abs(length))


def _number(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


def _optional(value: int | None) -> bytes:
    return b"\0" if value is None else b"\2" + _number(value)


@lru_cache(1024)
def _head(status: int, *numbers: int | None) -> bytes:
    return _number(status) + b"".join(map(_optional, numbers))


class _EntryWriter:
    """Writes entries: those of carried files from their bytes, others as pyiceberg does."""

    def __init__(self, schema: Schema) -> None:
        self._others = construct_writer(schema)
        self._partition = construct_writer(schema.find_type(_FILE[_PARTITION].field_id))
        self._partitions: dict[tuple[Any, ...], bytes] = {}

    def write(self, encoder: BinaryEncoder, entry: ManifestEntry) -> None:
        file = entry.data_file
        if not isinstance(file, CarriedFile):
            self._others.write(encoder, entry)
            return
        head = _head(entry.status.value, entry.snapshot_id, entry.sequence_number, entry.file_sequence_number)
        path, kind = file.file_path.encode(), file.file_format.value.encode()
        known = _number(file.content.value), _number(len(path)), path, _number(len(kind)), kind
        encoder.write(b"".join((head, *known, self._written(file.partition), file.tail)))

    def _written(self, partition: Record) -> bytes:
        values = values_of(partition)
        if values not in self._partitions:
            written = io.BytesIO()
            self._partition.write(BinaryEncoder(written), partition)
            self._partitions[values] = written.getvalue()
        return self._partitions[values]


class _Blocks(AvroOutputFile[ManifestEntry]):
    """An Avro file with many entries a block, which takes a fifth of the bytes of one entry a block."""

    def __init__(self, output_file: OutputFile, schema: Schema, metadata: dict[str, str]) -> None:
        super().__init__(output_file, schema, "manifest_entry", metadata=metadata)
        self.writer = _EntryWriter(schema)  # type: ignore[assignment]
        self._held: list[ManifestEntry] = []

    def write_block(self, objects: list[ManifestEntry]) -> None:
        """Hold entries back until they are enough for a block."""
        self._held += objects
        if len(self._held) >= BLOCK_ENTRIES:
            super().write_block(self._held)
            self._held = []

    def __exit__(self, exctype: type[BaseException] | None, *error: Any) -> None:
        if exctype is None and self._held:
            super().write_block(self._held)
        super().__exit__(exctype, *error)


class _Distinct(set[tuple[Any, ...]]):
    def append(self, partition: Record) -> None:
        self.add(values_of(partition))


class BlockManifestWriter(ManifestWriterV2):
    """pyiceberg's writer of manifests of version 2, but for the blocks; and it holds each partition once."""

    def new_writer(self) -> AvroOutputFile[ManifestEntry]:
        """Open the file."""
        self._partitions = _Distinct()  # type: ignore[assignment]
        return _Blocks(self._output_file, self._with_partition(2), self._meta)
