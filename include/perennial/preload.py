"""Imports what tasks need once, in a process that forks for each of them: a worker of Celery, a LocalExecutor.

Else each task imports it again: for a second whatever works on tables, for three more what verifies a move or a load.
"""

from __future__ import annotations

import logging
from importlib import import_module

from perennial import quality
from perennial.airflow import asset

log = logging.getLogger(__name__)

# What tasks import in the functions that need it, and what pyiceberg and Airflow load by name.
MODULES = (
    "perennial.currents.load",
    "perennial.exports.user_data",
    "perennial.maintenance",
    "perennial.moves.inline",
    "perennial.moves.notifications",
    "perennial.tasks",
    "perennial.thaw",
    "pyiceberg.catalog.sql",
    "pyiceberg.io.pyarrow",
    "airflow.dag_processing.dagbag",
    "airflow.providers.smtp.hooks.smtp",
)


def preload() -> None:
    """Import it; whatever cannot be imported is left to the task that needs it, which says so."""
    for name in MODULES:
        try:
            import_module(name)
        except Exception:  # whatever it is: Airflow has to start
            log.warning("%s was not imported in advance", name, exc_info=True)
    quality.preload()
    # The first asset of a process has Airflow import whatever knows kinds of addresses.
    asset("interactions")
