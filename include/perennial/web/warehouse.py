"""The warehouse of a request, opened once per process and again when its catalog has been replaced."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import lru_cache
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from fastapi import Depends
from fastapi.concurrency import run_in_threadpool

from perennial.errors import TransientError
from perennial.settings import Settings
from perennial.web.source_index import SourceSnapshot

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

_Identity = tuple[int, int] | None

# Airflow's API server has 40 threads and 15 connections to its database for everything, its tasks' reports included.
_REQUESTS_AT_ONCE = 6
_WAIT_SECONDS = 30
_GATE = anyio.Semaphore(_REQUESTS_AT_ONCE)


@dataclass(frozen=True)
class _Opened:
    warehouse: Warehouse
    snapshot: SourceSnapshot


# Only the last one: an open connection to a replaced catalog would keep its file, and its old answers.
@lru_cache(maxsize=1)
def _open(settings: Settings, _catalog: _Identity) -> _Opened:
    from perennial.warehouse import Warehouse

    warehouse = Warehouse(settings)
    return _Opened(warehouse, SourceSnapshot(warehouse))


async def _opened() -> AsyncIterator[_Opened]:
    """Admit a few requests at a time; one that waits takes neither a thread nor a connection from Airflow."""
    with anyio.move_on_after(_WAIT_SECONDS) as waited:
        await _GATE.acquire()
    if waited.cancelled_caught:
        raise TransientError("Too many people are reading interaction data at the moment; try again in a minute.")
    try:
        yield await run_in_threadpool(_configured)
    finally:
        _GATE.release()


def _configured() -> _Opened:
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
        # Opening it would create an empty one in its place.
        raise TransientError(
            f"The catalog is missing: PERENNIAL_HOME has no {file.name}. Put it back, or run `perennial init` if "
            "the workspace is new; this page works again as soon as it is there."
        ) from None
    return found.st_dev, found.st_ino


# FastAPI 0.117 and before, which Airflow 3.1 has, knows no scope and keeps nothing longer.
_SCOPE: dict[str, Any] = {"scope": "function"} if "scope" in signature(Depends).parameters else {}


def until_answered(dependency: Callable[..., Any]) -> Any:
    """Declare a dependency that is given back when the answer is made, and not when it has been sent."""
    return Depends(dependency, **_SCOPE)


_OpenedDep = Annotated[Any, until_answered(_opened)]


async def _opened_warehouse(opened: _OpenedDep) -> Warehouse:
    """Return the configured warehouse.

    A setting that cannot be used, or a catalog that is not there, is an error of the request, not of the server.
    """
    warehouse: Warehouse = opened.warehouse
    return warehouse


async def _source_snapshot(opened: _OpenedDep) -> SourceSnapshot:
    """Return the index that lists of sources are made from."""
    snapshot: SourceSnapshot = opened.snapshot
    return snapshot


# FastAPI reads annotations at run time, when the class is not imported.
WarehouseDep = Annotated[Any, Depends(_opened_warehouse)]
SnapshotDep = Annotated[SourceSnapshot, Depends(_source_snapshot)]
