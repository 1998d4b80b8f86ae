"""`perennial status` of a whole workspace: totals first, who keeps what, the same for programs."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perennial.cli import app, overview
from perennial.moves import Run, expire_sources
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.rows import append_hot, interaction
from tests.workspace import PlatformWorkspace, member, received

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One source of each kind: expired, vanished and kept, kept by two, to expire, due, bare, active, unseen."""
    home = tmp_path_factory.mktemp("status")
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(home)}))
    warehouse.create_tables()
    workspace = PlatformWorkspace(warehouse)
    workspace.source("old", "stopped", "spring")
    workspace.source("gone", "stopped", "spring")
    workspace.source("twice", "archived")
    workspace.source("running", "active", kind="canvas")
    workspace.source("soon", stopped_at=datetime(2999, 1, 1, tzinfo=UTC))
    workspace.audience("canvas:running", member("s1"))
    workspace.audience("segment:s1", received("gone"))
    workspace.audience("campaign:a", received("twice"))
    workspace.audience("campaign:b", received("twice"))
    append_hot(warehouse, [interaction(name, number) for name in [*workspace.sources, "unseen"] for number in range(7)])
    workspace.sync()
    expire_sources(warehouse, Run("r1", NOW))
    workspace.source("due", "stopped", "spring")
    workspace.source("bare", "stopped")
    append_hot(warehouse, [interaction("due", number) for number in range(7)])
    del workspace.sources["gone"]
    workspace.sync(NOW)
    return home


@pytest.fixture(autouse=True)
def _configured(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_HOME", str(home))


def status(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, ["status", *arguments])
    assert result.exit_code == exit_code, result.output
    return result.output


def listed(*arguments: str) -> dict[str, dict[str, object]]:
    return {row["source_id"]: row for row in json.loads(status("--json", *arguments))}


@pytest.mark.long
def test_it_begins_with_totals_and_what_expires_next() -> None:
    said = [" ".join(line.split()) for line in status().splitlines()]
    assert said[0] == "All sources"
    assert said[1] == "state sources kept vanished hot_rows archived_rows"
    assert "available 6 2 1 35 0" in said[:5]
    assert "expired 1 0 0 0 7" in said[:5]
    assert "Due at the next daily run: 1 source." in said
    assert "Expires next: 'soon', on 2999-04-01." in said
    assert said.index("Expires next: 'soon', on 2999-04-01.") < min(
        n for n, line in enumerate(said) if "Name of" in line
    )
    assert any("7 interactions of 1 source that no sync has seen: 'unseen'" in line for line in said)


@pytest.mark.long
def test_who_keeps_a_source_is_a_column_and_what_is_kept_has_no_date() -> None:
    rows = listed()
    assert {name: row["kept_by"] for name, row in rows.items() if row["kept_by"]} == {
        "gone": "canvas:running",
        "twice": "campaign:a and 1 more",
    }
    dates = {name: row["expires_at"] for name, row in rows.items() if row["expires_at"]}
    assert dates == {"due": "2025-04-01T00:00:00Z", "soon": "2999-04-01T00:00:00Z"}
    (line,) = [line for line in status().splitlines() if line.startswith("twice")]
    assert "campaign:a and 1 more" in line
    assert "2025-04-01" not in line
    shown = status("twice")
    assert "campaign:a and 1 more" in shown
    assert shown.count("2025-04-01") == 0
    explained = CliRunner().invoke(app, ["explain", "twice", "--as-of", "2026-06-01"]).output
    assert "not while it is kept; its clock ended on 2025-04-01" in " ".join(explained.split())


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--state", "expired"), ["old"]),
        (("--state", "kept"), ["gone", "twice"]),
        (("--state", "available"), ["bare", "due", "gone", "running", "soon", "twice"]),
        (("--state", "deleted"), []),
        (("--tag", "spring"), ["due", "gone", "old"]),
        (("--tag", "spring", "--state", "available"), ["due", "gone"]),
        (("--limit", "1"), ["old"]),
    ],
    ids=" ".join,
)
def test_it_lists_the_sources_that_are_asked_for(arguments: tuple[str, ...], found: list[str]) -> None:
    assert sorted(listed(*arguments)) == found


def test_a_list_of_some_sources_has_no_totals_and_is_the_same_as_csv() -> None:
    arguments = ("--tag", "spring", "--state", "available")
    header, *lines = csv.reader(io.StringIO(status("--csv", *arguments)))
    assert [dict(zip(header, line, strict=True))["source_id"] for line in lines] == list(listed(*arguments))
    assert "All sources" not in status(*arguments)


def test_a_long_list_is_cut_and_says_how_to_see_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "_SHOWN_ROWS", 2)
    assert "5 more sources are not shown. Filter with --state or --tag, or list all 7 with --limit 7" in status()
    assert "not shown" not in status("--limit", "7")
    assert len(listed()) == 7


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--state", "expird"), "'expird' is not a state of a source; did you mean 'expired'?"),
        (("--state", "x"), "'x' is not a state of a source; there are: available, kept, expired, deleted."),
        (("--tag", "Sprng"), "'Sprng' is not a known tag; did you mean 'spring'?"),
        (("--tag", "x"), "'x' is not a known tag; there are: spring."),
    ],
    ids=["state", "no such state", "tag", "no such tag"],
)
def test_a_wrong_value_is_answered_with_the_nearest_right_one(arguments: tuple[str, ...], said: str) -> None:
    assert said in " ".join(status(*arguments, exit_code=1).split())


def test_a_program_learns_of_a_wrong_value_as_well() -> None:
    assert "did you mean 'expired'?" in " ".join(status("--json", "--state", "expird", exit_code=1).split())


def test_the_options_of_the_list_are_refused_for_one_source() -> None:
    assert "omit SOURCE and --run" in " ".join(status("old", "--json", exit_code=2).split())
