"""Registers perennial with Airflow, which executes every file beside this one: all else lives in the package."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class PerennialPlugin(AirflowPlugin):  # type: ignore[misc]  # Airflow's base class is untyped
    """Names the project among Airflow's plugins; its page comes as an app of this plugin."""

    name = "perennial"
