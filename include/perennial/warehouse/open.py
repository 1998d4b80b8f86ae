"""Opens the configured catalog: its own configuration takes precedence over Airflow's connections."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.utils.config import Config

from perennial.errors import TerminalSettingError, TerminalUnsetError
from perennial.settings import Settings
from perennial.storage import s3_module
from perennial.warehouse import metadata_once
from perennial.warehouse.shared_files import HELD

# The one property that pyiceberg needs as a number; it parses the others from text.
_MAX_RETRIES = "glue.max-retries"


def catalog_file(settings: Settings) -> Path | None:
    """Return where the embedded catalog keeps its file; None where the catalog is configured elsewhere."""
    return settings.below_home("catalog.db") if is_embedded(settings) else None


def describe_catalog(settings: Settings) -> str:
    """Say where the catalog is, without what it is logged in to with."""
    configured = Config().get_catalog_config(settings.catalog)
    if configured is None:
        return str(catalog_file(settings))
    uri = urlsplit(str(configured.get("uri", "")))
    shown = urlunsplit((uri.scheme, uri.netloc.rpartition("@")[2], uri.path, "", ""))
    return f"{settings.catalog} ({shown or configured.get('type', 'as pyiceberg is configured')})"


def open_catalog(settings: Settings) -> Catalog:
    """Open the catalog in pyiceberg's configuration, or the embedded one if there is none."""
    metadata_once.install()
    configured = Config().get_catalog_config(settings.catalog)
    if configured is not None:
        # What the catalog's own configuration says comes first; a local one needs no credentials.
        given: dict[str, Any] = {str(key): str(value) for key, value in configured.items()}
        found = {} if given.get("warehouse", "").startswith(("file:", "/")) else s3_module().connection_properties()
        found |= {HELD: {}, "py-io-impl": "perennial.warehouse.shared_files.SharedFileIO"}
        if "botocore_session" in found:
            # Glue and a signing REST catalog accept a session as it is; Arrow only accepts keys.
            found["py-io-impl"] = "perennial.warehouse.role_files.RoleFileIO"
        if "s3.endpoint" not in found | given:
            # Only AWS can say in which region a bucket is; the archive may be in another region than the tables.
            found["s3.resolve-region"] = "true"
        if (retries := given.get(_MAX_RETRIES)) is not None:
            given[_MAX_RETRIES] = _number(settings, _MAX_RETRIES, retries)
        return load_catalog(settings.catalog, **{**found, **given})
    if settings.home is None:
        raise TerminalUnsetError(
            f"PERENNIAL_HOME is not set, and pyiceberg's configuration has no catalog {settings.catalog!r}. Set "
            "PERENNIAL_HOME to a folder, which will hold the catalog, the tables, the archive and the landing "
            f"directory; or configure the catalog (PYICEBERG_CATALOG__{settings.catalog.upper()}__URI and what else it "
            "needs)."
        )
    settings.home.mkdir(parents=True, exist_ok=True)
    return load_catalog(
        settings.catalog,
        type="sql",
        uri=f"sqlite:///{catalog_file(settings)}",
        warehouse=f"file://{settings.home}/warehouse",
    )


def _number(settings: Settings, name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        variable = f"PYICEBERG_CATALOG__{settings.catalog}__{name}".replace(".", "__").replace("-", "_").upper()
        raise TerminalSettingError(f"{variable} is {value!r}; give a whole number, such as 5.") from None


def is_embedded(settings: Settings) -> bool:
    """Whether pyiceberg's configuration has nothing about the catalog."""
    return Config().get_catalog_config(settings.catalog) is None
