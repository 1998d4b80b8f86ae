"""`erase_users` through Airflow: what the command triggers leaves no id there, and what was given by hand can be cleaned."""

from __future__ import annotations

import json
import re
import shlex
from datetime import datetime, timedelta
from inspect import signature
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perennial.cli import app
from perennial.erase.open_requests import request_states
from perennial.erase.receipts import find_receipt
from perennial.erasures.hashes import make_key
from perennial.tables import USERS
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox
from tests.airflow import RunDag
from tests.rows import append_hot, interaction
from tests.workspace import Workspace

MARKER, BY_HAND = "marker-1f0c77", "marker-2b9e01"
DPO = "privacy@example.com"


@pytest.fixture
def workspace(warehouse: Warehouse) -> Workspace:
    make_key(warehouse.settings)
    workspace = Workspace(warehouse)
    workspace.source("running", "active")
    people = (MARKER, BY_HAND, "somebody else")
    append_hot(warehouse, [interaction("running", number, user_id=user) for number, user in enumerate(people)])
    workspace.sync()
    workspace.replace(USERS.name, [{"user_id": user, "invalid_phone": False, "feature_flags": []} for user in people])
    return workspace


def tables_with(text: str) -> set[str]:
    """Which tables of Airflow's own database hold a text, in whatever column."""
    from sqlalchemy import MetaData, select

    from airflow import settings

    metadata = MetaData()
    metadata.reflect(settings.engine)
    with settings.engine.connect() as connection:
        return {
            name
            for name, table in metadata.tables.items()
            if any(text in str(value) for row in connection.execute(select(table)) for value in row)
        }


def test_r22_the_command_leaves_no_id_in_airflow_and_what_was_given_by_hand_is_cleaned_as_the_receipt_says(
    workspace: Workspace,
    run_dag: RunDag,
    mailbox: Mailbox,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    from airflow.configuration import conf
    from airflow.models.dagrun import DagRun
    from airflow.models.log import Log
    from airflow.utils.db_cleanup import run_cleanup
    from airflow.utils.session import create_session
    from sqlalchemy import delete, select

    ids = tmp_path / "ids.txt"
    ids.write_text(f"{MARKER}\n")
    said = CliRunner().invoke(app, ["erase", "--user-ids-from", str(ids), "--notify", DPO, "--reason", "ticket 4711"])
    assert said.exit_code == 0, said.output
    (opened,) = request_states(workspace.warehouse)
    with create_session() as session:
        (triggered,) = session.scalars(select(DagRun).where(DagRun.dag_id == "erase_users")).all()
        assert triggered.conf == {"request_id": opened.request_id}
        assert triggered.run_id in said.output
        # Nothing here runs what was triggered.
        session.execute(delete(DagRun).where(DagRun.dag_id == "erase_users"))

    monkeypatch.setenv("PERENNIAL_DAG_PREFIX", "other_")
    said = CliRunner().invoke(app, ["erase", "--user-id", "nobody"])
    assert "The DAG other_erase_users was not triggered" in said.output
    assert "The request is open nevertheless" in said.output
    monkeypatch.delenv("PERENNIAL_DAG_PREFIX")

    # One run works off all requests.
    by_hand = {"user_ids": [BY_HAND], "notify": [DPO], "reason": "ticket 4712"}
    run = run_dag("erase_users", by_hand)
    with create_session() as session:
        # As Airflow's API and page record who has triggered a run.
        extra = json.dumps({"conf": by_hand, "method": "POST"})
        session.add(Log(event="trigger_dag_run", dag_id="erase_users", run_id=run.run_id, extra=extra))

    assert run.state == "success"
    receipts = {
        one.request_id: find_receipt(workspace.warehouse, one.request_id) for one in request_states(workspace.warehouse)
    }
    assert len(receipts) == 3
    assert tables_with(MARKER) == set()
    printed = capfd.readouterr()
    logs = [path.read_text() for path in Path(conf.get("logging", "base_log_folder")).rglob("*.log")]
    mails = [path.read_bytes().decode() for path in mailbox.directory.iterdir()]
    assert mails
    assert not [text for text in (printed.out, printed.err, *logs, *mails) if MARKER in text or BY_HAND in text]

    assert tables_with(BY_HAND) == {"dag_run", "log"}
    assert receipts[opened.request_id] is not None
    ((request_id, cleaned),) = [(name, text) for name, one in receipts.items() if one for text in one.airflow]
    assert request_id != opened.request_id
    assert run.run_id in cleaned
    _, _, _, *given = shlex.split(re.search(r"airflow db clean .* --yes", cleaned)[0])  # type: ignore[index]
    options = dict(zip(given[:-2:2], given[1:-2:2], strict=True))
    assert given[-2:] == ["--skip-archive", "--yes"]
    # Airflow 3.1 does not know the option.
    of_dag = {"dag_ids": [options["--dag-ids"]]} if "dag_ids" in signature(run_cleanup).parameters else {}
    assert len(options) == 2 + len(of_dag)
    run_cleanup(
        clean_before_timestamp=datetime.fromisoformat(options["--clean-before-timestamp"]) + timedelta(hours=1),
        table_names=options["--tables"].split(","),
        **of_dag,
        skip_archive=True,
        confirm=False,
        verbose=False,
    )
    assert tables_with(BY_HAND) == set()


@pytest.mark.long
def test_a_dry_run_reports_and_opens_nothing(workspace: Workspace, run_dag: RunDag, mailbox: Mailbox) -> None:
    before = workspace.warehouse.table("interactions").metadata_location
    run = run_dag("erase_users", {"user_ids": [MARKER], "notify": [DPO], "dry_run": True})
    assert run.state == "success"
    assert request_states(workspace.warehouse) == []
    assert workspace.warehouse.table("interactions").metadata_location == before
    (mail,) = mailbox.messages()
    assert mail.subject == "Dry run: what an erasure of 1 person would remove"
    assert "interactions: 1 row" in mail.text
    assert MARKER not in mail.text + mail.html
