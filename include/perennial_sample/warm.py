"""Airflow's LocalExecutor, whose task processes begin with everything imported that tasks of this project need."""

from __future__ import annotations

from airflow.executors.local_executor import LocalExecutor

from perennial.preload import preload


class WarmLocalExecutor(LocalExecutor):
    """Imports before it forks: each task is a fork of a worker, and each worker a fork of the scheduler.

    A task of its own imports takes one to four seconds of processor time before its first line runs.
    """

    def start(self) -> None:
        """Start the workers."""
        preload()
        super().start()
