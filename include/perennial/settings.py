"""The settings of `PERENNIAL_…`, read from the environment and checked before anything uses them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from perennial.errors import TerminalSettingError
from perennial.refusals import nearest_name

log = logging.getLogger(__name__)

PROJECT_ROOT = Path(__file__).parents[2]
REFERRER_KINDS = ("campaign", "canvas", "content_card", "segment")
PREFIX = "PERENNIAL_"
IN_PROCESS, SPARK_CONNECT = "duckdb:", "sc://"
# Engines with a dialect of ours, by SQLAlchemy's names, with the package that installs their drivers.
SQLALCHEMY_ENGINES = {"awsathena": "pyathena[sqlalchemy]", "trino": "trino[sqlalchemy]"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is configured for one workspace. Field names are the variables' names in lower case.

    Attributes:
        home: Directory of everything in the embedded default.
        catalog: Name of the Iceberg catalog; its properties come from pyiceberg's own configuration.
        namespace: Namespace of the tables, one per workspace.
        engine_url: The engine for audiences, exports, profiles and analysts' views.
        engine_catalog: That engine's name for the Iceberg catalog; None means its default catalog.
        archive_uri: Where archived data files go; None means beside the warehouse.
        archive_storage_class: S3 storage class of archived data files, never of metadata.
        operations_uri: Where plans, pending records and reports of operations go; None means beside the archived files,
            or in the warehouse where it is on this machine.
        landing_uri: Where Currents files arrive.
        platform_url: SQLAlchemy URL of the messaging platform's database.
        platform_sql: Folder whose SELECTs replace the packaged ones, file by file; None means the packaged ones.
        exports_uri: Where User data files of campaigns and Canvases go; they contain personal data.
        retention_months: R2, calendar months.
        exempting_referrers: R6, the kinds of referrer that keep a source.
        max_metadata_age: How old (wall clock) `sources` and `audiences` may be when an expiry decides.
        copy_pool: The Airflow pool whose slots bound how many copy tasks run at once; it has to exist.
        landing_settle: How long a landing file must have been left alone before it is read.
        prices: TOML file with prices of storage; None means the table in the package, `cost/prices.toml`.
    """

    home: Path
    catalog: str = "perennial"
    namespace: str = "messaging"
    engine_url: str = "duckdb://"
    engine_catalog: str | None = None
    archive_uri: str | None = None
    archive_storage_class: str | None = None
    operations_uri: str | None = None
    landing_uri: str
    platform_url: str
    platform_sql: Path | None = None
    exports_uri: str
    retention_months: int = 3
    exempting_referrers: tuple[str, ...] = ("campaign", "canvas")
    max_metadata_age: timedelta = timedelta(hours=26)
    landing_settle: timedelta = timedelta(seconds=2)
    prices: Path | None = None
    copy_pool: str = "default_pool"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read every setting.

        Raises:
            TerminalSettingError: Names the variable, its value and what it accepts.
        """
        _warn_of_ignored(environ)
        home = Path(environ.get(PREFIX + "HOME") or PROJECT_ROOT / ".perennial").expanduser().resolve()
        if set(str(home)) & set("#?%"):
            raise _refused("HOME", str(home), "a directory whose path has no #, ? or %: it becomes part of addresses")
        value = {
            key: environ.get(PREFIX + key, "").strip() or default.format(home=home) for key, default in DEFAULTS.items()
        }
        for key in ("ARCHIVE_URI", "OPERATIONS_URI"):
            if set(value[key]) & set("#?"):
                raise _refused(key, value[key], "an address without # and ?, which end the path of a file")
        settings = cls(
            home=home,
            catalog=value["CATALOG"],
            namespace=value["NAMESPACE"],
            engine_url=value["ENGINE_URL"],
            engine_catalog=value["ENGINE_CATALOG"] or None,
            archive_uri=_local_path(value["ARCHIVE_URI"]) or None,
            archive_storage_class=value["ARCHIVE_STORAGE_CLASS"] or None,
            operations_uri=_local_path(value["OPERATIONS_URI"]) or None,
            landing_uri=_local_path(value["LANDING_URI"]),
            platform_url=value["PLATFORM_URL"],
            platform_sql=_local_file(home, value["PLATFORM_SQL"]),
            exports_uri=_local_path(value["EXPORTS_URI"]),
            retention_months=_whole_number("RETENTION_MONTHS", value, minimum=1),
            exempting_referrers=_referrers(value["EXEMPTING_REFERRERS"]),
            max_metadata_age=timedelta(hours=_whole_number("MAX_METADATA_AGE_HOURS", value, minimum=1)),
            landing_settle=timedelta(seconds=_whole_number("LANDING_SETTLE_SECONDS", value, minimum=0)),
            copy_pool=value["COPY_POOL"],
            prices=_local_file(home, value["PRICES"]),
        )
        _refuse_engine(settings.engine_url)
        return settings


DEFAULTS = {
    "CATALOG": "perennial",
    "NAMESPACE": "messaging",
    "ENGINE_URL": "duckdb://",
    "ENGINE_CATALOG": "",
    "ARCHIVE_URI": "",
    "ARCHIVE_STORAGE_CLASS": "",
    "OPERATIONS_URI": "",
    "LANDING_URI": "{home}/landing",
    "PLATFORM_URL": "sqlite:///{home}/platform.db",
    "PLATFORM_SQL": "",
    "EXPORTS_URI": "{home}/exports",
    "RETENTION_MONTHS": "3",
    "EXEMPTING_REFERRERS": "campaign,canvas",
    "MAX_METADATA_AGE_HOURS": "26",
    "LANDING_SETTLE_SECONDS": "2",
    "PRICES": "",
    "COPY_POOL": "default_pool",
}


# Settings of earlier versions, with what to do instead.
_REMOVED = {
    "COMPACT_ON_ENGINE": "remove it: compaction runs in process; to merge files with an engine, run its own "
    "rewrite_data_files or OPTIMIZE (docs/engines.md)",
}


def _warn_of_ignored(environ: Mapping[str, str]) -> None:
    # Only names that are nearly settings: Kubernetes, for example, also has variables with this prefix.
    known = ["HOME", *DEFAULTS]
    for name in environ:
        key = name.removeprefix(PREFIX)
        if key == name or key in known:
            continue
        if key in _REMOVED:
            _warn_once(f"{name} is no longer a setting, and is ignored; {_REMOVED[key]}.")
        elif nearest := nearest_name(key, known, nearness=0.85):
            _warn_once(f"{name} is not a setting, and is ignored; did you mean {PREFIX}{nearest}?")


@cache
def _warn_once(message: str) -> None:
    # Logging, and no warning of Python's: it reaches a task's log, and standard error where nobody has set up logging.
    log.warning("%s", message)


def _refused(key: str, value: str, expected: str) -> TerminalSettingError:
    return TerminalSettingError(f"{PREFIX}{key} is {value!r}; set it to {expected}.")


def _refuse_engine(url: str) -> None:
    """Refuse an engine that cannot be used from here; the first query shows whether it answers."""
    if url.startswith(IN_PROCESS):
        return
    if url.startswith(SPARK_CONNECT):
        # What follows may hold a token.
        shown = url.partition("/;")[0]
        if not urlsplit(url).hostname:
            raise _refused("ENGINE_URL", shown, "sc://host:port, where a Spark Connect server listens")
        if find_spec("pyspark") is None:
            raise _refused("ENGINE_URL", shown, "another engine, or install its driver: pip install 'perennial[spark]'")
        return
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    known = ", ".join(f"{name}://…" for name in SQLALCHEMY_ENGINES)
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise _refused("ENGINE_URL", url, f"duckdb://, sc://host:port, or a SQLAlchemy URL ({known})") from None
    shown, driver = parsed.render_as_string(hide_password=True), SQLALCHEMY_ENGINES.get(parsed.get_backend_name())
    if driver is None:
        raise _refused("ENGINE_URL", shown, f"duckdb://, sc://host:port, or a SQLAlchemy URL ({known})")
    try:
        parsed.get_dialect().import_dbapi()
    except (ImportError, NoSuchModuleError):
        raise _refused("ENGINE_URL", shown, f"another engine, or install its driver: pip install '{driver}'") from None


def _local_path(uri: str) -> str:
    """Decode a file:// address; inside the warehouse addresses of files are literal, as pyiceberg writes them."""
    return url2pathname(uri.removeprefix("file://")) if uri.startswith("file:///") else uri


def _local_file(home: Path, address: str) -> Path | None:
    return home / Path(_local_path(address)).expanduser() if address else None


def _whole_number(key: str, value: Mapping[str, str], minimum: int) -> int:
    text = value[key]
    if not text.isascii() or not text.isdigit() or int(text) < minimum:
        raise _refused(key, text, f"a whole number, {minimum} or more")
    return int(text)


def _referrers(text: str) -> tuple[str, ...]:
    kinds = tuple(kind.strip() for kind in text.split(",") if kind.strip())
    unknown = [kind for kind in kinds if kind not in REFERRER_KINDS]
    if unknown or not kinds:
        raise _refused("EXEMPTING_REFERRERS", text, f"a comma-separated list of {', '.join(REFERRER_KINDS)}")
    return kinds
