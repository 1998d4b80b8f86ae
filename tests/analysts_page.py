"""The queries of docs/analysts.md."""

from __future__ import annotations

import re

from tests import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "analysts.md"


def queries() -> dict[tuple[str, str], str]:
    """The queries of the page, by the heading of their section and their own."""
    found = {}
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        for part in re.split(r"^### ", section, flags=re.MULTILINE):
            for query in re.findall(r"^```sql\n(.+?)^```", part, flags=re.MULTILINE | re.DOTALL):
                found[section.partition("\n")[0], part.partition("\n")[0]] = query
    return found


QUERIES = queries()
