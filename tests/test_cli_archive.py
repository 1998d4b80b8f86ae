"""`perennial check --archive`, run as a person runs it."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from perennial.cli import app
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.conftest import MadeOnce
from tests.drills.archives import archived, flip_a_bit, three


@pytest.fixture
def warehouse(made_once: MadeOnce, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    monkeypatch.setenv("PERENNIAL_HOME", str(settings.home))
    return made_once(three).warehouse


def run(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, ["check", *arguments])
    assert result.exit_code == exit_code, result.output
    return " ".join(result.output.split())


@pytest.mark.long
def test_a_check_says_what_is_proven_and_ends_with_1_if_anything_is_wrong(warehouse: Warehouse) -> None:
    sound = run("--archive", "--sample-percent", "100")
    assert "Checked 100 % of archived files in 90 days, 0 damaged. This run read 3 files in full." in sound
    assert "was rehearsed: 30 interactions in" in sound
    flip_a_bit(warehouse, archived(warehouse, "b"))

    wrong = run("--archive", "--sample-percent", "100", exit_code=1)

    assert "Checked 100 % of archived files in 90 days, 1 damaged." in wrong
    assert archived(warehouse, "b").uri in wrong.replace(" ", "")
    assert "What to do: docs/runbooks/damaged-archive.md." in wrong


@pytest.mark.parametrize(
    ("arguments", "said", "exit_code"),
    [
        (["--sample-percent", "5"], "only with --archive", 2),
        (["--archive", "--platform"], "Give either --platform or --archive", 2),
        (["--archive", "--sample-percent", "0"], "sample_percent is 0; give a number above 0, and at most 100.", 1),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    warehouse: Warehouse, arguments: list[str], said: str, exit_code: int
) -> None:
    assert said in run(*arguments, exit_code=exit_code)
    assert warehouse.read("archive_checks").num_rows == 0
