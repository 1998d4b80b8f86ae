"""Avro files: intact blocks are decoded many at once, damaged or unusual ones record by record.

Damage is reported, not repaired: damaged content of a block loses that block's records, and damaged framing loses
everything that follows, as one rejected record.
"""

from __future__ import annotations

import bz2
import gzip
import io
import logging
import lzma
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from perennial.currents.container import SYNC_BYTES, Block, framed, read_blocks
from perennial.currents.fields import FIELDS, FLAG_WORDS, Records, read_fields, records_of, unreadable

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

log = logging.getLogger(__name__)

STRETCH_BYTES = 4 << 20

_PLAIN_TYPES = {
    "string": {"null", "string"},
    "double": {"null", "int", "long", "float", "double", "string"},
    "boolean": {"null", "boolean", "string"},
    "int": {"null", "int", "long", "string"},
}


@dataclass(frozen=True)
class Container:
    """The header of a file. `columns` are the FIELDS it has, empty if one of them has an unusual type."""

    head: bytes
    schema: Any
    codec: str
    columns: tuple[str, ...]

    @property
    def sync(self) -> bytes:
        return self.head[-SYNC_BYTES:]


def read_avro(file: BinaryIO, decode: bool, compressed: bool = False) -> Iterator[Records]:
    """Read an object container file.

    Args:
        file: Open for reading, seekable.
        decode: False to count the records only.
        compressed: Whether the whole file is gzipped; a damaged or cut-off file is read up to the damage.
    """
    if not compressed:
        yield from _read_container(file, decode)
        return
    with tempfile.TemporaryFile() as plain:
        problem = decompress_file(file, plain)
        if plain.tell() or not problem:
            plain.seek(0)
            yield from _read_container(plain, decode)
    if problem:
        yield records_of([unreadable(0, problem)])


def decompress_file(file: BinaryIO, plain: BinaryIO) -> str:
    """Decompress a gzipped file as far as possible; also return the error that stopped it."""
    source = gzip.GzipFile(fileobj=file)
    try:
        # One small read at a time: a read that fails midway would also lose the bytes before the damage.
        while piece := source.read1(1 << 16):
            plain.write(piece)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        return f"damaged gzip file, nothing after the last record can be read: {error}"
    return ""


def _read_container(file: BinaryIO, decode: bool) -> Iterator[Records]:
    try:
        container = read_header(file)
    except OSError:
        raise
    except Exception as error:  # the header's parsers raise errors of any kind on damaged bytes
        yield records_of([unreadable(0, f"not an Avro file, or its header is damaged: {error!r}")])
        return
    stretch: list[Block] = []
    for block in read_blocks(file, container.sync):
        if block.problem:
            yield from _read_stretch(container, stretch, decode)
            yield records_of(_read_block(container, block))
            stretch = []
            continue
        stretch.append(block)
        if sum(len(waiting.content) for waiting in stretch) >= STRETCH_BYTES:
            yield from _read_stretch(container, stretch, decode)
            stretch = []
    yield from _read_stretch(container, stretch, decode)


def read_header(file: BinaryIO) -> Container:
    """Read the header of a file, which is then positioned after it. Raises errors of any kind on damaged bytes."""
    import fastavro

    reader = fastavro.reader(file)
    end = file.tell()
    file.seek(0)
    schema = reader.writer_schema
    return Container(file.read(end), fastavro.parse_schema(schema), reader.codec, _plain_columns(schema))


def _plain_columns(schema: Any) -> tuple[str, ...]:
    if not isinstance(schema, dict) or schema.get("type") != "record":
        return ()
    present = {field["name"]: field["type"] for field in schema["fields"] if field["name"] in FIELDS}
    for name, kind in present.items():
        options = kind if isinstance(kind, list) else [kind]
        if not all(isinstance(option, str) and option in _PLAIN_TYPES[FIELDS[name]] for option in options):
            return ()
        if len([option for option in options if option != "null"]) != 1:
            return ()
    return tuple(present)


def _read_stretch(container: Container, blocks: list[Block], decode: bool) -> Iterator[Records]:
    if not blocks:
        return
    record_count = sum(block.count for block in blocks)
    if not decode:
        yield Records(record_count)
        return
    rows = _decode_at_once(container, blocks, record_count)
    if rows is not None:
        yield Records(record_count, rows)
        return
    yield records_of(row for block in blocks for row in _read_block(container, block))


def _decode_at_once(container: Container, blocks: list[Block], record_count: int) -> pa.Table | None:
    """Decode blocks with the fast decoder; None if it refuses them."""
    import polars as pl

    if not container.columns:
        return None
    content = b"".join([container.head, *(framed(block, container.sync) for block in blocks)])
    try:
        frame = pl.read_avro(io.BytesIO(content), columns=list(container.columns))
        frame = frame.select(_as_kept(name, frame.schema[name]) for name in container.columns)
    except (Exception, pl.exceptions.PanicException) as error:  # the content is in memory, so any error means damage
        log.warning("the fast decoder refused %d records, reading them one by one: %s", record_count, error)
        return None
    if frame.height != record_count:
        return None
    return frame.with_row_index("line", offset=blocks[0].first).to_arrow()


def _as_kept(name: str, found: pl.DataType) -> pl.Expr:
    """Convert a column to its stored type; a value that does not fit fails the frame."""
    import polars as pl

    kind, column = FIELDS[name], pl.col(name)
    if found == pl.String and kind != "string":
        column = column.replace("", None)
        if kind == "boolean":
            words, flags = [None, *FLAG_WORDS], [None, *FLAG_WORDS.values()]
            return column.str.to_lowercase().replace_strict(words, flags, return_dtype=pl.Boolean)
    return column.cast({"string": pl.String, "double": pl.Float64, "boolean": pl.Boolean, "int": pl.Int32}[kind])


def _read_block(container: Container, block: Block) -> Iterator[dict[str, Any]]:
    """Read a block record by record as far as possible; after damaged framing follows one rejected record."""
    import fastavro

    content, problem = decompress_block(container.codec, block.content)
    stream = io.BytesIO(content)
    ordinal, end = block.first, block.first + block.count
    while ordinal < end:
        try:
            # A record takes at least a byte: a damaged count must not invent records.
            if stream.tell() >= len(content):
                raise EOFError("the block has fewer records than its count says")
            record = fastavro.schemaless_reader(stream, container.schema, None)
        except Exception as error:  # the decoder raises errors of any kind on damaged bytes
            problem = problem or repr(error)
            break
        yield read_fields(ordinal, record)
        ordinal += 1
    if block.problem:
        yield unreadable(ordinal, f"nothing from record {ordinal} on can be read: {block.problem}")
    elif ordinal < end:
        span = f"records {ordinal} to {end - 1}" if ordinal + 1 < end else f"record {ordinal}"
        yield unreadable(ordinal, f"{span} cannot be read: {problem}")


def decompress_block(codec: str, content: bytes) -> tuple[bytes, str]:
    """Decompress a block as far as possible; also return the error that stopped it."""
    if codec == "null":
        return content, ""
    if codec == "snappy":
        return _decompress_snappy(content)
    decompressors: dict[str, Callable[[], Any]] = {
        "deflate": lambda: zlib.decompressobj(-15),
        "bzip2": bz2.BZ2Decompressor,
        "xz": lzma.LZMADecompressor,
    }
    if codec not in decompressors:
        return b"", f"compression codec {codec!r} is not supported; use null, deflate, snappy, bzip2 or xz"
    decompressor = decompressors[codec]()
    found = bytearray()
    try:
        # In small steps, so that everything before the damage is read.
        for position in range(0, len(content), 256):
            found += decompressor.decompress(content[position : position + 256])
    except (zlib.error, OSError, EOFError, lzma.LZMAError) as error:
        return bytes(found), f"damaged {codec} block: {error}"
    return bytes(found), ""


def _decompress_snappy(content: bytes) -> tuple[bytes, str]:
    import pyarrow as pa

    size = shift = 0
    for byte in content[:5]:
        size |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    try:
        # The last four bytes are a checksum of the content.
        found = pa.Codec("snappy").decompress(content[:-4], decompressed_size=size, asbytes=True)
    except (pa.ArrowException, ValueError, OSError) as error:
        return b"", f"damaged snappy block: {error}"
    if zlib.crc32(found) != int.from_bytes(content[-4:], "big"):
        return b"", "damaged snappy block: its checksum does not match"
    return bytes(found), ""
