"""The page and the HTTP routes, mounted into Airflow's API server under /perennial.

It only calls the packages below it: decisions, the SQL of features and moves are not written here.
"""

from perennial.web.app import create_app

__all__ = ["create_app"]
