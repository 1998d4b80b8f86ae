"""The DAGs of the installed package, for a folder of your own.

A file there needs two lines, and in the first the two words without which Airflow does not look into it:

    # The airflow dags of perennial
    from perennial.dags import *

A file that is to have some of them only imports those by name.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = [
    "check_archive",
    "erase_users",
    "expire_interactions",
    "export_user_data",
    "hold_sources",
    "load_interactions",
    "maintain_warehouse",
    "measure_warehouse",
    "restore_interactions",
    "sync_sources",
]


def __getattr__(name: str) -> Any:
    # Not imported here: where this folder is Airflow's own it reads this file too, and must not find them twice.
    if name not in __all__:
        raise AttributeError(f"{__name__} has no {name}; it has {', '.join(__all__)}.")
    found = import_module(f"{__name__}.{name}").the_dag
    # The import has made the module of that name an attribute.
    globals()[name] = found
    return found
