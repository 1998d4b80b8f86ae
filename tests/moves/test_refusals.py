"""A lake that cannot be used: a clear error before anything moves."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from perennial.errors import PerennialError, TerminalSettingError, TransientError
from perennial.moves import Run, expire_sources
from perennial.settings import Settings
from perennial.storage import s3
from perennial.warehouse import Warehouse
from tests.lake import ARCHIVE, SECRET, Lake
from tests.rows import append_hot, hot_and_archive, interaction, multiset
from tests.workspace import Workspace

CATALOG = "PYICEBERG_CATALOG__PERENNIAL__"
NOWHERE = "http://127.0.0.1:9"


@dataclass
class Site:
    """A workspace with one source that is due, and the environment it was made in."""

    environment: dict[str, str]
    warehouse: Warehouse
    before: Counter[str]
    monkeypatch: pytest.MonkeyPatch

    def open(self, **changed: str) -> Warehouse:
        environment = {**self.environment, **changed}
        for name, value in environment.items():
            self.monkeypatch.setenv(name, value)
        s3.s3_storage.cache_clear()
        self.monkeypatch.setattr(s3, "ATTEMPTS", 2)
        return Warehouse(Settings.from_environment(environment))

    def expire(self, **changed: str) -> None:
        expire_sources(self.open(**changed), Run("r1", datetime(2026, 6, 1, 4, tzinfo=UTC), "ann"))

    def refuses(self, error: type[PerennialError], *said: str, **changed: str) -> None:
        """Expiring fails in words that a person can act on, and every row is where it was."""
        with pytest.raises(error) as raised:
            self.expire(**changed)
        assert all(text in str(raised.value) for text in said), raised.value
        self.open()
        assert multiset(self.warehouse, "interactions") == self.before


@pytest.fixture
def site(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    environment = {**lake.environment(f"n{uuid.uuid4().hex}"), "PERENNIAL_HOME": str(tmp_path)}
    site = Site(environment, None, Counter(), monkeypatch)  # type: ignore[arg-type]  # opened below
    site.warehouse = site.open()
    site.warehouse.create_tables()
    workspace = Workspace(site.warehouse)
    workspace.source("old")
    append_hot(site.warehouse, [interaction("old", number) for number in range(20)])
    workspace.sync()
    site.before = multiset(site.warehouse, "interactions")
    yield site
    s3.s3_storage.cache_clear()


def test_a_wrong_secret_of_aws_default_is_said(site: Site) -> None:
    connection = site.environment["AIRFLOW_CONN_AWS_DEFAULT"].replace(SECRET, "wrong")
    site.refuses(TerminalSettingError, "aws_default", "docs/iam.md", AIRFLOW_CONN_AWS_DEFAULT=connection)


def test_a_wrong_secret_of_the_catalogs_storage_is_said(site: Site) -> None:
    changed = {f"{CATALOG}S3__SECRET_ACCESS_KEY": "wrong"}
    site.refuses(TerminalSettingError, "refuses these credentials", f"{CATALOG}S3__", **changed)


def test_a_wrong_login_of_the_catalog_is_said(site: Site) -> None:
    site.refuses(TerminalSettingError, "refuses this login", CATALOG, **{f"{CATALOG}CREDENTIAL": "perennial:wrong"})


@pytest.mark.long
def test_a_catalog_or_an_s3_that_is_down_is_said(site: Site) -> None:
    site.refuses(TransientError, "does not answer", f"{CATALOG}URI", **{f"{CATALOG}OAUTH2_SERVER_URI": NOWHERE})
    connection = json.loads(site.environment["AIRFLOW_CONN_AWS_DEFAULT"])
    connection["extra"]["endpoint_url"] = NOWHERE
    site.refuses(TransientError, NOWHERE, "aws_default", AIRFLOW_CONN_AWS_DEFAULT=json.dumps(connection))


@pytest.mark.long
def test_an_archive_in_a_bucket_that_is_not_there_is_said(site: Site) -> None:
    missing = {"PERENNIAL_ARCHIVE_URI": "s3://nowhere/cold", "PERENNIAL_OPERATIONS_URI": f"s3://{ARCHIVE}/operations"}
    site.open(**missing).create_tables()
    site.refuses(TerminalSettingError, "no bucket 'nowhere'", **missing)


@pytest.mark.long
def test_a_right_to_delete_that_is_missing_is_said_before_anything_moves(site: Site, lake: Lake) -> None:
    denied = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": f"arn:aws:s3:::{ARCHIVE}/*"}
    lake.client().put_bucket_policy(Bucket=ARCHIVE, Policy=json.dumps({"Version": "2012-10-17", "Statement": [denied]}))
    try:
        site.refuses(TerminalSettingError, "Cannot delete", "docs/iam.md")
        assert multiset(site.warehouse, "interactions_archive") == Counter()
    finally:
        lake.client().delete_bucket_policy(Bucket=ARCHIVE)

    site.expire()

    assert multiset(site.warehouse, "interactions") == Counter()
    assert hot_and_archive(site.warehouse) == site.before
