"""The warehouse a request asks, opened once a process, and again when its catalog has been replaced."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends

from perennial.errors import TransientError
from perennial.settings import Settings
from perennial.web.snapshot import SourceSnapshot

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

_Identity = tuple[int, int] | None


@dataclass(frozen=True)
class _Opened:
    warehouse: Warehouse
    snapshot: SourceSnapshot


# Only the last one: what is left open of a catalog that was replaced would keep its file, and its old answers.
@lru_cache(maxsize=1)
def _open(settings: Settings, _catalog: _Identity) -> _Opened:
    from perennial.warehouse import Warehouse

    warehouse = Warehouse(settings)
    return _Opened(warehouse, SourceSnapshot(warehouse))


def _opened() -> _Opened:
    settings = Settings.from_environment()
    return _open(settings, _catalog_identity(settings))


def _catalog_identity(settings: Settings) -> _Identity:
    from perennial.warehouse import catalog_file

    file = catalog_file(settings)
    if file is None:
        return None
    try:
        found = file.stat()
    except FileNotFoundError:
        # To open it would make an empty one in its place.
        raise TransientError(
            f"The catalog is not there: PERENNIAL_HOME has no {file.name}. Bring it back, or run `perennial init` if "
            "the workspace is new; this page works again as soon as it is there."
        ) from None
    return found.st_dev, found.st_ino


_OpenedDep = Annotated[Any, Depends(_opened)]


async def opened_warehouse(opened: _OpenedDep) -> Warehouse:
    """Return the configured warehouse.

    A setting that cannot be used, or a catalog that is not there, is an error of the request, not of the server.
    """
    warehouse: Warehouse = opened.warehouse
    return warehouse


async def source_snapshot(opened: _OpenedDep) -> SourceSnapshot:
    """Return what lists of sources are made from."""
    snapshot: SourceSnapshot = opened.snapshot
    return snapshot


# FastAPI reads annotations at run time, and there the class is not imported.
WarehouseDep = Annotated[Any, Depends(opened_warehouse)]
SnapshotDep = Annotated[SourceSnapshot, Depends(source_snapshot)]
