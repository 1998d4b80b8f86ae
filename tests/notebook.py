"""Runs docs/analysts.ipynb in a sample workspace; `python -m tests.notebook` writes it anew, with its outputs."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from perennial.currents import load_interactions
from perennial.moves import Run, expire_sources
from perennial.platform import sync_sources
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from perennial_sample.in_process import airflow_environment
from perennial_sample.mailbox import Mailbox, open_mailbox
from perennial_sample.workspace import advance_workspace, create_workspace
from tests import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "analysts.ipynb"
# The sample is always the same for the same date.
NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
# Dates and ids of runs are those of the clock.
_OF_THE_CLOCK = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?(_[0-9a-f]{8})?|\b\d{1,2}:\d\d\b")


@contextmanager
def sample(home: Path) -> Iterator[Mailbox]:
    """Make the sample workspace whose sources have expired; the environment is what the notebook's kernel inherits."""
    variables = {"PERENNIAL_HOME": str(home), "PERENNIAL_LANDING_SETTLE_SECONDS": "0"}
    settings = Settings.from_environment(variables)
    warehouse = Warehouse(settings)
    warehouse.create_tables()
    advance_workspace(create_workspace(settings, 5_000, now=NOW))
    sync_sources(warehouse, "sync")
    load_interactions(warehouse, NOW)
    expire_sources(warehouse, Run("expiry", NOW))
    with open_mailbox(home / "mail") as mailbox, pytest.MonkeyPatch.context() as patch:
        for name, value in (variables | airflow_environment(home / "airflow")).items():
            patch.setenv(name, value)
        yield mailbox


def run(home: Path) -> tuple[Any, Mailbox]:
    """Run every cell; returns the notebook with its outputs, and the mailbox of its mails."""
    notebook = nbformat.read(PAGE, as_version=4)
    with sample(home) as mailbox:
        nbclient.NotebookClient(notebook, timeout=300).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    return notebook, mailbox


def said(notebook: Any) -> list[list[str]]:
    """The texts that each cell shows, without dates and ids of runs; standard error apart from the answer."""
    return [
        [
            _OF_THE_CLOCK.sub("…", "".join(output.get("text") or output["data"].get("text/plain", "")))
            for output in cell.get("outputs", ())
        ]
        for cell in notebook.cells
    ]


if __name__ == "__main__":
    os.environ.pop("PERENNIAL_ENGINE_URL", None)
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(run(Path(folder) / "home")[0], PAGE)
