"""What of AWS no other server has: cold storage classes, keys, regions. moto, on a free port of 127.0.0.1."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.core.responses import ActionResult, EmptyResult
from moto.glue.exceptions import GlueClientError
from moto.glue.responses import GlueResponse
from moto.moto_api import state_manager
from moto.s3.models import FakeKey, s3_backends
from moto.server import ThreadedMotoServer

from perennial.settings import Settings
from perennial.storage.s3 import s3_storage
from perennial.tables import INTERACTIONS_ARCHIVE
from perennial.warehouse import Warehouse

KEY, SECRET, REGION = "perennial", "a secret of the tests", "us-east-1"
ACCOUNT = "123456789012"


@dataclass(frozen=True)
class Aws:
    """A running server."""

    url: str

    @property
    def connection(self) -> str:
        """The Airflow connection `aws_default`, as AIRFLOW_CONN_AWS_DEFAULT has it."""
        extra = {"region_name": REGION, "endpoint_url": self.url}
        return json.dumps({"conn_type": "aws", "login": KEY, "password": SECRET, "extra": extra})

    def client(self, service: str = "s3") -> Any:
        """A plain client, for looking at what is there."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name=REGION,
        )

    def bucket(self, region: str = REGION) -> str:
        """Make a bucket that nobody else uses."""
        name = f"b{uuid.uuid4().hex}"
        where = {} if region == REGION else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        self.client().create_bucket(Bucket=name, **where)
        return name

    def environment(self, home: Path, storage_class: str, local: bool = False) -> dict[str, str]:
        """What a workspace with its archive on S3 is configured with; a SQL catalog has its tables, there or on disk."""
        catalog = "PYICEBERG_CATALOG__PERENNIAL__"
        return {
            "AIRFLOW_CONN_AWS_DEFAULT": self.connection,
            "PERENNIAL_HOME": str(home),
            "PERENNIAL_LANDING_SETTLE_SECONDS": "0",
            "PERENNIAL_ARCHIVE_URI": f"s3://{self.bucket()}/cold",
            "PERENNIAL_ARCHIVE_STORAGE_CLASS": storage_class,
            f"{catalog}TYPE": "sql",
            f"{catalog}URI": f"sqlite:///{home}/catalog.db",
            f"{catalog}WAREHOUSE": f"file://{home}/warehouse" if local else f"s3://{self.bucket()}/warehouse",
            f"{catalog}S3__ENDPOINT": self.url,
            f"{catalog}S3__ACCESS_KEY_ID": KEY,
            f"{catalog}S3__SECRET_ACCESS_KEY": SECRET,
            f"{catalog}S3__REGION": REGION,
        }

    def objects(self, uri: str) -> dict[str, FakeKey]:
        """The server's own objects below an address, by address."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        stored = s3_backends[ACCOUNT]["aws"].buckets[bucket].keys
        return {f"s3://{bucket}/{name}": stored[name] for name in list(stored) if name.startswith(prefix)}

    def frozen(self, uri: str) -> dict[str, FakeKey]:
        """The objects below an address that lie in a class that has to be thawed."""
        return {
            name: key for name, key in self.objects(uri).items() if key.storage_class in ("GLACIER", "DEEP_ARCHIVE")
        }

    def refreeze(self, uri: str) -> None:
        """Let a thawed object become cold again before anybody has read it."""
        key = self.objects(uri)[uri]
        key.set_expiry(None)
        key.status = "IN_PROGRESS"

    def hold_thaws(self, uri: str) -> None:
        """From now on thawing an object that is below an address goes on until `finish_thaw`."""
        for key in self.objects(uri).values():
            key.status = "IN_PROGRESS"

    def asked_to_thaw(self, uri: str) -> set[str]:
        """Addresses of the objects that somebody has asked for."""
        return {name for name, key in self.objects(uri).items() if key.expiry_date is not None}

    def finish_thaw(self, *uris: str) -> None:
        """Make objects readable that somebody has asked for."""
        for uri in uris:
            self.objects(uri)[uri].status = "RESTORED"


_GLUE = threading.Lock()


class _ConcurrentModificationError(GlueClientError):
    def __init__(self) -> None:
        super().__init__("ConcurrentModificationException", "Update table failed due to concurrent modifications.")


def _update_table(response: GlueResponse) -> ActionResult:
    """Compare the version as Glue does, which moto leaves out: it is what commits stand on."""
    asked = response.parameters
    with _GLUE:
        table = response.glue_backend.get_table(asked["DatabaseName"], asked["TableInput"]["Name"])
        if asked.get("VersionId") not in (None, str(table._current_version)):
            raise _ConcurrentModificationError
        table.update(asked["TableInput"])
    return EmptyResult()


@contextmanager
def running_aws() -> Iterator[Aws]:
    """Serve until the block ends."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # Objects are restored when a test says so, not by and by.
    state_manager.set_transition("s3::keyrestore", {"progression": "manual", "times": 10**9})
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(GlueResponse, "update_table", _update_table)
            yield Aws(f"http://{host}:{port}")
    finally:
        server.stop()
        state_manager.unset_transition("s3::keyrestore")


def forget_client() -> None:
    """Let this process ask another server from now on; the sockets of the client that it had are closed."""
    if s3_storage.cache_info().currsize:
        s3_storage().client.close()
    s3_storage.cache_clear()


def workspace_on(
    aws: Aws, home: Path, storage_class: str, monkeypatch: pytest.MonkeyPatch, local: bool = False
) -> Warehouse:
    """Make an empty workspace with its archive on S3, and its tables there too or on disk; point this process at it."""
    home.mkdir(parents=True, exist_ok=True)
    for name, value in aws.environment(home, storage_class, local).items():
        monkeypatch.setenv(name, value)
    forget_client()
    warehouse = Warehouse(Settings.from_environment())
    warehouse.create_tables()
    return warehouse


def archive_uri(warehouse: Warehouse) -> str:
    """Where archived data files go."""
    return warehouse.table(INTERACTIONS_ARCHIVE.name).location_provider().data_path


def archived(warehouse: Warehouse) -> list[str]:
    """Addresses of the archived data files."""
    return sorted(live.uri for live in warehouse.live_files(warehouse.table(INTERACTIONS_ARCHIVE.name)))
