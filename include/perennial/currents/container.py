"""The framing of Avro object container files: record count, size and sync marker of each block.

Read apart from the records, it bounds memory, gives every record its ordinal, and finds where a damaged file becomes
readable again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

log = logging.getLogger(__name__)

SYNC_BYTES = 16
# No writer makes blocks of more records or bytes: such a number is damage.
MAX_BLOCK = 1 << 30
SEARCHED_BYTES = 4 << 20
_CUT_OFF = "the file ends inside a block"
_DAMAGED = "damaged block, nothing up to the next sync marker can be read"
_WRONG_MARKER = "damaged sync marker"


@dataclass(frozen=True)
class Block:
    """A block: ordinal of its first record, number of records, content, and what is wrong with it, if anything.

    The content of a damaged block is what can be trusted of it.
    """

    first: int
    count: int
    content: bytes
    problem: str = ""


def read_blocks(file: BinaryIO, sync: bytes) -> Iterator[Block]:
    """Read the blocks that follow a header, whole or damaged.

    Args:
        file: Positioned after the header; seekable.
        sync: The file's sync marker.
    """
    first = 1
    while True:
        start = file.tell()
        if not file.read(1):
            return
        file.seek(start)
        block = _read_framed(file, sync, first)
        following = file.tell()
        if block.problem == _WRONG_MARKER and _continues(file, sync, following):
            # What follows shows that the sizes are right, so the block itself can be trusted.
            log.warning("block at byte %d: its sync marker is damaged, the block itself is whole", start)
            block = Block(first, block.count, block.content)
        elif block.problem in (_DAMAGED, _WRONG_MARKER):
            block = Block(first, 1, b"", _DAMAGED)
            following = _after_marker(file, sync, start)
        yield block
        file.seek(following)
        first += block.count


def _read_framed(file: BinaryIO, sync: bytes, first: int) -> Block:
    try:
        count, size = _read_long(file), _read_long(file)
    except EOFError:
        return Block(first, 1, b"", _CUT_OFF)
    except ValueError:
        return Block(first, 1, b"", _DAMAGED)
    if not (0 <= count <= MAX_BLOCK and 0 <= size <= MAX_BLOCK):
        return Block(first, 1, b"", _DAMAGED)
    content, marker = file.read(size), file.read(SYNC_BYTES)
    if marker == sync:
        return Block(first, count, content)
    if len(marker) == SYNC_BYTES:
        return Block(first, count, content, _WRONG_MARKER)
    # A damaged size reaches past the end as well, but over the markers of the blocks it swallows.
    return Block(first, count, content, _CUT_OFF) if sync not in content else Block(first, 1, b"", _DAMAGED)


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
    """Write a block the way it lies in a file."""
    return _long(block.count) + _long(len(block.content)) + block.content + sync


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
    return not _read_framed(file, sync, 0).problem


def _after_marker(file: BinaryIO, sync: bytes, position: int) -> int:
    """Find where the next block starts: right after the next sync marker, or else at the end of the file."""
    file.seek(position)
    searched = b""
    while piece := file.read(SEARCHED_BYTES):
        searched = searched[-SYNC_BYTES:] + piece
        if (found := searched.find(sync)) >= 0:
            return file.tell() - len(searched) + found + SYNC_BYTES
    return file.tell()
