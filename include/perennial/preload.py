"""Imports what tasks need once, in a process that forks for each of them: a LocalExecutor, or a worker of Celery.

Otherwise every task imports it again: a second for what works on tables, three more for what verifies a move or a load.

    AIRFLOW__CORE__EXECUTOR=perennial.preload.PreloadingLocalExecutor
    python -m perennial.preload celery worker      # instead of `airflow celery worker`
"""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from importlib.util import find_spec

from airflow.executors.local_executor import LocalExecutor

from perennial import quality
from perennial.airflow import asset

log = logging.getLogger(__name__)

# What tasks import in the functions that need it, and what pyiceberg and Airflow load by name.
MODULES = (
    "perennial.currents.load",
    "perennial.erase.inline",
    "perennial.exports.user_data",
    "perennial.maintenance",
    "perennial.moves.inline",
    "perennial.moves.notifications",
    "perennial.tasks",
    "perennial.thaw",
    "pyiceberg.catalog.sql",
    "pyiceberg.io.pyarrow",
    # Airflow 3.1 has it elsewhere.
    "airflow.dag_processing.dagbag" if find_spec("airflow.dag_processing.dagbag") else "airflow.models.dagbag",
    "airflow.providers.smtp.hooks.smtp",
)


def preload() -> None:
    """Import it. What cannot be imported is left to the task that needs it, which says so."""
    for name in MODULES:
        try:
            import_module(name)
        except Exception:  # whatever it is: Airflow has to start
            log.warning("%s was not imported in advance", name, exc_info=True)
    quality.preload()
    # The first asset of a process makes Airflow import all providers that know kinds of addresses.
    asset("interactions")


class PreloadingLocalExecutor(LocalExecutor):
    """Airflow's LocalExecutor, which imports before it forks: its workers are forks of the scheduler, tasks of them."""

    def start(self) -> None:
        """Start the workers."""
        preload()
        super().start()


if __name__ == "__main__":
    from airflow.__main__ import main

    preload()
    sys.argv[0] = "airflow"
    main()  # type: ignore[no-untyped-call]
