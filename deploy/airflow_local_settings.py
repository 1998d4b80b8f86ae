"""Gives each task the worker that has its rights: a queue for Celery, a service account for Kubernetes.

It belongs into AIRFLOW_HOME/config of every part of Airflow. docs/iam.md has the policy of each role.
"""

from __future__ import annotations

import os
from typing import Any

ROLES = {
    "load_interactions": "loader",
    "sync_sources": "loader",
    "measure_warehouse": "loader",
    "expire_interactions": "mover",
    "restore_interactions": "mover",
    "check_archive": "mover",
    "hold_sources": "mover",
    "maintain_warehouse": "maintainer",
    "erase_users": "eraser",
    "export_user_data": "exporter",
}


def task_policy(task: Any) -> None:
    """Airflow calls this for every task of every DAG file that it parses."""
    role = ROLES.get(task.dag_id.removeprefix(os.environ.get("PERENNIAL_DAG_PREFIX", "").strip()))
    if role is None:
        return
    task.queue = role
    try:
        from kubernetes.client import models
    except ImportError:
        return
    pod = models.V1Pod(spec=models.V1PodSpec(service_account_name=f"perennial-{role}", containers=[]))
    config = {"pod_override": pod}
    if task.is_mapped:
        # It has no setter of its own for this one.
        task.partial_kwargs["executor_config"] = config
    else:
        task.executor_config = config
