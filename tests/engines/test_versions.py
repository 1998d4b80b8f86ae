"""The versions that docs/engines.md names are those that are locked, and no environment is left out."""

from __future__ import annotations

import re

from tests import PROJECT_ROOT

LOCKS = [PROJECT_ROOT / "requirements/dev.txt", *(PROJECT_ROOT / "requirements/engines").glob("*.txt")]


def test_the_page_of_engines_names_the_locked_versions() -> None:
    page = (PROJECT_ROOT / "docs/engines.md").read_text(encoding="utf-8")
    locked = {
        re.split(r"[\s;]", line)[0]: lock.name.partition(".")[0]
        for lock in LOCKS
        for line in lock.read_text().splitlines()
    }
    named = re.findall(r"`([\w.-]+={1,2}\d[\w.+~-]*)`", page)
    assert [name for name in named if name not in locked] == []
    tests = "".join(path.read_text() for path in (PROJECT_ROOT / "tests/installed").glob("*.py"))
    installed = {lock.name.partition(".")[0] for lock in LOCKS[1:] if f'"{lock.name.partition(".")[0]}"' in tests}
    assert installed >= {"ceph", "clickhouse", "spark"}
    assert installed - {locked[name] for name in named} == set()
