"""How long the page says that a restore takes: what those took that somebody waited for in this Airflow, from click to mail."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perennial.settings import Settings
from perennial.tables import LIFECYCLE_EVENTS
from perennial.warehouse import Warehouse
from perennial.web.restore_times import ExpectedTime, Pace, expected_time
from tests.rows import append_hot
from tests.web.conftest import As
from tests.web.restoring import expired_workspace, forget_runs

THEN = datetime(2026, 6, 2, 9, tzinfo=UTC)
DEMO, REPLAY, CLEARED, FAILED, AHEAD, DRY = "demo", "replay", "cleared", "failed", "ahead", "dry"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A workspace in which restores of a kilobyte each were recorded, all but the dry run's."""
    settings = Settings.from_environment({"PERENNIAL_HOME": str(tmp_path_factory.mktemp("home"))})
    warehouse = Warehouse(settings)
    warehouse.create_tables()
    expired_workspace(warehouse)
    event = {"event": "restored", "source_id": "x", "occurred_at": THEN, "file_count": 1, "row_count": 1}
    run_ids = [*(f"real{number}" for number in range(4)), DEMO, REPLAY, CLEARED, FAILED, AHEAD]
    append_hot(
        warehouse,
        [{**event, "event_id": run_id, "run_id": run_id, "total_bytes": 1_000} for run_id in run_ids],
        table=LIFECYCLE_EVENTS.name,
    )
    return settings


@pytest.fixture(autouse=True)
def airflow(page: As) -> Iterator[None]:
    forget_runs()
    yield
    forget_runs()


def record(run_id: str, waited: int, worked: int, by: str = "UI", **fields: Any) -> None:
    """Let Airflow know a run that was queued, then ran."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    started_at = THEN + timedelta(seconds=waited)
    with create_session() as session:
        run = DagRun(
            dag_id="restore_interactions",
            run_id=run_id,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType[by],
            run_after=fields.pop("run_after", THEN),
            logical_date=fields.pop("logical_date", None),
            queued_at=THEN,
            start_date=started_at,
            state=fields.pop("state", "success"),
        )
        run.end_date = started_at + timedelta(seconds=worked)
        for name, value in fields.items():
            setattr(run, name, value)
        session.add(run)


def estimate(page: As) -> tuple[str, list[int], int]:
    answer = page("uma").get("/perennial/api/restore", params={"id": "old"}).json()
    assert answer["expected"] in page("uma").get("/perennial/restore", params={"id": "old"}).text
    return answer["expected"], answer["expected_seconds"], answer["expected_from_runs"]


def test_it_is_what_whoever_asked_waited_for_the_wait_in_the_queue_included(page: As) -> None:
    for number, (waited, worked) in enumerate([(2, 11), (3, 13), (1, 13)]):
        record(f"real{number}", waited, worked)
    assert estimate(page) == ("13 seconds to 16 seconds, based on the last 3 restores of about that size.", [13, 16], 3)


def test_runs_that_nobody_waited_for_in_this_airflow_do_not_count(page: As) -> None:
    record(DEMO, 0, 3, by="TEST")
    record("real3", 0, 2, by="BACKFILL")
    record(REPLAY, 0, 2, logical_date=THEN - timedelta(days=30))
    record(AHEAD, 0, 90_000, run_after=THEN + timedelta(days=1))
    record(CLEARED, 0, 1, clear_number=1)
    record(FAILED, 0, 1, state="failed")
    record(DRY, 0, 1)
    guess = "Probably 10 seconds to 1 minute. No restore of about that size has been measured yet."
    assert estimate(page) == (guess, [10, 60], 0)
    record("real0", 3, 13)
    assert estimate(page) == (
        "Probably 8 seconds to 32 seconds: only 1 restore of about that size has been measured.", [8, 32], 1
    )  # fmt: skip


SECOND = timedelta(seconds=1)
MB = 1_000_000


@pytest.mark.parametrize(
    ("measured", "total_bytes", "expected"),
    [
        pytest.param([], 1_000, ExpectedTime(10 * SECOND, 60 * SECOND, 0), id="nothing is known"),
        pytest.param([], 10_000 * MB, ExpectedTime(60 * SECOND, 1_060 * SECOND, 0), id="nothing is known, and much comes"),
        pytest.param(
            [(1_000, 16 * SECOND), (5 * MB, 13 * SECOND)], 1,
            ExpectedTime(6.5 * SECOND, 32 * SECOND, 2), id="few: half the fastest to twice the slowest",
        ),
        pytest.param(
            [(200 * MB, number * SECOND) for number in range(30, 60)], 100 * MB,
            ExpectedTime(30 * SECOND, 39 * SECOND, 10), id="the latest ten",
        ),
        pytest.param(
            [(1_000, 15 * SECOND)] * 5, 500 * MB,
            ExpectedTime(15 * SECOND, 110 * SECOND, 0), id="much more than ever: no less than the largest took",
        ),
        pytest.param(
            [(20 * MB, 15 * SECOND)] * 5, 400 * MB,
            ExpectedTime(15 * SECOND, 300 * SECOND, 0), id="more than ever: as many times as long at the most",
        ),
        pytest.param(
            [(5_000 * MB, 300 * SECOND)], 1_000,
            ExpectedTime(10 * SECOND, 300 * SECOND, 0), id="much less than ever: no more than those took",
        ),
        pytest.param(
            [(5_000 * MB, 4 * SECOND)], 1_000,
            ExpectedTime(4 * SECOND, 10 * SECOND, 0), id="less than what took no time at all",
        ),
        pytest.param(
            [(1_000 * MB, 20 * SECOND), (2_000 * MB, 30 * SECOND), (50 * MB, 10.5 * SECOND)], 100_000 * MB,
            ExpectedTime(1_010 * SECOND, 1_010 * SECOND, 0, Pace(10 * SECOND, 10 * SECOND, 1.0, 1.0, 3)),
            id="a fixed part and a rate, as they were measured",
        ),
        pytest.param(
            [(5_000 * MB, 20 * SECOND), (1 * MB, 30 * SECOND), (1 * MB, 10 * SECOND)], 100_000 * MB,
            ExpectedTime(10 * SECOND, 30 * SECOND, 0, Pace(20 * SECOND, 0 * SECOND, 0.5, 1.5, 3)),
            id="nothing but a fixed part, if larger ones were not slower",
        ),
    ],
)  # fmt: skip
def test_a_range_comes_from_restores_of_about_that_size(
    measured: list[tuple[int, timedelta]], total_bytes: int, expected: ExpectedTime
) -> None:
    found = expected_time(measured, total_bytes)
    assert rounded(found) == rounded(expected)


def rounded(expected: ExpectedTime) -> tuple[Any, ...]:
    """The same without the last digits of a fit."""
    times = [expected.shortest, expected.longest]
    pace = expected.pace
    if pace is None:
        return (*times, expected.run_count, expected.sentence)
    times += [pace.fixed, pace.per_gb, timedelta(pace.fastest), timedelta(pace.slowest)]
    return (*(round(time.total_seconds(), 3) for time in times), pace.run_count, expected.sentence)
