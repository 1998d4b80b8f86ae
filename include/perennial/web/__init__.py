"""The page and the HTTP routes, mounted into Airflow's API server under /perennial.

Everything is asked of the functions below this package: no decision, no SQL of features and no move is written here.
"""

from perennial.web.app import create_app

__all__ = ["create_app"]
