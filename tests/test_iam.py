"""The policies of docs/iam.md: what each role may do, and what it may not."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from perennial_sample.in_process import parse_dags
from tests import PROJECT_ROOT
from tests.test_deploy import FILES, airflow_values, chart_values, example

PAGE = (PROJECT_ROOT / "docs" / "iam.md").read_text(encoding="utf-8")
POLICIES: dict[str, dict[str, Any]] = {
    role: json.loads(text) for role, text in re.findall(r"^## (\w+)\n.*?```json\n(.*?)```", PAGE, flags=re.S | re.M)
}
STATEMENTS = [(role, statement) for role, policy in POLICIES.items() for statement in policy["Statement"]]
RESOURCES = [(role, resource) for role, statement in STATEMENTS for resource in statement["Resource"]]
ROLE_ARN, ROLES = "eks.amazonaws.com/role-arn", "arn:aws:iam::111122223333:role"
BUCKETS = {f"example-{name}" for name in ("lake", "archive", "landing", "exports", "logs", "athena")}

LAKE, ARCHIVE = "arn:aws:s3:::example-lake", "arn:aws:s3:::example-archive"
HOT_FILE = f"{LAKE}/warehouse/messaging.db/interactions/data/0123.parquet"
METADATA = f"{LAKE}/warehouse/messaging.db/interactions/metadata/00001-a.metadata.json"
MANIFEST = f"{LAKE}/warehouse/messaging.db/interactions/metadata/a-m0.avro"
RECORD = f"{LAKE}/operations/0f7c6a9e-6a0e-4b67-9d0e-2f4cf2a0d7aa/pending/expire-1.json"
ARCHIVED_FILE = f"{ARCHIVE}/interactions/0123.parquet"
LANDED = "arn:aws:s3:::example-landing/currents/a.avro"
EXPORT = "arn:aws:s3:::example-exports/user-data/a.csv"
WORKGROUP = "arn:aws:athena:us-east-1:111122223333:workgroup/perennial"
RESULT = "arn:aws:s3:::example-athena/results/0f7c6a9e.csv"
TABLE = "arn:aws:glue:us-east-1:111122223333:table/messaging/interactions"


def may(role: str, action: str, resource: str) -> bool:
    return any(
        action in statement["Action"] and any(fnmatchcase(resource, pattern) for pattern in statement["Resource"])
        for statement in POLICIES[role]["Statement"]
    )


def test_there_is_a_policy_for_every_role_that_the_page_lists() -> None:
    listed = re.findall(r"^\| \[(\w+)\]\(#\1\) \|", PAGE, flags=re.MULTILINE)
    assert sorted(listed) == sorted(POLICIES)


@pytest.mark.parametrize(("role", "statement"), STATEMENTS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_statement_allows_named_actions_on_named_resources(role: str, statement: dict[str, Any]) -> None:
    assert statement.keys() == {"Sid", "Effect", "Action", "Resource"}
    assert statement["Effect"] == "Allow"
    assert all(re.fullmatch(r"(s3|glue|kms|athena):[A-Z]\w+", action) for action in statement["Action"])
    service = {action.partition(":")[0] for action in statement["Action"]}
    buckets = "|".join(BUCKETS)
    known = {
        "s3": rf"arn:aws:s3:::({buckets})(/[a-z].*)?",
        "glue": r"arn:aws:glue:us-east-1:111122223333:(catalog|database/messaging|table/messaging/\*)",
        "athena": "arn:aws:athena:us-east-1:111122223333:workgroup/perennial",
        "kms": r"arn:aws:kms:us-east-1:111122223333:key/[\w-]+",
    }
    assert len(service) == 1
    assert all(re.fullmatch(known[service.copy().pop()], resource) for resource in statement["Resource"])


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_a_policy_fits_into_one_managed_policy(policy: dict[str, Any]) -> None:
    assert policy["Version"] == "2012-10-17"
    assert len(json.dumps(policy, separators=(",", ":"))) <= 6144
    sids = [statement["Sid"] for statement in policy["Statement"]]
    assert len(sids) == len(set(sids))
    assert all(sid.isalnum() for sid in sids)


def test_only_the_maintainer_and_the_eraser_delete_data_files_and_manifests() -> None:
    for removed in (HOT_FILE, MANIFEST, ARCHIVED_FILE):
        assert [role for role in POLICIES if may(role, "s3:DeleteObject", removed)] == ["maintainer", "eraser"]
    for removed in (RECORD, METADATA):
        assert [role for role in POLICIES if may(role, "s3:DeleteObject", removed)] == [
            "loader",
            "mover",
            "maintainer",
            "eraser",
        ]
    for personal in (LANDED, EXPORT):
        assert [role for role in POLICIES if may(role, "s3:DeleteObject", personal)] == ["eraser"]


def test_only_the_mover_and_the_eraser_write_to_the_archive_and_thaw_from_it() -> None:
    assert [role for role in POLICIES if may(role, "s3:PutObject", ARCHIVED_FILE)] == ["mover", "eraser"]
    assert [role for role in POLICIES if may(role, "s3:RestoreObject", ARCHIVED_FILE)] == ["mover", "eraser"]
    assert [role for role in POLICIES if may(role, "s3:GetObject", ARCHIVED_FILE)] == ["mover", "maintainer", "eraser"]


# What tests/web/test_rights.py, which has each role at its work, does not see: what is done when an upload or a task fails,
# and what AWS's own services are asked for.
UNSEEN = {
    "mover": [("s3:AbortMultipartUpload", ARCHIVED_FILE), ("s3:AbortMultipartUpload", HOT_FILE)],
    "loader": [("s3:AbortMultipartUpload", HOT_FILE)],
    "maintainer": [("s3:AbortMultipartUpload", HOT_FILE)],
    "exporter": [("s3:AbortMultipartUpload", EXPORT), ("s3:PutObject", RECORD)],
    "athena": [
        ("athena:StartQueryExecution", WORKGROUP), ("athena:GetQueryExecution", WORKGROUP), ("s3:PutObject", RESULT),
        ("athena:GetQueryResults", WORKGROUP), ("athena:StopQueryExecution", WORKGROUP), ("s3:GetObject", RESULT),
    ],
    "installer": [("glue:UpdateTable", TABLE)],
}  # fmt: skip


@pytest.mark.parametrize("role", UNSEEN)
def test_a_role_may_do_what_is_seldom_needed(role: str) -> None:
    assert [(action, resource) for action, resource in UNSEEN[role] if not may(role, action, resource)] == []


def test_who_writes_may_encrypt_and_who_reads_decrypt() -> None:
    # S3 asks for a key in the name of who reads or writes; the server of the tests does not.
    key = "arn:aws:kms:us-east-1:111122223333:key/11111111-2222-3333-4444-555555555555"
    writers = {role for role, statement in STATEMENTS if "s3:PutObject" in statement["Action"]}
    assert {role for role in POLICIES if may(role, "kms:GenerateDataKey", key)} == writers
    assert {role for role in POLICIES if may(role, "kms:Decrypt", key)} == set(POLICIES)


def test_nobody_may_drop_a_table() -> None:
    assert not [role for role in POLICIES if may(role, "glue:DeleteTable", TABLE)]


READING = {"glue:GetDatabase", "glue:GetTable", "glue:GetTables", "kms:Decrypt", "s3:GetObject", "s3:ListBucket"}


def test_readers_write_nothing_but_the_page_requests_to_erase() -> None:
    actions = {
        role: {action for statement in POLICIES[role]["Statement"] for action in statement["Action"]} - READING
        for role in ("analyst", "page")
    }
    assert actions == {
        "analyst": {"s3:GetLifecycleConfiguration"},
        "page": {"s3:PutObject", "kms:GenerateDataKey"},
    }
    written = [resource for role, resource in RESOURCES if role == "page" and may("page", "s3:PutObject", resource)]
    assert written == ["arn:aws:s3:::example-lake/operations/*/erasures/*"]


def test_every_bucket_that_a_deployment_names_is_in_a_policy() -> None:
    named = {bucket for path in FILES for bucket in re.findall(r"s3://([a-z0-9.-]+)", path.read_text(encoding="utf-8"))}
    allowed = {arn.removeprefix("arn:aws:s3:::").partition("/")[0] for _, arn in RESOURCES if ":s3:" in arn}
    assert named <= allowed == BUCKETS


def test_who_works_writes_logs_where_the_chart_has_them_and_the_page_reads_them() -> None:
    log = (
        airflow_values()["config"]["logging"]["remote_base_log_folder"].replace("s3://", "arn:aws:s3:::")
        + "/dag_id=x/1.log"
    )
    writers = ["loader", "mover", "maintainer", "eraser", "exporter"]
    readers = [*writers, "page"]
    assert [role for role in POLICIES if may(role, "s3:PutObject", log)] == writers
    assert [role for role in POLICIES if may(role, "s3:GetObject", log)] == readers
    assert [role for role in POLICIES if may(role, "s3:ListBucket", "arn:aws:s3:::example-logs")] == readers
    assert not [role for role in POLICIES if may(role, "s3:DeleteObject", log)]


def test_who_asks_athena_may_write_nothing_but_its_results() -> None:
    written = {
        resource
        for statement in POLICIES["athena"]["Statement"]
        for resource in statement["Resource"]
        if "s3:PutObject" in statement["Action"]
    }
    assert written == {"arn:aws:s3:::example-athena/results/*"}


def test_listing_is_not_narrowed_since_an_absent_object_would_be_denied() -> None:
    assert not [role for role, statement in STATEMENTS if "Condition" in statement]


def test_the_example_lies_where_the_policies_reach() -> None:
    mine = example()
    assert mine["PYICEBERG_CATALOG__PERENNIAL__WAREHOUSE"] == "s3://example-lake/warehouse"
    assert mine["PERENNIAL_OPERATIONS_URI"] == "s3://example-lake/operations"
    assert mine["PERENNIAL_ARCHIVE_URI"] == "s3://example-archive/interactions"
    assert mine["PERENNIAL_LANDING_URI"] == "s3://example-landing/currents"
    assert mine["PERENNIAL_EXPORTS_URI"] == "s3://example-exports/user-data"
    assert mine["PERENNIAL_NAMESPACE"] == "messaging"


# --- which task has which role -----------------------------------------------------------------------------------


@pytest.fixture
def local_settings() -> ModuleType:
    module = ModuleType("airflow_local_settings")
    exec((PROJECT_ROOT / "deploy" / "airflow_local_settings.py").read_text(encoding="utf-8"), module.__dict__)
    return module


def test_every_dag_has_a_role_that_the_page_has_a_policy_for(local_settings: ModuleType) -> None:
    dags = {path.stem for path in (PROJECT_ROOT / "dags").glob("[!_]*.py")}
    assert dags == local_settings.ROLES.keys()
    assert set(local_settings.ROLES.values()) <= POLICIES.keys()


def test_every_role_that_a_pod_can_have_is_given_to_one_service_account(local_settings: ModuleType) -> None:
    roles = {"installer", *local_settings.ROLES.values()}
    assert chart_values()["roles"] == {role: f"{ROLES}/perennial-{role}" for role in roles}
    # Airflow's chart makes these, and none for pods of tasks that name no account.
    values = airflow_values()
    made = {part: values[part]["serviceAccount"]["annotations"][ROLE_ARN] for part in ("apiServer", "triggerer")}
    assert made == {"apiServer": f"{ROLES}/perennial-page", "triggerer": f"{ROLES}/perennial-mover"}
    assert "serviceAccount" not in values["workers"]
    assert roles | {"page", "analyst", "athena"} == POLICIES.keys()


def test_a_dag_has_the_same_role_whatever_its_id_begins_with(
    local_settings: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERENNIAL_DAG_PREFIX", "acme_")
    task = SimpleNamespace(dag_id="acme_load_interactions", queue="default", is_mapped=False)
    local_settings.task_policy(task)
    assert task.queue == "loader"


# Where Airflow is imported anyway.
@pytest.mark.usefixtures("dags")
def test_every_task_has_the_queue_and_the_pod_of_its_role_also_when_it_is_mapped(
    local_settings: ModuleType,
) -> None:
    from airflow.sdk import DAG, BaseOperator
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.settings import get_policy_plugin_manager

    from airflow import policies

    # As Airflow does it with the file when it starts.
    manager = get_policy_plugin_manager()
    before = manager.get_plugins()
    policies.make_plugin_from_local_settings(manager, local_settings, {"task_policy"})
    try:
        bag = parse_dags(PROJECT_ROOT / "dags")
    finally:
        for plugin in manager.get_plugins() - before:
            manager.unregister(plugin)

    assert not bag.import_errors
    assert bag.dags.keys() == local_settings.ROLES.keys()
    assert any(task.is_mapped for dag in bag.dags.values() for task in dag.tasks)
    for name, role in local_settings.ROLES.items():
        # As the scheduler knows them, not as the file has them.
        for task in DagSerialization.from_dict(DagSerialization.to_dict(bag.dags[name])).tasks:
            assert task.queue == role
            assert _account(task) == f"perennial-{role}"
    others = BaseOperator(task_id="t", dag=DAG("somebody_elses"))
    local_settings.task_policy(others)
    assert (others.queue, others.executor_config) == ("default", {})


def _account(task: Any) -> str:
    config = task.partial_kwargs["executor_config"] if task.is_mapped else task.executor_config
    return str(config["pod_override"].spec.service_account_name)
