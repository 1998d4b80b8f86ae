"""User data files of campaigns and Canvases, and what killed exports left: without the people's lines (R22)."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

from perennial.erase.files import FoundFile, LeftFile, kept, rewritten
from perennial.erase.people import People
from perennial.storage import storage_for

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

PLACE = "export files"
# What `csv_text` puts an apostrophe before.
_FORMULA = ("'-", "'=", "'+", "'@")


def locate(warehouse: Warehouse, people: People) -> list[FoundFile]:
    """Find the export files with lines of some people."""
    found = [FoundFile(PLACE, uri, sum(is_theirs for _, is_theirs in _lines(uri, people))) for uri in _files(warehouse)]
    found += [FoundFile(PLACE, str(path), 1) for path in _left_behind(warehouse, people)]
    return [one for one in found if one.count]


def erase(warehouse: Warehouse, people: People) -> list[LeftFile]:
    """Rewrite export files without the lines of some people; returns those that had to stay as they are."""
    for path in _left_behind(warehouse, people):
        # An export that is still running fails, and its next attempt has nothing of these people.
        shutil.rmtree(path.parent, ignore_errors=True)
    left = []
    for uri in _files(warehouse):
        if any(is_theirs for _, is_theirs in _lines(uri, people)):

            def write(path: Path, uri: str = uri) -> None:
                with path.open("wb") as copy:
                    copy.writelines(line for line, is_theirs in _lines(uri, people) if not is_theirs)

            left.append(rewritten(uri, PLACE, write))
    return kept(left)


def remaining(warehouse: Warehouse, people: People) -> list[LeftFile]:
    """Read every export file, and return those with lines of some people."""
    return [LeftFile(PLACE, one.uri, "it has lines of these people") for one in locate(warehouse, people)]


def _files(warehouse: Warehouse) -> Iterator[str]:
    if (place := warehouse.settings.exports_uri) is None:
        return
    prefix = place.rstrip("/")
    for stored in storage_for(prefix).list_files(prefix):
        if stored.uri.endswith(".csv"):
            yield stored.uri


def _left_behind(warehouse: Warehouse, people: People) -> list[Path]:
    """Find files of exports that were killed or are still running."""
    home = warehouse.settings.home
    paths = Path(gettempdir()).glob("user-data-*/*.csv") if home is None else home.glob("exporting/*/*.csv")
    return [path for path in paths if any(is_theirs for _, is_theirs in _lines(str(path), people))]


def _lines(uri: str, people: People) -> Iterator[tuple[bytes, bool]]:
    """Read a file by its lines, as they are, and say of each whether it is theirs; a cell may have line breaks."""
    columns: dict[str, int] = {}
    try:
        with storage_for(uri).open(uri) as file:
            for line in _records(file):
                cells = next(csv.reader([line.decode("utf-8", "replace")]), [])
                if not columns:
                    columns = {name: position for position, name in enumerate(cells)}
                    yield line, False
                    continue
                theirs = _cell(cells, columns.get("user_id")) & people.user_ids
                yield line, bool(theirs or _cell(cells, columns.get("external_id")) & people.external_user_ids)
    except FileNotFoundError:
        return


def _records(file: Iterator[bytes]) -> Iterator[bytes]:
    record = b""
    for line in file:
        record += line
        if record.count(b'"') % 2 == 0:
            yield record
            record = b""
    if record:
        yield record


def _cell(cells: list[str], position: int | None) -> set[str]:
    """Return what a cell may stand for: as it is, and without the apostrophe that keeps it from being a formula."""
    if position is None or position >= len(cells):
        return set()
    cell = cells[position]
    return {cell, cell[1:]} if cell.startswith(_FORMULA) else {cell}
