"""Names that are nearly known ones: what was meant is said, and nothing is done by default instead."""

from __future__ import annotations

import pytest

from perennial.errors import TerminalSettingError
from perennial.refusals import unknown_params
from perennial.settings import Settings


@pytest.mark.parametrize(
    ("given", "known", "said"),
    [
        ("dryrun", ["dry_run"], "unknown param 'dryrun' (did you mean 'dry_run'? known: dry_run)"),
        (" DRY_RUN", ["dry_run", "tags"], "unknown param ' DRY_RUN' (did you mean 'dry_run'? known: dry_run, tags)"),
        ("days", ["retain_days"], "unknown param 'days' (did you mean 'retain_days'? known: retain_days)"),
        ("x", ["dry_run"], "unknown param 'x' (known: dry_run)"),
        ("dry_run", [], "unknown param 'dry_run' (there are none)"),
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
def test_a_misspelt_setting_is_refused_and_not_ignored(name: str, meant: str) -> None:
    with pytest.raises(TerminalSettingError, match=rf"{name} is no setting.*did you mean {meant}\?"):
        Settings.from_environment({name: "24"})


def test_other_variables_that_begin_alike_are_nobodys_mistake() -> None:
    # Kubernetes makes these of a service's name.
    alike = {
        "PERENNIAL_IMAGE": "x",
        "PERENNIAL_PORT": "x",
        "PERENNIAL_PLATFORM_PORT": "x",
        "PERENNIAL_SERVICE_HOST": "x",
    }
    assert Settings.from_environment(alike).retention_months == 3
