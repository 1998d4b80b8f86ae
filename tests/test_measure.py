"""What the gauges say of work that waits, is late or was interrupted."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest

from perennial.erase.opening import open_erasure
from perennial.erasures.hashes import make_key
from perennial.erasures.requests import PLATFORM, new_request
from perennial.measure import WaitingRuns, measure
from perennial.metrics import GAUGES, METRICS
from perennial.moves.thaw_status import ThawStatus, write_thaw_status
from perennial.operations import OperationStore, new_record, write_pending
from perennial.reports import ArchiveReport, DamagedFile, RestoreDrill
from perennial.warehouse import Warehouse
from tests.currents.landing import OPEN, event, land_json, load

NOW = datetime.now(UTC)


def test_an_empty_warehouse_has_a_value_for_every_gauge(warehouse: Warehouse) -> None:
    measured = measure(warehouse, WaitingRuns(), NOW)
    assert measured.keys() == GAUGES.keys()
    assert {value for name, value in measured.items() if value} == {NOW.timestamp()}


def test_names_are_those_of_prometheus_and_each_metric_has_a_meaning() -> None:
    for metric in METRICS.values():
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.name.endswith("_timestamp_seconds") == (metric.unit == "time")
        assert metric.meaning[0].isupper()


def test_a_restore_is_late_and_interrupted_unless_it_waits_for_cold_storage(warehouse: Warehouse) -> None:
    old = (NOW - timedelta(hours=2)).isoformat()
    record = new_record("restore", "m1", ["old"], run_id="manual__1")
    write_pending(warehouse, replace(record, created_at=old, touched_at=old))
    write_pending(warehouse, new_record("expire", "m2", ["older"]))

    measured = measure(warehouse, WaitingRuns(), NOW)
    assert measured["interrupted_moves"] == 1
    assert measured["oldest_restore_seconds"] >= 7200

    measured = measure(warehouse, WaitingRuns(thawing={"manual__1"}, restores_to_approve={"manual__2"}), NOW)
    assert (measured["interrupted_moves"], measured["oldest_restore_seconds"]) == (0, 0)
    assert (measured["thawing_restores"], measured["restores_to_approve"]) == (1, 1)

    # From then on it could copy.
    thawed_at = (NOW - timedelta(minutes=10)).isoformat()
    write_thaw_status(warehouse, ThawStatus("manual__1", "Bulk", old, old, thawed_at, file_count=1, thawed_count=1))
    assert 600 <= measure(warehouse, WaitingRuns(), NOW)["oldest_restore_seconds"] < 7000


@pytest.mark.parametrize(
    ("days_ago", "urgent", "late"), [(1, 0, 0), (25, 1, 0), (31, 1, 1)], ids=["in time", "urgent", "late"]
)
def test_r22_erasures_are_counted_by_how_urgent_they_are(
    warehouse: Warehouse, days_ago: int, urgent: int, late: int
) -> None:
    make_key(warehouse.settings)
    request = new_request(warehouse.settings, user_ids=("user-1",), origin=PLATFORM)
    ago = timedelta(days=days_ago)
    request = replace(request, requested_at=request.requested_at - ago, due_at=request.due_at - ago)
    open_erasure(warehouse, request)

    measured = measure(warehouse, WaitingRuns(), NOW)
    assert (measured["open_erasures"], measured["erasures_to_approve"]) == (1, 1)
    assert (measured["urgent_erasures"], measured["late_erasures"]) == (urgent, late)


def test_what_the_latest_check_of_the_archive_found_is_shown(warehouse: Warehouse) -> None:
    damaged = DamagedFile(
        file_uri="s3://a/b", source_id="old", source_name="", owner_email="", outcome="missing", detail="It is missing."
    )
    drill = RestoreDrill(source_id="old", file_count=1, row_count=1, total_bytes=1, error="Rows differ.")
    report = ArchiveReport(
        run_id="r", checked_at=NOW, archived_count=10, checked_count=4, read_count=4, cold_count=0,
        damaged=(damaged,), drill=drill,
    )  # fmt: skip
    document = {**asdict(report), "checked_at": NOW.isoformat()}
    OperationStore.of(warehouse).put("archive", document, "latest")

    measured = measure(warehouse, WaitingRuns(), NOW)
    names = ("archived_files", "checked_files", "damaged_files", "failed_drills")
    assert [measured[name] for name in names] == [10, 4, 1, 1]
    assert measured["archive_checked_timestamp_seconds"] == NOW.timestamp()


def test_landing_files_are_counted_until_they_are_loaded(warehouse: Warehouse) -> None:
    land_json(warehouse.settings, OPEN, [event(1)])
    later = datetime.now(UTC) + timedelta(hours=2)

    measured = measure(warehouse, WaitingRuns(), later)
    assert measured["waiting_files"] == 1
    assert measured["oldest_waiting_file_seconds"] >= 7200

    load(warehouse)
    measured = measure(warehouse, WaitingRuns(), later)
    assert (measured["waiting_files"], measured["oldest_waiting_file_seconds"]) == (0, 0)
