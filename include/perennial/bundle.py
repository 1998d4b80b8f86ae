"""The DAGs of the installed package as a bundle, for Airflow's `[dag_processor] dag_bundle_config_list`."""

from __future__ import annotations

from typing import Any

from airflow.dag_processing.bundles.local import LocalDagBundle

from perennial.resources import resource


class PerennialDagBundle(LocalDagBundle):
    """The folder in which the installed package has its DAGs: `{"name": …, "classpath": …, "kwargs": {}}`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(path=str(resource("dags")), **kwargs)
