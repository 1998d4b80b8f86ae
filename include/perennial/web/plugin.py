"""The plugin that Airflow finds through the entry point `airflow.plugins`: it mounts the page, and links to it."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from perennial.notify.links import PAGE_PATH
from perennial.web.app import create_app


class PerennialPlugin(AirflowPlugin):
    """Mounts the page, and puts it into Airflow's navigation."""

    name = "perennial"
    fastapi_apps = [{"name": "Perennial", "app": create_app(), "url_prefix": PAGE_PATH}]  # noqa: RUF012 - as Airflow reads it
    external_views = [  # noqa: RUF012
        {
            # Airflow's bar has room for about eight letters.
            "name": "Expiry",
            "href": f"{PAGE_PATH}/sources",
            "icon": f"{PAGE_PATH}/static/icon.svg",
            "url_route": "interaction-data",
            "destination": "nav",
            "nav_top_level": True,
        }
    ]
