"""Audience impact: 50,000 audiences, 2,000 of which name one of 1,000 due sources, over 100,000 users, in one pass."""

from __future__ import annotations

import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.audiences import SAMPLE_USERS, fill
from benchmarks.figures import Cost, Figure
from benchmarks.sample import create_warehouse, replace
from perennial.audiences.evaluate import open_audience
from perennial.audiences.impact import find_impact
from perennial.tables import AUDIENCES, USERS

ROWS, SOURCES, PEOPLE, AUDIENCE_COUNT, AFFECTED, ASKED_ALONE = 5_000_000, 1_000, 100_000, 50_000, 2_000, 20
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def run() -> list[Figure]:
    """Measure the one pass, against the audiences asked one by one (some of them, scaled up)."""
    with tempfile.TemporaryDirectory() as home:
        warehouse = create_warehouse(Path(home) / "w", ROWS, SOURCES, users=PEOPLE)
        fill(warehouse, USERS.name, SAMPLE_USERS, PEOPLE)
        replace(warehouse, AUDIENCES.name, [_audience(number) for number in range(AUDIENCE_COUNT)])
        started, processors = time.perf_counter(), time.process_time()
        found = find_impact(warehouse, [f"source-{number}" for number in range(SOURCES)], NOW)
        ours = Cost(time.perf_counter() - started, time.process_time() - processors)
        assert len(found.audiences) == AFFECTED
        assert found.sampled == 1
        started, processors = time.perf_counter(), time.process_time()
        for number in range(ASKED_ALONE):
            with open_audience(warehouse, _audience(number)["definition"], NOW) as audience:
                audience.count()
        scale = AFFECTED / ASKED_ALONE
        other = Cost((time.perf_counter() - started) * scale, (time.process_time() - processors) * scale)
    return [
        Figure(
            "audience impact, 2,000 of 50,000 audiences, 1,000 due sources",
            ours.seconds,
            unit=" s",
            must=60,
            ours=ours,
            other=other,
            detail=f"{found.sentence()} Other: each audience asked by itself, today only, scaled up from {ASKED_ALONE}",
        )
    ]


def _audience(number: int) -> dict[str, Any]:
    received = [
        {"filter": "received_message_from_campaign", "campaign_id": f"source-{(number * 7 + step) % SOURCES}"}
        for step in range(2)
    ]
    definition: dict[str, Any] = {"and": [received[0], {"not": received[1]}]}
    if number >= AFFECTED:
        definition = {"filter": "last_received_email", "operator": "after", "days_ago": number % 300}
    return {
        "owner_kind": "campaign",
        "owner_id": f"a{number}",
        "owner_name": f"Audience {number}",
        "owner_status": "stopped",
        "part": "audience",
        "definition": json.dumps(definition),
    }
