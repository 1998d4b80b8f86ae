"""`perennial check` names the rules of buckets that delete or freeze what must stay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from perennial.cli import app
from perennial.maintenance.bucket_rules import find_harmful_rules
from perennial.settings import Settings
from perennial.storage.s3 import s3_storage
from perennial.tables import INTERACTIONS_ARCHIVE
from perennial.warehouse import Warehouse
from tests import PROJECT_ROOT
from tests.aws import Aws
from tests.rights import enforced

EXPIRES: dict[str, Any] = {"Expiration": {"Days": 30}}
FREEZES: dict[str, Any] = {"Transitions": [{"Days": 1, "StorageClass": "DEEP_ARCHIVE"}]}
# Rules by what they are about, and what is said of them; nothing where they do no harm.
HARMFUL = {
    "whole-bucket": ({**EXPIRES, "Filter": {}}, "deletes objects after 30 days"),
    "prefix-above": ({**EXPIRES, "Filter": {"Prefix": "co"}}, "deletes objects after 30 days"),
    "prefix-below": ({**EXPIRES, "Filter": {"Prefix": "cold/0"}}, "deletes objects after 30 days"),
    "of-old": ({"Expiration": {"Days": 1}, "Prefix": ""}, "deletes objects after 1 day,"),
    "date": ({"Expiration": {"Date": "2027-01-01T00:00:00Z"}, "Filter": {}}, "from 2027-01-01 on"),
    "size": ({**EXPIRES, "Filter": {"And": {"Prefix": "cold/", "ObjectSizeGreaterThan": 5}}}, "deletes objects"),
    "frozen": ({**FREEZES, "Filter": {}}, "moves objects to DEEP_ARCHIVE after 1 day"),
}
HARMLESS = {
    "disabled": {**EXPIRES, "Filter": {}, "Status": "Disabled"},
    "elsewhere": {**EXPIRES, "Filter": {"Prefix": "colder/"}},
    "tag": {**EXPIRES, "Filter": {"Tag": {"Key": "a", "Value": "b"}}},
    "tags": {**EXPIRES, "Filter": {"And": {"Prefix": "", "Tags": [{"Key": "a", "Value": "b"}]}}},
    "warm": {"Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}], "Filter": {}},
    "old-versions": {"NoncurrentVersionExpiration": {"NoncurrentDays": 30}, "Filter": {}},
    "delete-markers": {"Expiration": {"ExpiredObjectDeleteMarker": True}, "Filter": {}},
    "uploads": {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}, "Filter": {}},
}


@pytest.fixture(scope="module")
def warehouse(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws.environment(tmp_path_factory.mktemp("home"), "GLACIER").items():
            patch.setenv(name, value)
        s3_storage.cache_clear()
        warehouse = Warehouse(Settings.from_environment())
        warehouse.create_tables()
        yield warehouse
        s3_storage.cache_clear()


@pytest.fixture
def archive(warehouse: Warehouse) -> str:
    return urlsplit(warehouse.table(INTERACTIONS_ARCHIVE.name).location_provider().data_path).netloc


def put(aws: Aws, bucket: str, *rules: dict[str, Any]) -> None:
    named = [{"ID": f"rule-{number}", "Status": "Enabled", **rule} for number, rule in enumerate(rules)]
    aws.client().put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": named})


@pytest.mark.long(but="^of-old$")
@pytest.mark.parametrize(("rule", "said"), HARMFUL.values(), ids=HARMFUL.keys())
def test_a_rule_that_deletes_or_freezes_archived_files_is_named(
    aws: Aws, warehouse: Warehouse, archive: str, rule: dict[str, Any], said: str
) -> None:
    put(aws, archive, rule)
    found = find_harmful_rules(warehouse)
    assert [(one.bucket, one.name) for one in found.harmful] == [(archive, "rule-0")]
    assert said in found.harmful[0].harm
    assert f"s3://{archive}/cold" in found.harmful[0].places
    assert not found.unseen


@pytest.mark.long(but="^(disabled|tags|delete-markers)$")
@pytest.mark.parametrize("rule", HARMLESS.values(), ids=HARMLESS.keys())
def test_a_rule_that_takes_nothing_of_ours_is_not_named(
    aws: Aws, warehouse: Warehouse, archive: str, rule: dict[str, Any]
) -> None:
    put(aws, archive, rule)
    assert find_harmful_rules(warehouse).harmful == ()


def test_the_rules_that_the_project_ships_do_no_harm(aws: Aws, warehouse: Warehouse, archive: str) -> None:
    text = (PROJECT_ROOT / "deploy" / "buckets" / "tables-and-archive.json").read_text(encoding="utf-8")
    put(aws, archive, *json.loads(text)["Rules"])
    assert find_harmful_rules(warehouse).harmful == ()


@pytest.mark.long
def test_a_rule_about_metadata_is_named_by_the_command_until_it_is_gone(
    aws: Aws, warehouse: Warehouse, archive: str
) -> None:
    aws.client().delete_bucket_lifecycle(Bucket=archive)
    lake = urlsplit(warehouse.table(INTERACTIONS_ARCHIVE.name).location()).netloc
    put(aws, lake, {**FREEZES, "Filter": {"Prefix": "warehouse/messaging/interactions_archive/metadata/"}})
    result = CliRunner().invoke(app, ["check"], env={"COLUMNS": "300"})
    assert result.exit_code == 1
    assert lake in result.output
    assert "DEEP_ARCHIVE" in result.output

    put(aws, lake, {**FREEZES, "Filter": {"Prefix": "landing/"}})
    assert CliRunner().invoke(app, ["check"]).exit_code == 0


def test_without_the_right_to_look_the_command_says_so_and_does_not_fail(warehouse: Warehouse) -> None:
    with enforced(partial(_may_all_but, "s3:GetLifecycleConfiguration")):
        result = CliRunner().invoke(app, ["check"])
    assert result.exit_code == 0
    assert "could not be read" in result.stderr
    assert str(Path("docs") / "iam.md") in result.stderr


def _may_all_but(denied: str, action: str, resource: str) -> bool:
    return action != denied
