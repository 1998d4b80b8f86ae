"""Copies landing files without some of their records (R22); every other record keeps its bytes.

Lines of JSON stay where they are: one that is left out becomes an empty line, which is not a record. In an Avro file
the blocks without such a record are copied as they are.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tempfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from perennial.currents.avro import decompress_block, decompress_file, read_header
from perennial.currents.container import Block, framed, read_blocks
from perennial.currents.landing import AVRO_ENDINGS, JSON_ENDINGS
from perennial.storage import storage_for

if TYPE_CHECKING:
    from perennial.currents.avro import Container

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class DamagedFileError(Exception):
    """A file is damaged, so a copy without some of its records would lose what cannot be read of it."""


def copy_without(uri: str, lines: Collection[int], path: Path) -> None:
    """Write a landing file without some records.

    Args:
        uri: The file; its name determines the format.
        lines: The records to leave out, as `read_landing_file` numbers them.
        path: Where to write it.

    Raises:
        DamagedFileError: It is damaged, or of no format that is loaded.
    """
    name = uri.lower()
    if not name.endswith((*AVRO_ENDINGS, *JSON_ENDINGS)):
        raise DamagedFileError("its format is unknown")
    write = _write_avro if name.endswith(AVRO_ENDINGS) else _write_lines
    with storage_for(uri).open(uri) as origin, path.open("wb") as copy:
        if not name.endswith(".gz"):
            write(origin, set(lines), copy)
            return
        with tempfile.TemporaryFile() as plain, gzip.GzipFile("", "wb", fileobj=copy, mtime=0) as packed:
            if problem := decompress_file(origin, plain):
                raise DamagedFileError(problem)
            plain.seek(0)
            write(plain, set(lines), packed)


def read_texts(uri: str) -> Iterator[tuple[int, str]]:
    """Read the records of an intact landing file as texts, each with its number."""
    name = uri.lower()
    with storage_for(uri).open(uri) as origin, tempfile.TemporaryFile() as plain:
        if name.endswith(".gz"):
            decompress_file(origin, plain)
            plain.seek(0)
        yield from (_avro_texts if name.endswith(AVRO_ENDINGS) else _lines)(plain if name.endswith(".gz") else origin)


def _lines(origin: BinaryIO) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(origin, start=1):
        yield number, line.decode("utf-8", "replace")


def _avro_texts(origin: BinaryIO) -> Iterator[tuple[int, str]]:
    container = read_header(origin)
    for block in read_blocks(origin, container.sync):
        content = _content(container, block)
        for number, (record, _) in enumerate(_records(container, block.count, content), start=block.first):
            yield number, json.dumps(record, default=str)


def _write_lines(origin: BinaryIO, lines: set[int], copy: BinaryIO | gzip.GzipFile) -> None:
    for number, line in enumerate(origin, start=1):
        if number not in lines:
            copy.write(line)
            continue
        copy.write(_BYTE_ORDER_MARK if number == 1 and line.startswith(_BYTE_ORDER_MARK) else b"")
        copy.write(b"\n" if line.endswith(b"\n") else b"")


def _write_avro(origin: BinaryIO, lines: set[int], copy: BinaryIO | gzip.GzipFile) -> None:
    container = read_header(origin)
    copy.write(container.head)
    for block in read_blocks(origin, container.sync):
        if block.problem:
            raise DamagedFileError(block.problem)
        dropped = lines.intersection(range(block.first, block.first + block.count))
        kept = _block_without(container, block, dropped) if dropped else block
        if kept.count or not dropped:
            copy.write(framed(kept, container.sync))


def _block_without(container: Container, block: Block, dropped: Collection[int]) -> Block:
    records = enumerate(_records(container, block.count, _content(container, block)), start=block.first)
    kept = [encoded for number, (_, encoded) in records if number not in dropped]
    return Block(block.first, len(kept), _compress(container.codec, b"".join(kept)))


def _content(container: Container, block: Block) -> bytes:
    content, problem = decompress_block(container.codec, block.content)
    if block.problem or problem:
        raise DamagedFileError(block.problem or problem)
    return content


def _records(container: Container, count: int, content: bytes) -> Iterator[tuple[Any, bytes]]:
    """Read the content of a block: each record, and its bytes."""
    import fastavro

    stream = io.BytesIO(content)
    for _ in range(count):
        start = stream.tell()
        try:
            record = fastavro.schemaless_reader(stream, container.schema, None)
        except Exception as error:  # the decoder raises errors of any kind on damaged bytes
            raise DamagedFileError(repr(error)) from error
        yield record, content[start : stream.tell()]
    if stream.tell() != len(content):
        raise DamagedFileError("a block has more content than records")


def _compress(codec: str, content: bytes) -> bytes:
    if codec == "deflate":
        compressor = zlib.compressobj(wbits=-15)
        return compressor.compress(content) + compressor.flush()
    if codec == "snappy":
        import pyarrow as pa

        packed: bytes = pa.Codec("snappy").compress(content, asbytes=True)
        return packed + zlib.crc32(content).to_bytes(4, "big")
    if codec == "bzip2":
        return bz2.compress(content)
    return lzma.compress(content) if codec == "xz" else content
