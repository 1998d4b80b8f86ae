"""Who may do what: every route asks Airflow for one of the rights below.

The rights are those to the DAGs that do the work, so that a role in Airflow means the same on its page, in its API and
here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, HTTPException

from perennial.settings import dag_id

RESTORE_DAG = dag_id("restore_interactions")
EXPIRE_DAG = dag_id("expire_interactions")
EXPORT_DAG = dag_id("export_user_data")
HOLD_DAG = dag_id("hold_sources")
ERASE_DAG = dag_id("erase_users")

READ = Depends(requires_access_dag("GET", param_dag_id=RESTORE_DAG))
"""Needed to read pages: the right to see the restore DAG."""
RESTORE = Depends(requires_access_dag("POST", DagAccessEntity.RUN, param_dag_id=RESTORE_DAG))
"""Needed to restore: the right to trigger the restore DAG."""
EXPORT = Depends(requires_access_dag("POST", DagAccessEntity.RUN, param_dag_id=EXPORT_DAG))
"""Needed to export people's data: the right to trigger the export DAG, which viewers do not have."""

CANCEL = Depends(requires_access_dag("PUT", DagAccessEntity.RUN, param_dag_id=RESTORE_DAG))
"""Needed to cancel a restore: the right to change runs of the restore DAG, as for marking one failed in Airflow."""
HOLD = Depends(requires_access_dag("POST", DagAccessEntity.RUN, param_dag_id=HOLD_DAG))
"""Needed to place and lift holds: the right to trigger the DAG that records them."""


def may_trigger(user: Any, dag_id: str) -> bool:
    """Return whether a user has the right to trigger a DAG."""
    return _may(user, dag_id, "POST")


def may_cancel(user: Any) -> bool:
    """Return whether a user has the right `CANCEL`."""
    return _may(user, RESTORE_DAG, "PUT")


def _may(user: Any, dag_id: str, method: Literal["POST", "PUT"]) -> bool:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.models.dag import DagModel

    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return bool(
        get_auth_manager().is_authorized_dag(
            method=method, access_entity=DagAccessEntity.RUN, details=details, user=user
        )
    )


def _may_export(user: GetUserDep) -> bool:
    return may_trigger(user, EXPORT_DAG)


def _requires_erase(user: GetUserDep) -> None:
    needed = (EXPORT_DAG, ERASE_DAG)
    if not all(may_trigger(user, dag_id) for dag_id in needed):
        raise HTTPException(
            403,
            "Your role in Airflow lets you neither erase people nor see requests to erase some: for that it needs the "
            f"rights to trigger the DAGs {' and '.join(needed)}. Ask somebody who has them.",
        )


ERASE = Depends(_requires_erase)
"""Needed to erase people, and to see requests: the rights to trigger the export DAG and the DAG that erases."""

MayExportDep = Annotated[bool, Depends(_may_export)]
"""Whether the user has the right `EXPORT`."""
