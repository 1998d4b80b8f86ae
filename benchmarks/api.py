"""The API of an Airflow that a benchmark serves."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from perennial_sample.serve import ServedAirflow

PATIENCE_SECONDS = 600


def log_in(airflow: ServedAirflow) -> str:
    """Return a token of the administrator."""
    return str(call(airflow, "/auth/token", {"username": "admin", "password": airflow.password})["access_token"])


def call(airflow: ServedAirflow, path: str, body: dict[str, Any] | None = None, token: str = "") -> Any:
    """Ask for something or, with a body, send something; returns the answer."""
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(airflow.url + path, data=content, headers=headers)
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


def until(condition: Callable[[], bool], pause: float = 1.0) -> None:
    """Wait for something.

    Raises:
        TimeoutError: It did not come.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Not after {PATIENCE_SECONDS} seconds")
        time.sleep(pause)
