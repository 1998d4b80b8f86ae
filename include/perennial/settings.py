"""The settings of `PERENNIAL_…`, read from the environment and checked before anything uses them."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from perennial.errors import TerminalSettingError, TerminalUnsetError
from perennial.refusals import nearest_name
from perennial.resources import checkout

log = logging.getLogger(__name__)

REFERRER_KINDS = ("campaign", "canvas", "content_card", "segment")
PREFIX = "PERENNIAL_"
IN_PROCESS, SPARK_CONNECT = "duckdb:", "sc://"
# Engines with a dialect of ours, by SQLAlchemy's names, with the package that installs their drivers.
SQLALCHEMY_ENGINES = {"awsathena": "pyathena[sqlalchemy]", "trino": "trino[sqlalchemy]"}
LEAST_KEY_CHARACTERS = 32
# As Airflow takes ids.
_DAG_ID_CHARACTERS = re.compile(r"[A-Za-z0-9_.-]{0,100}")


def dag_id(name: str) -> str:
    """Return the id that one of the package's DAGs has in this Airflow: its name after PERENNIAL_DAG_PREFIX."""
    return os.environ.get(PREFIX + "DAG_PREFIX", "").strip() + name


_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is configured for one workspace. Field names are the variables' names in lower case.

    Attributes:
        home: Directory of everything the embedded default keeps; None means that no setting's default lies below it.
        catalog: Name of the Iceberg catalog; its properties come from pyiceberg's own configuration.
        namespace: Namespace of the tables, one per workspace.
        engine_url: Who answers queries: audiences, exports, profiles, analysts' views.
        engine_catalog: What that engine calls the Iceberg catalog; None means the one it begins with.
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
        notice_days: R20, how many days before a source expires its owner is notified; 0 sends none.
        approve_above_share: R21, a run waits for approval above this share of the hot rows; None: never for that.
        approve_above_sources: R21, likewise above this number of sources.
        approve_above_usual: R21, likewise above this many times the rows of the largest of the last 30 runs.
        approve_above_surprises: R21, likewise above this number of due sources that the run before did not foresee.
        erasure_days: R22, by how many days after the request everything of a person has to be gone.
        erase_on_platform_request: R22, whether a request of the platform (`users.UserDeleteRequest`) needs no approval.
        erasure_notify: R22, who gets every receipt, and is notified of requests that wait for approval or are late.
        erasure_key: R22, keys the hash by which an erased person is known when records arrive; a secret. None means the
            file that `perennial init` writes to HOME where the catalog lies there too; otherwise it has to be set.
            Without it nobody who was erased is known any more.
        max_metadata_age: How old (wall clock) `sources` and `audiences` may be when an expiry decides.
        dag_prefix: What the ids of the DAGs begin with, where an Airflow that others use too needs it.
        channels: The Airflow connection of type apprise whose services (Slack, Teams, webhooks) get in short what goes
            by e-mail; None: e-mail alone.
        copy_pool: The Airflow pool whose slots bound how many copy tasks run at once; it has to exist.
        landing_settle: How long a landing file must have been left alone before it is read.
        prices: TOML file with prices of storage; None means the table in the package, `cost/prices.toml`.
    """

    home: Path | None = None
    catalog: str = "perennial"
    namespace: str = "messaging"
    engine_url: str = "duckdb://"
    engine_catalog: str | None = None
    archive_uri: str | None = None
    archive_storage_class: str | None = None
    operations_uri: str | None = None
    landing_uri: str | None = None
    platform_url: str | None = None
    platform_sql: Path | None = None
    exports_uri: str | None = None
    retention_months: int = 3
    exempting_referrers: tuple[str, ...] = ("campaign", "canvas")
    notice_days: int = 14
    approve_above_share: float | None = 0.2
    approve_above_sources: int | None = None
    approve_above_usual: float | None = 5
    approve_above_surprises: int | None = 10
    erasure_days: int = 30
    erase_on_platform_request: bool = False
    erasure_notify: tuple[str, ...] = ()
    # Never shown: whoever has it can tell whether somebody was erased.
    erasure_key: str | None = field(default=None, repr=False)
    max_metadata_age: timedelta = timedelta(hours=26)
    landing_settle: timedelta = timedelta(seconds=2)
    prices: Path | None = None
    dag_prefix: str = ""
    channels: str | None = None
    copy_pool: str = "default_pool"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read every setting.

        Raises:
            TerminalSettingError: Names the variable, its value and what it accepts.
        """
        _warn_of_ignored(environ)
        home = _home(environ)
        value = {key: environ.get(PREFIX + key, "").strip() or _default(key, home) for key in DEFAULTS}
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
            landing_uri=_local_path(value["LANDING_URI"]) or None,
            platform_url=value["PLATFORM_URL"] or None,
            platform_sql=_local_file(home, "PLATFORM_SQL", value),
            exports_uri=_local_path(value["EXPORTS_URI"]) or None,
            retention_months=_whole_number("RETENTION_MONTHS", value, minimum=1),
            exempting_referrers=_referrers(value["EXEMPTING_REFERRERS"]),
            notice_days=_whole_number("NOTICE_DAYS", value, minimum=0),
            approve_above_share=_limit("APPROVE_ABOVE_SHARE", value, float, most=1),
            approve_above_sources=_limit("APPROVE_ABOVE_SOURCES", value, int),
            approve_above_usual=_limit("APPROVE_ABOVE_USUAL", value, float),
            approve_above_surprises=_limit("APPROVE_ABOVE_SURPRISES", value, int),
            erasure_days=_whole_number("ERASURE_DAYS", value, minimum=1),
            erase_on_platform_request=_yes_or_no("ERASE_ON_PLATFORM_REQUEST", value),
            erasure_notify=_addresses("ERASURE_NOTIFY", value),
            erasure_key=_secret("ERASURE_KEY", value),
            max_metadata_age=timedelta(hours=_whole_number("MAX_METADATA_AGE_HOURS", value, minimum=1)),
            landing_settle=timedelta(seconds=_whole_number("LANDING_SETTLE_SECONDS", value, minimum=0)),
            dag_prefix=_dag_prefix(value["DAG_PREFIX"]),
            channels=value["CHANNELS"] or None,
            copy_pool=value["COPY_POOL"],
            prices=_local_file(home, "PRICES", value),
        )
        _refuse_engine(settings.engine_url)
        return settings

    def below_home(self, path: str = "") -> Path:
        """Return a path below HOME; an absolute one stays as it is.

        Raises:
            TerminalUnsetError: There is no HOME.
        """
        if self.home is None:
            what = f"there is no place for {path}" if path else "there is no place for anything"
            raise TerminalUnsetError(f"PERENNIAL_HOME is not set, so {what}; set it to a folder of your choice.")
        return self.home / path

    def place(self, name: str) -> str:
        """Return the address that a setting has, or that it has by default below HOME.

        Args:
            name: `landing_uri`, `platform_url` or `exports_uri`.

        Raises:
            TerminalUnsetError: Neither the setting nor HOME is set.
        """
        address: str | None = getattr(self, name)
        if address is None:
            variable = PREFIX + name.upper()
            raise TerminalUnsetError(
                f"{variable} is not set, and has no default without PERENNIAL_HOME; set {variable}."
            )
        return address


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
    "NOTICE_DAYS": "14",
    "APPROVE_ABOVE_SHARE": "0.2",
    "APPROVE_ABOVE_SOURCES": "none",
    "APPROVE_ABOVE_USUAL": "5",
    "APPROVE_ABOVE_SURPRISES": "10",
    "ERASURE_DAYS": "30",
    "ERASE_ON_PLATFORM_REQUEST": "false",
    "ERASURE_NOTIFY": "",
    "ERASURE_KEY": "",
    "MAX_METADATA_AGE_HOURS": "26",
    "LANDING_SETTLE_SECONDS": "2",
    "PRICES": "",
    "DAG_PREFIX": "",
    "CHANNELS": "",
    "COPY_POOL": "default_pool",
}


def _home(environ: Mapping[str, str]) -> Path | None:
    root = checkout()
    text = environ.get(PREFIX + "HOME", "").strip() or (str(root / ".perennial") if root else "")
    if not text:
        return None
    home = Path(text).expanduser().resolve()
    if set(str(home)) & set("#?%"):
        raise _refused("HOME", str(home), "a directory whose path has no #, ? or %: it becomes part of addresses")
    return home


def _default(key: str, home: Path | None) -> str:
    default = DEFAULTS[key]
    return "" if home is None and "{home}" in default else default.format(home=home)


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
            raise _refused(
                "ENGINE_URL", shown, "another engine, or install its driver: pip install 'perennial-airflow[spark]'"
            )
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


def _dag_prefix(text: str) -> str:
    if _DAG_ID_CHARACTERS.fullmatch(text) is None:
        raise _refused("DAG_PREFIX", text, "at most 100 letters, digits, dots, dashes and underscores")
    return text


def _local_file(home: Path | None, key: str, value: Mapping[str, str]) -> Path | None:
    if not value[key]:
        return None
    path = Path(_local_path(value[key])).expanduser()
    if home is None and not path.is_absolute():
        raise _refused(key, value[key], "a whole path, or set PERENNIAL_HOME, below which it is looked for")
    return path if home is None else home / path


def _whole_number(key: str, value: Mapping[str, str], minimum: int) -> int:
    text = value[key]
    if not text.isascii() or not text.isdigit() or int(text) < minimum:
        raise _refused(key, text, f"a whole number, {minimum} or more")
    return int(text)


def _yes_or_no(key: str, value: Mapping[str, str]) -> bool:
    known = {"true": True, "false": False}
    if (text := value[key]).lower() not in known:
        raise _refused(key, text, "true or false")
    return known[text.lower()]


def _addresses(key: str, value: Mapping[str, str]) -> tuple[str, ...]:
    addresses = tuple(address.strip() for address in value[key].split(",") if address.strip())
    if not all(re.fullmatch(r"[^@\s]+@[^@\s]+", address) for address in addresses):
        raise _refused(key, value[key], "a comma-separated list of e-mail addresses")
    return addresses


def _secret(key: str, value: Mapping[str, str]) -> str | None:
    text = value[key]
    if 0 < len(text) < LEAST_KEY_CHARACTERS:
        raise TerminalSettingError(
            f"{PREFIX}{key} has {len(text)} characters; set it to {LEAST_KEY_CHARACTERS} random characters or more, "
            "such as `openssl rand -hex 32` prints, and keep them in a safe place."
        )
    return text or None


def _limit(key: str, value: Mapping[str, str], number: type[_Number], most: float | None = None) -> _Number | None:
    text = value[key]
    if text == "none":
        return None
    try:
        found = number(text)
    except ValueError:
        found = number(-1)
    if not 0 <= found < float("inf") or (most is not None and found > most):
        kind = "a whole number" if number is int else "a number"
        bound = "0 or more" if most is None else f"from 0 to {most:g}"
        raise _refused(key, text, f"{kind}, {bound}, or none, which turns it off")
    return found


def _referrers(text: str) -> tuple[str, ...]:
    kinds = tuple(kind.strip() for kind in text.split(",") if kind.strip())
    unknown = [kind for kind in kinds if kind not in REFERRER_KINDS]
    if unknown or not kinds:
        raise _refused("EXEMPTING_REFERRERS", text, f"a comma-separated list of {', '.join(REFERRER_KINDS)}")
    return kinds
