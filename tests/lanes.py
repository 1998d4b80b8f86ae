"""Which tests `make quick` and `make test` run, and which of them one worker runs.

`make quick` runs what needs no server, no browser, no Airflow and no whole run of the main job. `make test` leaves out
what is marked `long`: further cases of what other tests show at one or two, and journeys of minutes. `make test-all`
runs everything but `installed`, the tests of engines that are installed beside the project: `make test-engines`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
INSTALLED = TESTS / "installed"
# Fixtures that start a server, a browser or Airflow; whatever asks for one of them, itself or through another, is left
# out of `make quick`.
STARTING = {"aws", "browser", "dags", "lake", "mailbox", "postgresql", "running", "server", "served", "spark"}
# The same of a test's parameters, by which a fixture chooses among servers.
STARTED_BY_PARAM = STARTING | {"seaweedfs", "moto", "rest", "glue"}
# What a module imports to start processes, and to kill them.
PROCESSES = {"forked", "run_and_kill", "subprocess"}
# Directories and modules whose tests play whole loads, expiries or restores, a second or more each. They are not even
# imported: Airflow alone takes seconds.
WHOLE_RUNS = (
    *(
        "browser",
        "currents",
        "dags",
        "drills",
        "erase",
        "exports",
        "integration",
        "maintenance",
        "moves",
        "others",
        "sample",
        "upgrade",
        "web",
    ),
    *(
        "audiences/test_completeness.py",
        "audiences/test_hostile.py",
        "audiences/test_lint.py",
        "audiences/test_random_worlds.py",
        "audiences/test_resume.py",
    ),
    *(
        "engines/test_sessions.py",
        "test_analysts.py",
        "test_cli.py",
        "test_cli_archive.py",
        "test_cli_restore.py",
        "test_cli_vanished.py",
        "test_status.py",
    ),
)
_WHOLE_RUNS = {TESTS / place for place in WHOLE_RUNS}

# Directories and modules of which one worker runs all tests, because they share what takes seconds to make: Airflow with
# its DAGs and its API server, Great Expectations in `make quick`, or a world.
TOGETHER = {
    "airflow": ("browser", "dags", "test_iam.py", "upgrade", "web"),
    "checks": ("test_guard.py", "test_quality.py"),
    "story": ("exports/test_profile.py", "exports/test_users_export.py"),
}


def group_of(nodeid: str) -> str:
    """Name what a test belongs to: one worker runs all of a module, and of some groups of modules.

    The mark `xdist_group` says the same, but goes unheard with pytest 9.2 (pytest-xdist 1386).
    """
    module, _, test = nodeid.partition("::")
    if re.search(r"\[.*\bspark\b", test):
        return "spark"
    place = module.removeprefix("tests/")
    return next((name for name, places in TOGETHER.items() if place.startswith(places)), module)


def is_quick(item: pytest.Item) -> bool:
    """Whether a test that is no whole run needs no server, no browser and no process of its own."""
    params = getattr(item, "callspec", None)
    chosen = {value for value in params.params.values() if isinstance(value, str)} if params else set()
    return not (
        STARTING & set(getattr(item, "fixturenames", ()))
        or STARTED_BY_PARAM & chosen
        or PROCESSES & vars(getattr(item, "module", item)).keys()
    )


def keep_some(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take the mark `long(but=...)` off the cases whose ids match the expression, so that `-m "not long"` runs those.

    Raises:
        pytest.UsageError: A mark's expression matches no case.
    """
    kept: dict[str, bool] = {}
    for item in items:
        mark = next((own for own in item.own_markers if own.name == "long" and "but" in own.kwargs), None)
        # There other servers run some cases of a suite.
        if mark is None or INSTALLED in item.path.parents:
            continue
        function, params = item.nodeid.partition("[")[0], getattr(item, "callspec", None)
        matches = params is not None and re.search(mark.kwargs["but"], params.id) is not None
        kept[function] = kept.get(function, False) or matches
        if matches:
            item.own_markers.remove(mark)
    # Where single tests are asked for, the others are not collected.
    if (wrong := [name for name, some in kept.items() if not some]) and not any("::" in arg for arg in config.args):
        raise pytest.UsageError(f"Marked long but for cases that are not there: {', '.join(wrong)}")


class Quick:
    """Leaves the other tests out, and says how many those are."""

    def __init__(self) -> None:
        self.left_out = 0

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        return True if collection_path in _WHOLE_RUNS else None

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        left_out = [item for item in items if not is_quick(item)]
        items[:] = [item for item in items if is_quick(item)]
        config.hook.pytest_deselected(items=left_out)
        self.left_out = len(left_out)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        # A worker of pytest-xdist collects, and the process that started it reports.
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["left_out"] = self.left_out

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.left_out = getattr(node, "workeroutput", {}).get("left_out", self.left_out)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.write_line(
            f"Left out: whole runs, and {self.left_out:,} other tests that need a server or a process. `make test` runs them."
        )
