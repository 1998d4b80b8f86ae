"""Who may do what: every route asks Airflow, through one of the three rights below.

The rights are those to the DAGs that do the work, so that a role in Airflow means the same on its page, in its API and
here.
"""

from __future__ import annotations

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends

RESTORE_DAG = "restore_interactions"
EXPORT_DAG = "export_user_data"

READ = Depends(requires_access_dag("GET", param_dag_id=RESTORE_DAG))
"""To read pages: the right to see the restore DAG."""
RESTORE = Depends(requires_access_dag("POST", DagAccessEntity.RUN, param_dag_id=RESTORE_DAG))
"""To restore: the right to trigger the restore DAG."""
EXPORT = Depends(requires_access_dag("POST", DagAccessEntity.RUN, param_dag_id=EXPORT_DAG))
"""To take out people's data: the right to trigger the export DAG, which viewers do not have."""
