"""Sessions: what they say of a source and what they show of it belong to one moment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from perennial.engines.duckdb import open_connection
from perennial.engines.sessions import FeatureSession, Opening, open_feature_session
from perennial.errors import TransientConflictError
from perennial.moves import Run, expire_sources, restore_sources
from perennial.moves.audit_trail import last_events, record_expired
from perennial.warehouse import SourceTotal, Warehouse
from tests.rows import append_hot, interaction
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def stopped(warehouse: Warehouse) -> Warehouse:
    workspace = Workspace(warehouse)
    workspace.source("old")
    workspace.source("running", "active")
    workspace.sync()
    append_hot(warehouse, [interaction(source, number) for source in ("old", "running") for number in range(3)])
    return warehouse


def expire(warehouse: Warehouse) -> None:
    expire_sources(warehouse, Run("expiry", NOW))


def restore(warehouse: Warehouse) -> None:
    params = {"source_ids": ["old"], "notify": ["ann@example.com"]}
    restore_sources(warehouse, params, Run("restore", NOW))


def told_and_shown(warehouse: Warehouse, meanwhile: Callable[[Warehouse], None]) -> tuple[Any, Any]:
    """Open a session during which something happens once; returns the states and the rows it has."""
    waiting = [meanwhile]

    def opened(opening: Opening) -> FeatureSession:
        # The states are in place, the interactions are not yet.
        if waiting:
            waiting.pop()(warehouse)
        return opening.session(["old", "running"])

    with open_feature_session(warehouse, (), opened) as session:
        states = session.connection.execute("SELECT source_id, state FROM source_states").fetchall()
        rows = session.connection.execute(
            "SELECT source_id, count(*) FROM available_interactions GROUP BY ALL"
        ).fetchall()
        return dict(states), dict(rows)


def test_r16_a_source_that_expires_while_a_session_opens_is_said_to_be_expired(stopped: Warehouse) -> None:
    states, rows = told_and_shown(stopped, expire)
    assert states == {"old": "expired", "running": "available"}
    assert rows == {"running": 3}


def test_r17_a_source_that_is_restored_while_a_session_opens_is_all_there(stopped: Warehouse) -> None:
    expire(stopped)
    states, rows = told_and_shown(stopped, restore)
    assert states == {"old": "available", "running": "available"}
    assert rows == {"old": 3, "running": 3}


@pytest.mark.long
def test_a_session_that_never_sees_the_same_moment_twice_says_so_and_can_be_tried_again(stopped: Warehouse) -> None:
    moves = iter(range(1000))

    def opened(opening: Opening) -> FeatureSession:
        # Somebody records a move at every attempt.
        total = SourceTotal("other", file_count=1, row_count=1, total_bytes=1)
        seen = last_events(stopped, ["other"])
        record_expired(stopped, Run("r", NOW), f"move {next(moves)}", {"other": None}, [total], seen)
        return opening.session([])

    with pytest.raises(TransientConflictError, match="try again"):
        open_feature_session(stopped, (), opened)


def test_what_does_not_fit_in_memory_is_not_left_where_the_process_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spills, stands = tmp_path / "spills", tmp_path / "stands"
    spills.mkdir()
    stands.mkdir()
    monkeypatch.chdir(stands)
    monkeypatch.setattr("tempfile.tempdir", str(spills))
    with open_connection() as connection:
        connection.execute("SET memory_limit = '60MB'")
        connection.execute("CREATE TABLE large AS SELECT md5(i::VARCHAR) AS text FROM range(2000000) AS t(i)")
        assert list(spills.iterdir())
    assert not list(spills.iterdir())
    assert not list(stands.iterdir())
