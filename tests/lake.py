"""A real S3 server with a real Iceberg REST catalog, SeaweedFS, on free ports of 127.0.0.1."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from perennial_sample.ports import free_port

TABLES, ARCHIVE = "lake", "archive"
"""The bucket of the tables and that of the archive."""
KEY, SECRET, REGION = "perennial", "a secret of the tests", "us-east-1"
START_SECONDS, START_ATTEMPTS = 60, 3


@dataclass(frozen=True)
class Lake:
    """A running server.

    Attributes:
        s3_url: Endpoint of S3.
        catalog_url: Endpoint of the Iceberg REST catalog.
        directory: Where it keeps everything, its log included.
    """

    s3_url: str
    catalog_url: str
    directory: Path

    @property
    def connection(self) -> str:
        """The Airflow connection `aws_default`, as AIRFLOW_CONN_AWS_DEFAULT has it."""
        extra = {"region_name": REGION, "endpoint_url": self.s3_url}
        return json.dumps({"conn_type": "aws", "login": KEY, "password": SECRET, "extra": extra})

    def environment(self, name: str, archive: str = f"s3://{ARCHIVE}/cold") -> dict[str, str]:
        """What a workspace of this name on this lake is configured with."""
        catalog = "PYICEBERG_CATALOG__PERENNIAL__"
        return {
            "AIRFLOW_CONN_AWS_DEFAULT": self.connection,
            "PERENNIAL_NAMESPACE": name,
            "PERENNIAL_ARCHIVE_URI": f"{archive}/{name}",
            f"{catalog}TYPE": "rest",
            f"{catalog}URI": self.catalog_url,
            f"{catalog}PREFIX": TABLES,
            f"{catalog}CREDENTIAL": f"{KEY}:{SECRET}",
            f"{catalog}OAUTH2_SERVER_URI": f"{self.catalog_url}/v1/oauth/tokens",
            f"{catalog}S3__ENDPOINT": self.s3_url,
            f"{catalog}S3__ACCESS_KEY_ID": KEY,
            f"{catalog}S3__SECRET_ACCESS_KEY": SECRET,
            f"{catalog}S3__REGION": REGION,
        }

    def client(self) -> Any:
        """A plain client of its S3, for looking at what is there."""
        return boto3.client(
            "s3",
            endpoint_url=self.s3_url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name=REGION,
            config=Config(retries={"max_attempts": 1}),
        )


@contextmanager
def running_lake(directory: Path) -> Iterator[Lake]:
    """Serve until the block ends; everything it holds lies in the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for attempt in range(START_ATTEMPTS):
        lake, process = _started(directory)
        try:
            if _is_up(lake, process):
                yield lake
                return
        finally:
            process.terminate()
            process.wait(30)
        # Another program has taken a port that was free a moment ago.
        print(f"attempt {attempt} to start SeaweedFS failed")
    raise RuntimeError(f"SeaweedFS did not come up; see {directory / 'weed.log'}")


def _started(directory: Path) -> tuple[Lake, subprocess.Popen[bytes]]:
    names = ("master", "volume", "filer", "s3", "admin")
    ports = {f"{name}.port{suffix}": _port() for name in names for suffix in ("", ".grpc")}
    ports |= {"s3.port.iceberg": _port(), "s3.port.lance": _port()}
    sockets = {f"{name}.localSocket": directory / f"{name}.sock" for name in ("filer", "s3")}
    options = {"dir": directory, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "tableBucket": TABLES, "bucket": ARCHIVE}
    off = {"webdav": "false", "admin.ui": "false", "master.telemetry": "false", "s3.autoCreateBucket": "false"}
    command = [shutil.which("weed", path=str(Path(sys.executable).parent)) or "weed", "mini"]
    command += [f"-{name}={value}" for name, value in {**options, **ports, **sockets, **off}.items()]
    # Without keys the server lets everybody in, and damages small uploads.
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "AWS_ACCESS_KEY_ID": KEY}
    environment["AWS_SECRET_ACCESS_KEY"] = SECRET
    with (directory / "weed.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=directory)
    catalog_url = f"http://127.0.0.1:{ports['s3.port.iceberg']}"
    return Lake(f"http://127.0.0.1:{ports['s3.port']}", catalog_url, directory), process


def _port() -> int:
    # Some parts of the server take another's port and add 10,000 to find its second one.
    while (port := free_port()) > 65_535 - 10_000:
        pass
    return port


def _is_up(lake: Lake, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(BotoCoreError, ClientError):
            if {TABLES, ARCHIVE} <= {bucket["Name"] for bucket in lake.client().list_buckets()["Buckets"]}:
                return True
        time.sleep(0.2)
    return False
