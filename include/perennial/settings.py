"""The settings of `PERENNIAL_…`, read from the environment and checked before anything uses them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from perennial.errors import TerminalSettingError

PROJECT_ROOT = Path(__file__).parents[2]
REFERRER_KINDS = ("campaign", "canvas", "content_card", "segment")
PREFIX = "PERENNIAL_"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is configured for one workspace. Field names are the variables' names in lower case.

    Attributes:
        home: Directory of everything the embedded default keeps.
        catalog: Name of the Iceberg catalog; its properties come from pyiceberg's own configuration.
        namespace: Namespace of the tables, one per workspace.
        engine_url: Who runs SQL.
        archive_uri: Where archived data files go; None means beside the warehouse.
        archive_storage_class: S3 storage class of archived data files, never of metadata.
        landing_uri: Where Currents files arrive.
        platform_url: SQLAlchemy URL of the messaging platform's database.
        exports_uri: Where User data files of campaigns and Canvases go; they hold personal data.
        retention_months: R2, calendar months.
        exempting_referrers: R6, the kinds of referrer that keep a source.
        max_metadata_age: How old (wall clock) `sources` and `audiences` may be when an expiry decides.
        landing_settle: How long a landing file must have been left alone before it is read.
        prices: TOML file of what storage costs; None means the table in the package, `cost/prices.toml`.
    """

    home: Path
    catalog: str = "perennial"
    namespace: str = "messaging"
    engine_url: str = "duckdb://"
    archive_uri: str | None = None
    archive_storage_class: str | None = None
    landing_uri: str
    platform_url: str
    exports_uri: str
    retention_months: int = 3
    exempting_referrers: tuple[str, ...] = ("campaign", "canvas")
    max_metadata_age: timedelta = timedelta(hours=26)
    landing_settle: timedelta = timedelta(seconds=2)
    prices: Path | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read every setting.

        Raises:
            TerminalSettingError: Names the variable, its value and what it takes.
        """
        home = Path(environ.get(PREFIX + "HOME") or PROJECT_ROOT / ".perennial").expanduser().resolve()
        if set(str(home)) & set("#?%"):
            raise _refused("HOME", str(home), "a directory whose path has no #, ? or %: it becomes part of addresses")
        text = {key: environ.get(PREFIX + key, "").strip() for key in DEFAULTS}
        value = {key: found or DEFAULTS[key].format(home=home) for key, found in text.items()}
        settings = cls(
            home=home,
            catalog=value["CATALOG"],
            namespace=value["NAMESPACE"],
            engine_url=value["ENGINE_URL"],
            archive_uri=_local_path(value["ARCHIVE_URI"]) or None,
            archive_storage_class=value["ARCHIVE_STORAGE_CLASS"] or None,
            landing_uri=_local_path(value["LANDING_URI"]),
            platform_url=value["PLATFORM_URL"],
            exports_uri=_local_path(value["EXPORTS_URI"]),
            retention_months=_whole_number("RETENTION_MONTHS", value, minimum=1),
            exempting_referrers=_referrers(value["EXEMPTING_REFERRERS"]),
            max_metadata_age=timedelta(hours=_whole_number("MAX_METADATA_AGE_HOURS", value, minimum=1)),
            landing_settle=timedelta(seconds=_whole_number("LANDING_SETTLE_SECONDS", value, minimum=0)),
            prices=home / Path(_local_path(value["PRICES"])).expanduser() if value["PRICES"] else None,
        )
        if urlsplit(settings.engine_url).scheme != "duckdb":
            raise _refused("ENGINE_URL", settings.engine_url, "duckdb:// (the engine built in so far)")
        return settings


DEFAULTS = {
    "CATALOG": "perennial",
    "NAMESPACE": "messaging",
    "ENGINE_URL": "duckdb://",
    "ARCHIVE_URI": "",
    "ARCHIVE_STORAGE_CLASS": "",
    "LANDING_URI": "{home}/landing",
    "PLATFORM_URL": "sqlite:///{home}/platform.db",
    "EXPORTS_URI": "{home}/exports",
    "RETENTION_MONTHS": "3",
    "EXEMPTING_REFERRERS": "campaign,canvas",
    "MAX_METADATA_AGE_HOURS": "26",
    "LANDING_SETTLE_SECONDS": "2",
    "PRICES": "",
}


def _refused(key: str, value: str, expected: str) -> TerminalSettingError:
    return TerminalSettingError(f"{PREFIX}{key} is {value!r}; set it to {expected}.")


def _local_path(uri: str) -> str:
    """Decode a file:// address; inside the warehouse addresses of files are literal, as pyiceberg writes them."""
    return url2pathname(uri.removeprefix("file://")) if uri.startswith("file:///") else uri


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
