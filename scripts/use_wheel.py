"""Uses an installed perennial outside any checkout: init, load, expire, restore; the page's plugin; the DAGs.

`python -I use_wheel.py DIRECTORY`; the directory is made, and must not exist.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

PREFIX = "acme_"
DAGS = (
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
)
# As docs/your-airflow.md has them; a test compares. The list replaces Airflow's own, which is the first entry.
BUNDLES = [
    {"name": "dags-folder", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {}},
    {"name": "perennial", "classpath": "perennial.bundle.PerennialDagBundle", "kwargs": {}},
]
# In a folder of one's own these two lines are the whole file.
DAG_FILE = "# The airflow dags of perennial\nfrom perennial.dags import *\n"


def main(work: Path) -> None:
    """Stop with an AssertionError where something is not as it should be."""
    work.mkdir(parents=True)
    os.chdir(work)
    refuses_without_a_home()
    os.environ |= {
        "PERENNIAL_HOME": str(work / "home"),
        "PERENNIAL_LANDING_SETTLE_SECONDS": "0",
        "PERENNIAL_DAG_PREFIX": PREFIX,
    }
    shown = command("init")
    assert all(str(work / "home" / name) in shown for name in ("catalog.db", "warehouse", "archive", "landing")), shown
    moved = move_there_and_back()
    find_plugin_and_dags(work)
    sys.stdout.write(f"\n{moved}; Airflow has the page, and {len(DAGS)} DAGs from a bundle and from a file.\n")


def refuses_without_a_home() -> None:
    """Nothing is put into the installed package: the command says what to set."""
    shown = command("status", status=2)
    assert "PERENNIAL_HOME" in shown, shown
    assert "PYICEBERG_CATALOG__PERENNIAL__URI" in shown, shown
    assert not list(Path(sys.prefix).rglob(".perennial"))


def command(*arguments: str, status: int = 0) -> str:
    """Run `perennial` as a person does; returns what it says."""
    executable = str(Path(sys.executable).with_name("perennial"))
    done = subprocess.run([executable, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def move_there_and_back() -> str:
    """Load, expire and restore the sample: no row is lost and none doubled. Returns what was done."""
    from perennial.currents import load_interactions
    from perennial.moves import Run, expire_sources, restore_sources
    from perennial.platform import sync_sources
    from perennial.settings import Settings
    from perennial.warehouse import Warehouse
    from perennial_sample.workspace import create_workspace

    settings = Settings.from_environment()
    made = create_workspace(settings, 1_000, now=datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10))
    warehouse = Warehouse(settings)
    sync_sources(warehouse, "sync")
    loaded = load_interactions(warehouse, made.first.as_of).interactions
    hot, archive = rows("interactions"), rows("interactions_archive")
    assert (hot.total(), archive.total()) == (loaded, 0)

    expire_sources(warehouse, Run("expire", made.first.as_of))
    moved = rows("interactions_archive")
    assert moved
    assert rows("interactions") + moved == hot

    expired = command("sql", "--csv", "SELECT source_id FROM source_availability WHERE state = 'expired'").split()[1:]
    request = {"source_ids": expired, "notify": ["ann@example.com"]}
    assert restore_sources(warehouse, request, Run("restore", made.first.as_of)).state == "finished"
    assert (rows("interactions"), rows("interactions_archive").total()) == (hot, 0)
    return f"{moved.total():,} of {hot.total():,} interactions, those of {len(expired)} sources, expired and came back"


def rows(table: str) -> Counter[str]:
    """Every row of a table, whole, with how often it is there."""
    import perennial

    with perennial.connect() as connection:
        return Counter(row for (row,) in connection.execute(f"SELECT CAST(t AS VARCHAR) FROM {table} t").fetchall())


def find_plugin_and_dags(work: Path) -> None:
    """Airflow finds the page by itself, and the DAGs in a bundle of theirs or in a folder of one's own."""
    from perennial_sample.in_process import airflow_environment, open_dags, parse_dags, run_dag

    folder = work / "dags"
    folder.mkdir()
    (folder / "mine.py").write_text(DAG_FILE)
    os.environ |= airflow_environment(work / "airflow") | {"AIRFLOW__CORE__DAGS_FOLDER": str(folder)}

    dags = open_dags()
    assert sorted(dags) == [PREFIX + name for name in DAGS]
    assert {dag.fileloc for dag in dags.values()} == {str(folder / "mine.py")}
    assert run_dag(dags[f"{PREFIX}sync_sources"]).state == "success"

    from airflow.api_fastapi.app import create_app

    assert "/perennial" in {getattr(route, "path", "") for route in create_app().routes}
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    os.environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps(BUNDLES)
    manager: Any = DagBundlesManager()  # type: ignore[no-untyped-call]
    bundle = manager.get_bundle("perennial").path
    assert bundle.is_relative_to(sys.prefix)
    assert sorted(parse_dags(bundle).dags) == [PREFIX + name for name in DAGS]


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
