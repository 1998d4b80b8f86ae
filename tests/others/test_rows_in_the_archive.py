"""Rows that others put into the archive although their source is available: named in every answer, and brought back."""

from __future__ import annotations

from typing import Any

import pytest
from pyiceberg.expressions import EqualTo

from perennial.audiences.lint import lint_audiences
from perennial.engines.duckdb import open_session
from perennial.moves import Run, expire_sources, restore_sources
from perennial.moves.expire import decide_expiry, plan_expiry
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE
from perennial.warehouse import Warehouse
from tests.audiences.worlds import ask
from tests.moves.steps import add_copies, copy_files, verify_copies
from tests.others.writer import NOW, append, table_of_others
from tests.rows import append_hot, hot_and_archive, interaction, multiset
from tests.workspace import Workspace, received

HOT, ARCHIVE = INTERACTIONS.name, INTERACTIONS_ARCHIVE.name
RUN, LATER = Run("r1", NOW, "ann"), Run("r2", NOW, "ann")


@pytest.fixture
def warehouse(local_warehouse: Warehouse) -> Warehouse:
    workspace = Workspace(local_warehouse)
    workspace.source("running", "active", "promo")
    workspace.source("old")
    workspace.audience("segment:s1", received("running"))
    workspace.sync()
    users = [{"user_id": f"user-{number}", "invalid_phone": False, "feature_flags": []} for number in range(20)]
    workspace.replace("users", users)
    append_hot(local_warehouse, [interaction(source, number) for source in ("running", "old") for number in range(6)])
    return local_warehouse


def put_away(warehouse: Warehouse) -> None:
    """Another program archives rows of the running source as it thinks right."""
    hot = table_of_others(warehouse)
    rows: list[dict[str, Any]] = hot.scan(EqualTo("user_id", "user-2")).to_arrow().to_pylist()
    append(warehouse, [row for row in rows if row["source_id"] == "running"], ARCHIVE)
    files = [live.data_file for live in warehouse.live_files(warehouse.table(HOT), ["running"])]
    rest = [row for row in hot.scan(EqualTo("source_id", "running")).to_arrow().to_pylist() if row not in rows]
    with hot.transaction() as transaction, transaction.update_snapshot().overwrite() as producer:
        for data_file in files:
            producer.delete_data_file(data_file)
    append(warehouse, rest)


def test_an_answer_names_what_another_program_put_away_and_a_restore_brings_it_back(warehouse: Warehouse) -> None:
    everybody = [f"user-{number}" for number in range(6)]
    assert ask(warehouse, received("running"), NOW).completeness.complete
    before = hot_and_archive(warehouse)
    put_away(warehouse)
    assert hot_and_archive(warehouse) == before

    for expiry in (False, True):
        if expiry:
            # Another source expires meanwhile: what is counted on is more than nothing.
            expire_sources(warehouse, RUN)
        answer = ask(warehouse, received("running"), NOW)
        assert answer.users == [name for name in everybody if name != "user-2"]
        (missing,) = answer.completeness.missing
        assert (missing.source_id, missing.state, missing.archived_rows) == ("running", "archived", 1)
        assert missing.effects == {"narrows"}
        assert "1 interaction that another program put into long-term storage" in answer.completeness.sentence()
        assert "running" in answer.completeness.remedy()
    (found,) = lint_audiences(warehouse)
    assert found.finding.restorable == ("running",)
    assert "Another program" in found.finding.detail
    with open_session(warehouse) as session:
        found = session.execute("SELECT state, archived_rows FROM source_availability WHERE source_id = 'running'")
        assert found.fetchall() == [("available", 1)]

    restore_sources(warehouse, {"source_ids": ["running"], "notify": ["ann@example.com"]}, LATER)

    answer = ask(warehouse, received("running"), NOW)
    assert answer.users == everybody
    assert answer.completeness.complete
    assert multiset(warehouse, HOT, ["running"]).total() == 6
    assert hot_and_archive(warehouse) == before


def test_copies_of_a_move_under_way_are_not_taken_for_rows_put_away(warehouse: Warehouse) -> None:
    (plan_uri,) = plan_expiry(warehouse, decide_expiry(warehouse, RUN).uri, RUN)
    copy_files(warehouse, plan_uri, 0)
    verify_copies(warehouse, plan_uri)
    add_copies(warehouse, plan_uri)
    assert multiset(warehouse, ARCHIVE).total() == 6
    assert ask(warehouse, received("old"), NOW).completeness.complete
