"""Names that are nearly known ones: what was meant is said, and nothing is done by default instead."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perennial import settings
from perennial.refusals import unknown_params
from perennial.settings import Settings


@pytest.mark.parametrize(
    ("given", "known", "said"),
    [
        ("dryrun", ["dry_run"], "'dryrun' is not a param; did you mean 'dry_run'?"),
        (" DRY_RUN", ["dry_run", "tags"], "' DRY_RUN' is not a param; did you mean 'dry_run'?"),
        ("days", ["retain_days"], "'days' is not a param; did you mean 'retain_days'?"),
        ("x", ["dry_run"], "'x' is not a param; use dry_run."),
        ("dry_run", [], "'dry_run' is not a param; there are none."),
    ],
    ids=["a letter", "case and space", "half", "nothing near", "no params"],
)
def test_an_unknown_param_is_named_with_the_nearest_one(given: str, known: list[str], said: str) -> None:
    assert unknown_params([given, *known], known) == [said]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PERENNIAL_RETENTION_MONTS", "PERENNIAL_RETENTION_MONTHS"),
        ("PERENNIAL_RETENTION_MONTH", "PERENNIAL_RETENTION_MONTHS"),
        ("PERENNIAL_EXEMPTING_REFERERS", "PERENNIAL_EXEMPTING_REFERRERS"),
        ("PERENNIAL_Archive_Uri", "PERENNIAL_ARCHIVE_URI"),
    ],
)
def test_a_misspelt_setting_is_named_in_one_warning_with_the_nearest_one(
    name: str, meant: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings._warn_once.cache_clear()
    assert [Settings.from_environment({name: "24"}).retention_months for _ in range(2)] == [3, 3]
    assert caplog.messages == [f"{name} is not a setting, and is ignored; did you mean {meant}?"]
    assert caplog.records[0].levelname == "WARNING"


def test_a_setting_that_is_gone_is_named_in_one_warning_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    settings._warn_once.cache_clear()
    for _ in range(2):
        Settings.from_environment({"PERENNIAL_COMPACT_ON_ENGINE": "true"})
    (said,) = caplog.messages
    assert said.startswith("PERENNIAL_COMPACT_ON_ENGINE is no longer a setting, and is ignored; remove it")
    assert "rewrite_data_files" in said


def test_a_command_warns_of_a_misspelt_setting_on_standard_error(tmp_path: Path) -> None:
    environment = {"PERENNIAL_HOME": str(tmp_path), "PERENNIAL_RETENTION_MONTH": "24"}
    command = [str(Path(sys.executable).with_name("perennial")), "status"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert said.stderr.count("PERENNIAL_RETENTION_MONTH is not a setting") == 1
    assert "did you mean PERENNIAL_RETENTION_MONTHS?" in said.stderr
    assert "PERENNIAL_" not in said.stdout


def test_other_variables_that_begin_alike_are_nobodys_mistake(caplog: pytest.LogCaptureFixture) -> None:
    # Kubernetes makes these of a service's name.
    alike = {
        "PERENNIAL_IMAGE": "x",
        "PERENNIAL_PORT": "x",
        "PERENNIAL_PLATFORM_PORT": "x",
        "PERENNIAL_SERVICE_HOST": "x",
    }
    assert Settings.from_environment(alike).retention_months == 3
    assert not caplog.messages
