"""What holds for every DAG file: it parses fast, says what it does, and is wired as users expect."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from perennial import metrics
from perennial.notify import is_address
from perennial.preload import MODULES, preload
from perennial_sample.in_process import airflow_environment, parse_dags
from tests import PROJECT_ROOT

DAG_FILES = sorted((PROJECT_ROOT / "dags").glob("[!_]*.py"))
SCHEDULES = {
    "check_archive": "0 6 * * 0",
    "erase_users": "0 2 * * *",
    "expire_interactions": "0 4 * * *",
    "load_interactions": "*/15 * * * *",
    "maintain_warehouse": "30 5 * * *",
    # It has a schedule where Airflow sends metrics.
    "measure_warehouse": None,
    "export_user_data": None,
    "hold_sources": None,
    "restore_interactions": None,
    "sync_sources": "@hourly",
}
PARAMS = {
    "check_archive": {"sample_percent", "check_cold", "notify"},
    "erase_users": {
        "user_ids",
        "external_user_ids",
        "request_id",
        "decision",
        "notify",
        "reason",
        "retrieve",
        "dry_run",
    },
    "expire_interactions": {"dry_run"},
    "load_interactions": set(),
    "maintain_warehouse": {"retain_days"},
    "measure_warehouse": set(),
    "export_user_data": {"source_id", "notify", "all_recipients"},
    "hold_sources": {"source_id", "tag", "until", "reason", "lift"},
    "restore_interactions": {"source_ids", "tags", "notify", "reason", "thaw_tier", "max_cost", "max_bytes", "dry_run"},
    "sync_sources": {"allow_vanishing"},
}


def test_the_dags_of_the_contract_are_there_one_a_file(dags: Mapping[str, Any]) -> None:
    assert sorted(dags) == sorted(SCHEDULES) == [path.stem for path in DAG_FILES] == list(metrics.DAGS)


@pytest.mark.parametrize("dag_id", SCHEDULES)
def test_a_dag_says_what_it_does_and_is_wired_as_the_contract_has_it(dags: Mapping[str, Any], dag_id: str) -> None:
    dag = dags[dag_id]
    for heading in ("**What it does.**", "**What it never does.**", "**Params.**", "**When it fails.**"):
        assert heading in dag.doc_md
    assert dag.owner == "perennial"
    assert "perennial" in dag.tags
    assert dag.schedule == SCHEDULES[dag_id]
    assert dag.catchup is False
    # Runs dated in the future count as active until their date comes, and there may be many (ADR 14).
    assert dag.max_active_runs >= 10_000
    # Whether it starts by itself is for whoever runs Airflow to say.
    assert dag.is_paused_upon_creation is None
    assert set(dag.params) == PARAMS[dag_id]
    for name in dag.params:
        param = dag.params.get_param(name)
        assert param.schema["type"]
        assert param.description
    assert all(task.retries == 3 for task in dag.tasks)


@pytest.mark.parametrize(
    ("dag_id", "tables"),
    [
        ("sync_sources", {"sources", "source_tags", "source_variants", "canvas_steps", "audiences", "users"}),
        ("load_interactions", {"interactions", "user_message_summary", "source_daily_stats"}),
        ("expire_interactions", {"expiry_decisions", "interactions", "interactions_archive", "lifecycle_events"}),
        ("restore_interactions", {"interactions", "interactions_archive", "lifecycle_events"}),
        ("maintain_warehouse", {"interactions"}),
        ("check_archive", {"archive_checks"}),
        ("erase_users", {"erasures", "interactions", "interactions_archive", "users"}),
        ("hold_sources", {"holds"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_dag_declares_the_tables_it_writes(dags: Mapping[str, Any], dag_id: str, tables: set[str]) -> None:
    written = {outlet.name for task in dags[dag_id].tasks for outlet in task.outlets}
    assert {f"messaging.{table}" for table in tables} <= written


def test_no_dag_file_imports_anything_heavy(tmp_path: Path) -> None:
    code = (
        "import runpy, sys\n"
        "for path in sys.argv[1:]: runpy.run_path(path)\n"
        "print(*({'duckdb', 'pandas', 'polars', 'pyiceberg', 'great_expectations'} & set(sys.modules)))"
    )
    environment = airflow_environment(tmp_path) | {"PATH": "/usr/bin:/bin", "PYTHONWARNINGS": "ignore"}
    ended = subprocess.run([sys.executable, "-c", code, *DAG_FILES], capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1].strip() == ""


def test_everything_can_be_imported_before_tasks_start(caplog: pytest.LogCaptureFixture) -> None:
    preload()

    assert not [record for record in caplog.records if record.name == preload.__module__]
    assert set(sys.modules) >= {*MODULES, "great_expectations"}


def test_the_trigger_form_requires_only_what_has_no_default(dags: Mapping[str, Any]) -> None:
    import jsonschema

    # Airflow's form marks a field as required unless its type admits null, which it sends for an empty one.
    required = set()
    for dag_id, dag in dags.items():
        for name in dag.params:
            schema = dag.params.get_param(name).schema
            if not jsonschema.Draft202012Validator(schema).is_valid(None):
                required.add((dag_id, name))
                assert "null" not in schema["type"]
    assert required == {
        ("export_user_data", "source_id"),
        ("export_user_data", "notify"),
        ("restore_interactions", "notify"),
    }


def test_the_labels_of_the_trigger_forms_are_plain(dags: Mapping[str, Any]) -> None:
    labels = {
        (dag_id, name): dag.params.get_param(name).schema["title"]
        for dag_id, dag in dags.items()
        for name in dag.params
    }
    assert labels == {
        ("check_archive", "sample_percent"): "Sample (percent of archived files)",
        ("check_archive", "check_cold"): "Thaw cold files",
        ("check_archive", "notify"): "Notify (one address per line)",
        ("erase_users", "user_ids"): "User ids (one per line)",
        ("erase_users", "external_user_ids"): "External user ids (one per line)",
        ("erase_users", "request_id"): "Or the id of a request",
        ("erase_users", "decision"): "Decision about that request",
        ("erase_users", "notify"): "Notify (one address per line)",
        ("erase_users", "reason"): "Reason",
        ("erase_users", "retrieve"): "Retrieve cold files now",
        ("erase_users", "dry_run"): "Dry run (report only)",
        ("expire_interactions", "dry_run"): "Dry run (report only)",
        ("export_user_data", "source_id"): "Campaign or Canvas (one id)",
        ("export_user_data", "notify"): "Notify (one address per line)",
        ("export_user_data", "all_recipients"): "Include users without a profile",
        ("hold_sources", "source_id"): "Campaign or Canvas (one id)",
        ("hold_sources", "tag"): "Or a tag",
        ("hold_sources", "until"): "Until",
        ("hold_sources", "reason"): "Reason",
        ("hold_sources", "lift"): "Or the id of a hold to lift",
        ("maintain_warehouse", "retain_days"): "Days to keep replaced snapshots and files",
        ("restore_interactions", "source_ids"): "Campaigns and Canvases (one id per line)",
        ("restore_interactions", "tags"): "Tags (one per line)",
        ("restore_interactions", "notify"): "Notify (one address per line)",
        ("restore_interactions", "reason"): "Reason",
        ("restore_interactions", "thaw_tier"): "Retrieval tier",
        ("restore_interactions", "max_cost"): "Ask above this cost (USD)",
        ("restore_interactions", "max_bytes"): "Ask above this size (bytes)",
        ("restore_interactions", "dry_run"): "Dry run (report only)",
        ("sync_sources", "allow_vanishing"): "Allow many sources or audiences to be missing",
    }


@pytest.mark.parametrize(
    ("address", "fits"),
    [("ann@example.com", True), ("a@", False), ("ann", False), ("ann@example", False), ("a b@example.com", False)],
)
def test_the_trigger_form_refuses_the_addresses_that_the_run_would_refuse(
    dags: Mapping[str, Any], address: str, fits: bool
) -> None:
    import jsonschema

    schema = dags["restore_interactions"].params.get_param("notify").schema
    assert is_address(address) is fits
    assert jsonschema.Draft202012Validator(schema).is_valid([address]) is fits


def test_a_restore_that_takes_longer_than_a_quarter_of_an_hour_is_reported(dags: Mapping[str, Any]) -> None:
    deadline = dags["restore_interactions"].deadline
    # Airflow 3.1 knows one.
    (alert,) = deadline if isinstance(deadline, list) else [deadline]
    assert alert.interval == timedelta(minutes=15)
    assert alert.callback.path == "perennial.thaw.warn_when_late"


def test_the_number_of_tasks_does_not_depend_on_the_number_of_sources(dags: Mapping[str, Any]) -> None:
    # With a second group for what a person has approved.
    assert len(dags["expire_interactions"].tasks) <= 32
    assert len(dags["restore_interactions"].tasks) <= 16


def test_parsing_all_dag_files_again_is_quick(dags: Mapping[str, Any]) -> None:
    started = time.monotonic()
    bag = parse_dags(PROJECT_ROOT / "dags")
    assert not bag.import_errors
    # No measure of speed: a file that reads tables or asks the network while it is parsed would take far longer.
    assert time.monotonic() - started < 60
