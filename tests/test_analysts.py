"""Every query of docs/analysts.md, in the sample workspace: before an expiry, while data is expired, and after a restore."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perennial.currents import load_interactions
from perennial.engines.duckdb import open_session
from perennial.moves import Run, expire_sources, restore_sources
from perennial.platform import sync_sources
from perennial.policy.hold_requests import HoldRequest, place_hold
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from perennial_sample.workspace import advance_workspace, create_workspace
from tests.analysts_page import PAGE, QUERIES

NEVER, SHORT, MISSING = "Answers that never change", "Answers that leave out expired data", "What is missing"
Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Mapping[str, Rows], ...]:
    """What every query answers, at the three moments."""
    settings = Settings.from_environment(
        {"PERENNIAL_HOME": str(tmp_path_factory.mktemp("home")), "PERENNIAL_LANDING_SETTLE_SECONDS": "0"}
    )
    warehouse = Warehouse(settings)
    warehouse.create_tables()
    now = datetime.now(UTC) - timedelta(minutes=1)
    advance_workspace(create_workspace(settings, 5_000, now=now))
    sync_sources(warehouse, "sync")
    load_interactions(warehouse, now)
    place_hold(warehouse, HoldRequest("cmp-autumn-lookbook", None, "ann", "Audit"), now)

    before = asked(warehouse, now)
    expired = expire_sources(warehouse, Run("expiry", now)).sources
    assert {"cmp-spring-sale", "cnv-spring-journey"} < {source.source_id for source in expired}
    during = asked(warehouse, now)
    ids = [source.source_id for source in expired]
    restore_sources(warehouse, {"source_ids": ids, "notify": ["ann@example.com"]}, Run("restore", now))
    return before, during, asked(warehouse, now)


def asked(warehouse: Warehouse, now: datetime) -> dict[str, Rows]:
    # A test that runs over midnight must not ask about another day.
    today = f"DATE '{now:%Y-%m-%d}'"
    with open_session(warehouse) as session:
        return {
            heading: session.execute(query.replace("current_date", today)).fetchall()
            for (_, heading), query in QUERIES.items()
        }


def in_section(section: str) -> Any:
    headings = [heading for found, heading in QUERIES if found == section]
    return pytest.mark.parametrize("heading", headings, ids=[heading.replace(" ", "-") for heading in headings])


def multiset(rows: Rows) -> list[str]:
    """Rows without their order: a query's ORDER BY leaves open how ties stand."""
    return sorted(map(repr, rows))


def test_the_page_has_queries_of_every_kind() -> None:
    sections = [section for section, _ in QUERIES]
    assert {section: sections.count(section) for section in sections} == {NEVER: 5, SHORT: 5, MISSING: 5}
    assert PAGE.read_text(encoding="utf-8").count("```sql") == len(QUERIES)


@in_section(NEVER)
def test_r15_an_answer_from_counts_and_summaries_never_changes(
    answers: tuple[Mapping[str, Rows], ...], heading: str
) -> None:
    before, during, after = (moment[heading] for moment in answers)
    assert before
    assert multiset(before) == multiset(during) == multiset(after)


@in_section(SHORT)
def test_r14_r17_an_answer_from_interactions_leaves_out_what_is_expired_and_comes_back_whole(
    answers: tuple[Mapping[str, Rows], ...], heading: str
) -> None:
    before, during, after = (moment[heading] for moment in answers)
    assert before
    assert multiset(during) != multiset(before)
    assert multiset(after) == multiset(before)


@in_section(MISSING)
def test_r16_what_is_missing_can_be_asked(answers: tuple[Mapping[str, Rows], ...], heading: str) -> None:
    _, during, _ = (moment[heading] for moment in answers)
    assert during


def test_what_is_said_to_be_expired_is_what_a_restore_brings_back(answers: tuple[Mapping[str, Rows], ...]) -> None:
    before, during, after = (moment["Everything that is expired, and its size"] for moment in answers)
    assert before == after == []
    assert all(rows > 0 and total_bytes > 0 for *_, rows, total_bytes in during)


def test_a_notebook_gets_every_view_of_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import perennial

    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path))
    Warehouse(Settings.from_environment()).create_tables()
    named = re.findall(
        r"^\| `(\w+)` \|.+(?:leaves out|never changes|is left out)", PAGE.read_text(), flags=re.MULTILINE
    )
    assert len(named) == 6
    with perennial.connect() as connection:
        for view in named:
            assert connection.sql(f"FROM {view}").fetchall() == []
