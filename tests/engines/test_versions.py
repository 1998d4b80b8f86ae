"""The versions that docs/engines.md names are those that are locked, and no environment is left out."""

from __future__ import annotations

import re

from tests import PROJECT_ROOT

LOCKS = [PROJECT_ROOT / "requirements/dev.txt", *(PROJECT_ROOT / "requirements/engines").glob("*.txt")]
# What runs there is measured, and named by docs/performance.md.
OF_BENCHMARKS = {"delta", "postgres"}


def test_the_page_of_engines_names_the_locked_versions() -> None:
    page = (PROJECT_ROOT / "docs/engines.md").read_text(encoding="utf-8")
    locked = {
        re.split(r"[\s;]", line)[0]: lock.name.partition(".")[0]
        for lock in LOCKS
        for line in lock.read_text().splitlines()
    }
    named = re.findall(r"`([\w.-]+={1,2}\d[\w.+~-]*)`", page)
    assert [name for name in named if name not in locked] == []
    installed = {lock.name.partition(".")[0] for lock in LOCKS[1:]}
    assert installed - OF_BENCHMARKS - {locked[name] for name in named} == set()
