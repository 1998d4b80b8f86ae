"""Registers perennial's page with Airflow, which executes every file beside this one: all else lives in the package."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from perennial.web import create_app

PREFIX = "/perennial"


class PerennialPlugin(AirflowPlugin):  # type: ignore[misc]  # Airflow's base class is untyped
    """Mounts the page, and puts it into Airflow's navigation."""

    name = "perennial"
    fastapi_apps = [{"name": "Perennial", "app": create_app(), "url_prefix": PREFIX}]  # noqa: RUF012 - as Airflow reads it
    external_views = [  # noqa: RUF012
        {
            "name": "Interaction data",
            "href": f"{PREFIX}/sources",
            "icon": f"{PREFIX}/static/icon.svg",
            "url_route": "interaction-data",
            "destination": "nav",
            "nav_top_level": True,
        }
    ]
