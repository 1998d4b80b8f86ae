"""A real Spark Connect server, Sail with two workers, on a free port of 127.0.0.1, over the tables of a lake."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from perennial_sample.ports import free_port
from tests.lake import KEY, REGION, SECRET, TABLES, Lake

CATALOG = "lake"
"""What the server calls the catalog; it is the one that a session begins with."""
START_SECONDS = 180


@dataclass(frozen=True)
class Spark:
    """A running server.

    Attributes:
        url: As PERENNIAL_ENGINE_URL has it.
        log: Where it says what it does.
    """

    url: str
    log: Path


@contextmanager
def running_spark(lake: Lake, directory: Path, key: str = KEY, mode: str = "local-cluster") -> Iterator[Spark]:
    """Serve until the block ends.

    Args:
        lake: Whose tables it reads and writes.
        directory: Where it works; its log is there.
        key: With which access key it goes to S3.
        mode: `local` for one process without workers.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    catalog = f'{{type="iceberg-rest", name="{CATALOG}", uri="{lake.catalog_url}", warehouse="{TABLES}", '
    catalog += f'prefix="{TABLES}", bearer_access_token="{_token(lake)}"}}'
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "SAIL_CATALOG__LIST": f"[{catalog}]",
        "SAIL_CATALOG__DEFAULT_CATALOG": CATALOG,
        "SAIL_MODE": mode,
        "SAIL_CLUSTER__WORKER_INITIAL_COUNT": "2",
        "SAIL_CLUSTER__WORKER_MAX_COUNT": "2",
        # A task a file, and it refuses a statement whose tasks cannot all run at once.
        "SAIL_CLUSTER__WORKER_TASK_SLOTS": "4096",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT": lake.s3_url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
    }
    command = [str(Path(sys.executable).with_name("sail")), "spark", "server", "--port", str(port)]
    log = directory / "sail.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=directory)
    try:
        wait(port, process, log)
        yield Spark(f"sc://127.0.0.1:{port}", log)
    finally:
        process.terminate()
        process.wait(30)


def _token(lake: Lake) -> str:
    asked = {"grant_type": "client_credentials", "client_id": KEY, "client_secret": SECRET, "scope": "catalog"}
    with urllib.request.urlopen(f"{lake.catalog_url}/v1/oauth/tokens", urlencode(asked).encode()) as answer:
        return str(json.load(answer)["access_token"])


def wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when a server answers on its port."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"The server did not come up; see {log}")
