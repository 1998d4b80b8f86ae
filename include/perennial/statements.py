"""The SQL statements of `include/sql/`, by name."""

from __future__ import annotations

from functools import cache

from perennial.resources import resource

SQL_ROOT = resource("sql")


@cache
def statement(name: str) -> str:
    """Return the text of one statement.

    Args:
        name: `<topic>/<verb>_<object>`, as the file is called below `include/sql/`, without its ending.
    """
    return (SQL_ROOT / f"{name}.sql").read_text(encoding="utf-8")


def purpose(name: str) -> str:
    """Return what a statement is for, from its header: what comes before its grain."""
    words: list[str] = []
    for line in statement(name).splitlines():
        text = line.removeprefix("--").strip()
        if text.startswith("Grain:"):
            break
        words.append(text)
    return " ".join(words)
