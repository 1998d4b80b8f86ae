"""Which engine is configured (PERENNIAL_ENGINE_URL)."""

from __future__ import annotations

from perennial.engines.protocol import Engine
from perennial.settings import IN_PROCESS, SPARK_CONNECT, Settings


def open_engine(settings: Settings) -> Engine | None:
    """Return the engine of PERENNIAL_ENGINE_URL; None for DuckDB in process."""
    if settings.engine_url.startswith(IN_PROCESS):
        return None
    if settings.engine_url.startswith(SPARK_CONNECT):
        from perennial.engines.spark import SparkEngine

        return SparkEngine(settings.engine_url)
    from perennial.engines.sqlalchemy import SqlAlchemyEngine

    return SqlAlchemyEngine(settings.engine_url)
