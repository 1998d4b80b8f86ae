"""The framing of Avro object container files: record count, size and sync marker of each block.

Reading it separately from the records bounds memory and gives every record its ordinal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

SYNC_BYTES = 16
# No writer makes blocks with more records or bytes: a larger number is damage.
MAX_BLOCK = 1 << 30
_CUT_OFF = "the file ends inside a block"
_DAMAGED = "damaged block"


@dataclass(frozen=True)
class Block:
    """A block: ordinal of its first record, number of records and content.

    Attributes:
        problem: Why nothing after its readable records can be read; empty for an intact block.
    """

    first: int
    count: int
    content: bytes
    problem: str = ""


def read_blocks(file: BinaryIO, sync: bytes) -> Iterator[Block]:
    """Read the blocks that follow a header, up to the first whose framing is damaged.

    Args:
        file: Positioned after the header; seekable.
        sync: The file's sync marker.
    """
    first = 1
    while file.read(1):
        file.seek(-1, 1)
        block = _read_block(file, sync, first)
        yield block
        if block.problem:
            return
        first += block.count


def _read_block(file: BinaryIO, sync: bytes, first: int) -> Block:
    try:
        count, size = _read_long(file), _read_long(file)
    except EOFError:
        return Block(first, 0, b"", _CUT_OFF)
    except ValueError:
        return Block(first, 0, b"", _DAMAGED)
    if not (0 <= count <= MAX_BLOCK and 0 <= size <= MAX_BLOCK):
        return Block(first, 0, b"", _DAMAGED)
    content, marker = file.read(size), file.read(SYNC_BYTES)
    if marker == sync:
        return Block(first, count, content)
    # A damaged size may also reach past the end, but then it includes the markers of other blocks.
    if len(marker) == SYNC_BYTES or sync in content:
        return Block(first, 0, b"", _DAMAGED)
    return Block(first, count, content, _CUT_OFF)


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


def framed(block: Block, sync: bytes) -> bytes:
    """Write a block in the form it has in a file."""
    return _long(block.count) + _long(len(block.content)) + block.content + sync


def _long(value: int) -> bytes:
    encoded = bytearray()
    value <<= 1
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
