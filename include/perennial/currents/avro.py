"""Avro object container files: healthy blocks are decoded many at once, damaged or unusual ones record by record.

The container's own framing (record count, size, sync marker of each block) is read here: it bounds memory, gives every
record its ordinal, and finds where a damaged file becomes readable again.
"""

from __future__ import annotations

import bz2
import io
import logging
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from perennial.currents.fields import FIELDS, FLAG_WORDS, Records, read_fields, records_of, unreadable

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

log = logging.getLogger(__name__)

STRETCH_BYTES = 4 << 20
# No writer makes blocks of more records or bytes: such a number is damage.
MAX_BLOCK = 1 << 30
SYNC_BYTES = 16

_PLAIN_TYPES = {
    "VARCHAR": {"null", "string"},
    "DOUBLE": {"null", "int", "long", "float", "double", "string"},
    "BOOLEAN": {"null", "boolean", "string"},
    "INTEGER": {"null", "int", "long", "string"},
}


@dataclass(frozen=True)
class _Container:
    """What a file's header says. `columns` are the FIELDS it has, empty where it has one of an unusual type."""

    head: bytes
    schema: Any
    codec: str
    columns: tuple[str, ...]

    @property
    def sync(self) -> bytes:
        return self.head[-SYNC_BYTES:]


@dataclass(frozen=True)
class _Block:
    """A block: ordinal of its first record, number of records, content, and what is wrong with it, if anything.

    The content of a damaged block is what can be trusted of it.
    """

    first: int
    count: int
    content: bytes
    problem: str = ""


def read_avro(file: BinaryIO, decode: bool) -> Iterator[Records]:
    """Read an object container file.

    Args:
        file: Open for reading, seekable.
        decode: False to count the records only.
    """
    try:
        container = _read_header(file)
    except Exception as error:  # damaged bytes come out of the header's parsers as errors of any kind
        yield records_of([unreadable(0, f"not an Avro file, or its header is damaged: {error!r}")])
        return
    stretch: list[_Block] = []
    for block in _blocks(file, container.sync):
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


def _read_header(file: BinaryIO) -> _Container:
    import fastavro

    reader = fastavro.reader(file)
    end = file.tell()
    file.seek(0)
    schema = reader.writer_schema
    return _Container(file.read(end), fastavro.parse_schema(schema), reader.codec, _plain_columns(schema))


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


# --- framing ----------------------------------------------------------------------------------------------------------


def _blocks(file: BinaryIO, sync: bytes) -> Iterator[_Block]:
    first = 1
    while True:
        start = file.tell()
        if not file.read(1):
            return
        file.seek(start)
        block, whole = _read_framed(file, sync, first)
        if not whole:
            following = file.tell()
            if block.problem == _CUT_OFF:
                yield block
                return
            if _continues(file, sync, following):
                log.warning("block at byte %d: its sync marker is damaged, the block itself is whole", start)
                block = _Block(first, block.count, block.content)
            else:
                block = _Block(first, 1, b"", "damaged block, nothing up to the next sync marker can be read")
                following = _after_marker(file, sync, start)
            file.seek(following)
        yield block
        first += block.count


_CUT_OFF = "the file ends inside a block"


def _read_framed(file: BinaryIO, sync: bytes, first: int) -> tuple[_Block, bool]:
    """Read one block, and whether its framing is as it should be."""
    try:
        count, size = _read_long(file), _read_long(file)
    except EOFError:
        return _Block(first, 1, b"", _CUT_OFF), False
    except ValueError:
        return _Block(first, 1, b"", "damaged"), False
    if not (0 <= count <= MAX_BLOCK and 0 <= size <= MAX_BLOCK):
        return _Block(first, 1, b"", "damaged"), False
    content, marker = file.read(size), file.read(SYNC_BYTES)
    if marker == sync:
        return _Block(first, count, content), True
    # A short read alone does not tell a cut from a damaged size: only a cut leaves no marker behind.
    cut = len(marker) < SYNC_BYTES and sync not in content
    return _Block(first, count, content, _CUT_OFF if cut else "damaged"), False


def _read_long(file: BinaryIO) -> int:
    value = shift = 0
    while True:
        byte = file.read(1)
        if not byte:
            raise EOFError
        value |= (byte[0] & 0x7F) << shift
        if not byte[0] & 0x80:
            return (value >> 1) ^ -(value & 1)
        shift += 7
        if shift > 63:
            raise ValueError


def _long(value: int) -> bytes:
    encoded = bytearray()
    value <<= 1
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _continues(file: BinaryIO, sync: bytes, position: int) -> bool:
    """Whether a sound block, or the very end of the file, is where the sizes say."""
    file.seek(position)
    if not file.read(1):
        return True
    file.seek(position)
    return _read_framed(file, sync, 0)[1]


def _after_marker(file: BinaryIO, sync: bytes, position: int) -> int:
    """Find where the next block starts: right after the next sync marker, or else at the end of the file."""
    file.seek(position)
    searched = b""
    while piece := file.read(STRETCH_BYTES):
        searched = searched[-SYNC_BYTES:] + piece
        if (found := searched.find(sync)) >= 0:
            return file.tell() - len(searched) + found + SYNC_BYTES
    return file.tell()


# --- decoding ---------------------------------------------------------------------------------------------------------


def _read_stretch(container: _Container, blocks: list[_Block], decode: bool) -> Iterator[Records]:
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


def _decode_at_once(container: _Container, blocks: list[_Block], record_count: int) -> pa.Table | None:
    """Decode blocks by the fast decoder; None where it refuses them."""
    import polars as pl

    if not container.columns:
        return None
    framed = (_long(block.count) + _long(len(block.content)) + block.content + container.sync for block in blocks)
    try:
        frame = pl.read_avro(io.BytesIO(b"".join([container.head, *framed])), columns=list(container.columns))
        frame = frame.select(_as_kept(name, frame.schema[name]) for name in container.columns)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        log.warning("the fast decoder refused %d records, reading them one by one: %s", record_count, error)
        return None
    if frame.height != record_count:
        return None
    return frame.with_row_index("line", offset=blocks[0].first).to_arrow()


def _as_kept(name: str, found: pl.DataType) -> pl.Expr:
    """Bring a column into the type it is kept in; a value that does not fit makes the frame fail."""
    import polars as pl

    kind, column = FIELDS[name], pl.col(name)
    if found == pl.String and kind != "VARCHAR":
        column = column.replace("", None)
        if kind == "BOOLEAN":
            words: dict[str | None, bool | None] = {None: None, **FLAG_WORDS}
            return column.str.to_lowercase().replace_strict(words, return_dtype=pl.Boolean)
    return column.cast({"VARCHAR": pl.String, "DOUBLE": pl.Float64, "BOOLEAN": pl.Boolean, "INTEGER": pl.Int32}[kind])


def _read_block(container: _Container, block: _Block) -> Iterator[dict[str, Any]]:
    """Read a block record by record, as far as it can be read."""
    import fastavro

    content, problem = _decompress(container.codec, block.content)
    problem = block.problem or problem
    stream = io.BytesIO(content)
    last = block.first + block.count - 1
    for ordinal in range(block.first, last + 1):
        try:
            # A record takes at least a byte: a damaged count must not make records out of nothing.
            if stream.tell() >= len(content):
                raise EOFError("the block holds fewer records than it says")
            record = fastavro.schemaless_reader(stream, container.schema, None)
        except Exception as error:  # damaged bytes come out of the decoder as errors of any kind
            span = f"records {ordinal} to {last}" if ordinal < last else f"record {ordinal}"
            yield unreadable(ordinal, f"{span} cannot be read: {problem or repr(error)}")
            return
        yield read_fields(ordinal, record)


def _decompress(codec: str, content: bytes) -> tuple[bytes, str]:
    """Decompress a block as far as it goes, and say what stopped it."""
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
        return b"", f"compression codec {codec!r} is not supported; write null, deflate, snappy, bzip2 or xz"
    decompressor = decompressors[codec]()
    found = bytearray()
    try:
        # In small steps, so that what lies before the damage comes out.
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
