"""The warehouse a request asks, opened once a process."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends

from perennial.settings import Settings
from perennial.web.snapshot import SourceSnapshot

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse


@cache
def _opened(settings: Settings) -> Warehouse:
    from perennial.warehouse import Warehouse

    return Warehouse(settings)


@cache
def _snapshot(settings: Settings) -> SourceSnapshot:
    return SourceSnapshot(_opened(settings))


def opened_warehouse() -> Warehouse:
    """Return the configured warehouse; a setting that cannot be used is an error of the request, not of the server."""
    return _opened(Settings.from_environment())


def source_snapshot() -> SourceSnapshot:
    """Return what lists of sources are made from."""
    return _snapshot(Settings.from_environment())


# FastAPI reads annotations at run time, and there the class is not imported.
WarehouseDep = Annotated[Any, Depends(opened_warehouse)]
SnapshotDep = Annotated[SourceSnapshot, Depends(source_snapshot)]
