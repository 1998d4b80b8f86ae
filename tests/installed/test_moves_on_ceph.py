"""Moves whose tables and archive are on Ceph's S3 gateway, killed and on bad days; the archive is in GLACIER, by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perennial.storage import storage_for
from perennial.warehouse import Warehouse
from tests.aws import Aws, archived, forget_client, workspace_on
from tests.faults import Faults, faulty
from tests.kill import Point, run_and_kill
from tests.moves.test_faults import test_an_expiry_and_a_restore_on_bad_days_lose_and_double_nothing
from tests.moves.test_killed import (
    assert_expired,
    assert_nothing_lost_or_doubled,
    assert_restored,
    expire,
    restore,
    workspace,
)
from tests.rows import multiset
from tests.workspace import Workspace

POINTS = [
    Point("after", "perennial.storage.s3:S3Storage.copy"),
    Point("after", "commit:add"),
    Point("after", "commit:remove"),
]


@pytest.fixture(autouse=True)
def plain_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Arrow writes has checksums behind the content, which this gateway cannot read, unless this is said."""
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")


@pytest.fixture
def warehouse(ceph: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    yield workspace_on(ceph, tmp_path / "home", "GLACIER", monkeypatch)
    forget_client()


@pytest.fixture
def bad_days(ceph: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Warehouse, Faults]]:
    with faulty(ceph.url) as faults:
        yield workspace_on(Aws(faults.url), tmp_path / "home", "GLACIER", monkeypatch), faults
        forget_client()


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_a_move_that_is_killed_goes_on_both_ways(workspace: Workspace, point: Point) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")

    run_and_kill(warehouse.settings, point, expire)
    assert_nothing_lost_or_doubled(warehouse, before)
    expire(warehouse, "again")
    assert_expired(warehouse, before)
    classes = {storage_for(uri).stat(uri).storage_class for uri in archived(warehouse)}
    assert classes == {"GLACIER"}

    run_and_kill(warehouse.settings, point, restore)
    assert_nothing_lost_or_doubled(warehouse, before)
    restore(warehouse, "back")
    assert_restored(warehouse, before)
