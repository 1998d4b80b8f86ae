"""Currents delivers into a bucket: the same files, loaded once, a replaced one again, a vanished one not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from perennial.currents.landing import LandingFile, is_unchanged, list_landing, select_new
from perennial.storage.s3 import s3_storage
from perennial.warehouse import Warehouse
from tests.aws import Aws, workspace_on
from tests.currents.landing import event, load, rows

KEY = "currents/event_type=users.messages.email.Open/date=2026-01-31-23/part-0.json"


@pytest.fixture
def bucket(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = aws.bucket()
    monkeypatch.setenv("PERENNIAL_LANDING_URI", f"s3://{name}/currents")
    yield name
    s3_storage.cache_clear()


@pytest.fixture
def warehouse(aws: Aws, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    return workspace_on(aws, tmp_path / "home", "STANDARD", monkeypatch, local=True)


def land(aws: Aws, bucket: str, *numbers: int) -> None:
    lines = "\n".join(json.dumps(event(number)) for number in numbers)
    aws.client().put_object(Bucket=bucket, Key=KEY, Body=lines.encode(), StorageClass="INTELLIGENT_TIERING")


def test_a_file_in_a_bucket_is_loaded_once_and_what_replaces_it_too(
    aws: Aws, bucket: str, warehouse: Warehouse
) -> None:
    land(aws, bucket, 1, 2)
    assert (load(warehouse).files, load(warehouse).files) == (1, 0)
    land(aws, bucket, 1, 2, 3)
    assert load(warehouse).files == 1
    assert rows(warehouse, "interactions", "event_id") == [("e1",), ("e2",), ("e3",)]


def test_a_file_in_a_bucket_that_was_replaced_or_has_vanished_has_changed(
    aws: Aws, bucket: str, warehouse: Warehouse
) -> None:
    def found() -> LandingFile:
        return select_new(warehouse, list_landing(warehouse.settings))[0]

    land(aws, bucket, 1)
    file = found()
    assert is_unchanged(file)
    land(aws, bucket, 1, 2)
    assert not is_unchanged(file)
    file = found()
    aws.client().delete_object(Bucket=bucket, Key=KEY)
    assert not is_unchanged(file)
