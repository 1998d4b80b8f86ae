"""Scratch directories of queries, syncs, loads and exports on this machine, which dead processes leave behind (R22)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from perennial.erase.files import FoundFile, LeftFile
from perennial.erase.people import People
from perennial.operations import wall_clock

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

PLACE = "scratch files of this machine"
# No process works for this long without writing.
_ABANDONED = timedelta(days=1)


def locate(warehouse: Warehouse, people: People) -> list[FoundFile]:  # noqa: ARG001 - as every place
    """Find what dead processes left behind; it may hold anybody's rows, and is of no use to anybody."""
    return [FoundFile(PLACE, str(path), 1) for path in _abandoned()] if people else []


def erase(warehouse: Warehouse, people: People) -> list[LeftFile]:
    """Delete it."""
    for found in locate(warehouse, people):
        shutil.rmtree(found.uri, ignore_errors=True)
    return []


def remaining(warehouse: Warehouse, people: People) -> list[LeftFile]:
    """Return what is still there."""
    return [LeftFile(PLACE, one.uri, "a process that died has left it") for one in locate(warehouse, people)]


def _abandoned() -> Iterator[Path]:
    for path in Path(tempfile.gettempdir()).glob("perennial-*"):
        try:
            newest = max(one.lstat().st_mtime for one in (path, *path.rglob("*")))
        except FileNotFoundError:
            continue
        if path.is_dir() and wall_clock() - datetime.fromtimestamp(newest, UTC) > _ABANDONED:
            yield path
