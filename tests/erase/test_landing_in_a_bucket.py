"""A landing place in a bucket: files are rewritten there, and named where nothing may be written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perennial.erase import landing
from perennial.erase.people import People
from perennial.erase.places import erase_in_files, final, verify_files
from tests.aws import Aws, workspace_on
from tests.currents.landing import event, load, rows
from tests.rights import enforced

KEY = "currents/event_type=users.messages.email.Open/date=2026-01-31-23/part-0.json"
PEOPLE = People(frozenset({"u1"}))


@pytest.mark.long
def test_files_of_a_bucket_are_rewritten_or_named(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bucket = aws.bucket()
    monkeypatch.setenv("PERENNIAL_LANDING_URI", f"s3://{bucket}/currents")
    warehouse = workspace_on(aws, tmp_path / "home", "STANDARD", monkeypatch, local=True)
    lines = [json.dumps(event(n, user_id=user)) for n, user in enumerate(("u1", "u2", "u11"))]
    aws.client().put_object(Bucket=bucket, Key=KEY, Body="\n".join(lines).encode())
    load(warehouse)
    events = rows(warehouse, "interactions", "event_id")

    with enforced(lambda action, resource: action != "s3:PutObject" or bucket not in resource):
        (named,) = erase_in_files(warehouse, PEOPLE)
        assert named.uri == f"s3://{bucket}/{KEY}"
        assert named.is_final
        assert "cannot be changed from here" in named.why
        assert load(warehouse).loads == 0
        assert [one.count for one in landing.locate(warehouse, PEOPLE)] == [1]
        # The receipt names it, and no run waits for it.
        assert verify_files(warehouse, PEOPLE) == [named]
        assert final([named]) == (str(named),)

    assert erase_in_files(warehouse, PEOPLE) == []
    assert verify_files(warehouse, PEOPLE) == []
    content = aws.client().get_object(Bucket=bucket, Key=KEY)["Body"].read().decode()
    assert content.splitlines() == ["", *lines[1:]]
    assert load(warehouse).loads == 0
    assert rows(warehouse, "interactions", "event_id") == events
