"""JSON lines, plain or gzipped. Intact stretches are parsed at once, a damaged stretch line by line."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from perennial.currents.fields import Records, arrow_fields, read_fields, records_of, unreadable

if TYPE_CHECKING:
    import pyarrow as pa

STRETCH_BYTES = 4 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_json_lines(file: BinaryIO, compressed: bool, decode: bool) -> Iterator[Records]:
    """Read a file of JSON objects, one per line; blank lines count as lines but not as records.

    Args:
        file: Open for reading.
        compressed: Whether it is gzipped; a damaged or cut-off file is read up to the damage.
        decode: False to count the records only.
    """
    source = gzip.GzipFile(fileobj=file) if compressed else file
    line, rest, problem = 1, b"", ""
    while not problem:
        piece, problem = _read(source)
        if line == 1 and not rest:
            piece = piece.removeprefix(_BYTE_ORDER_MARK)
        if not piece:
            break
        complete, newline, rest = (rest + piece).rpartition(b"\n")
        if newline:
            lines = complete.split(b"\n")
            yield _read_lines(lines, line, decode)
            line += len(lines)
    if problem:
        yield _read_damaged_end(rest, line, problem)
    elif rest:
        yield _read_lines([rest], line, decode)


def _read(source: BinaryIO | gzip.GzipFile) -> tuple[bytes, str]:
    """Read one stretch; also return the error that ended it, if any."""
    pieces: list[bytes] = []
    size = 0
    try:
        # One small read at a time: a read that fails midway would also lose the bytes before the damage.
        while size < STRETCH_BYTES and (piece := source.read1(1 << 16)):  # type: ignore[union-attr]  # both have it
            pieces.append(piece)
            size += len(piece)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        return b"".join(pieces), f"damaged gzip file, nothing after this line can be read: {error}"
    return b"".join(pieces), ""


def _read_damaged_end(rest: bytes, line: int, problem: str) -> Records:
    row = _read_line(line, rest)
    if "reason" in row:
        return records_of([unreadable(line, problem, rest.decode("utf-8", "replace"))])
    return records_of([row, unreadable(line + 1, problem)])


def _read_lines(lines: list[bytes], first: int, decode: bool) -> Records:
    numbered = [(number, text) for number, text in enumerate(lines, first) if text and not text.isspace()]
    if not numbered:
        return Records(0)
    if not decode:
        return Records(len(numbered))
    rows = _parse_at_once([text for _, text in numbered])
    if rows is None:
        return records_of(_read_line(number, text) for number, text in numbered)
    return Records(len(numbered), rows.append_column("line", [[number for number, _ in numbered]]))


def _parse_at_once(lines: list[bytes]) -> pa.Table | None:
    """Parse lines with a strict, explicit schema; None if any of them differs from what Currents writes."""
    import pyarrow as pa
    from pyarrow import json as arrow_json

    schema = pa.schema(arrow_fields())
    text = b"\n".join(lines)
    try:
        text.decode("utf-8")
        rows = arrow_json.read_json(
            io.BytesIO(text),
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(text) + 1),
            parse_options=arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except (pa.ArrowException, ValueError, OverflowError):
        return None
    # Two objects on one line, or one object on two lines, are not JSON lines.
    return rows if rows.num_rows == len(lines) else None


def _read_line(number: int, text: bytes) -> dict[str, Any]:
    payload = text.decode("utf-8", "replace")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        return unreadable(number, f"not JSON: {error}", payload)
    return read_fields(number, record, payload)
