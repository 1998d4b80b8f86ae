"""Issues of the platform's checks: a sync raises the first that it refuses, a command lists them all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from perennial.errors import TerminalMetadataError

IssueKind = Literal["refused", "read_as_null", "later_than_now", "left_out"]
# How many cases an issue describes; the others are only counted.
EXAMPLES = 3


@dataclass(frozen=True)
class Issue:
    """What is wrong with a table of the platform, or what a person should look at.

    Attributes:
        kind: `refused` fails a sync. Values that no decision needs are `read_as_null`; times of sources that are
            `later_than_now` keep their source hot until then; unknown columns are `left_out`.
        table: Name of the synced table.
        problem: What is wrong, the same words for every row of a column; equal issues are added up.
        examples: The first cases, each with its row and value.
        remedy: What to do, in a sentence.
        column: Name of the column; empty for the whole table.
        row_count: Number of affected rows; 0 if it is not about rows.
    """

    kind: IssueKind
    table: str
    problem: str
    examples: tuple[str, ...]
    remedy: str = ""
    column: str = ""
    row_count: int = 0

    def __str__(self) -> str:
        return " ".join(filter(None, (f"{self.examples[0].rstrip('.')}.", self.remedy)))


class Issues:
    """The issues of one read of the platform, each problem of a column once."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str, str], Issue] = {}

    def __iter__(self) -> Iterator[Issue]:
        return iter(self._found.values())

    def of(self, kind: IssueKind, table: str = "") -> list[Issue]:
        """Return the issues of a kind, of one table or of all."""
        return [issue for issue in self if issue.kind == kind and table in ("", issue.table)]

    def add(self, issues: Iterable[Issue]) -> None:
        """Add the issues of one batch or table."""
        for issue in issues:
            key = (issue.kind, issue.table, issue.column, issue.problem)
            if known := self._found.get(key):
                examples = (known.examples + issue.examples)[:EXAMPLES]
                issue = replace(known, examples=examples, row_count=known.row_count + issue.row_count)
            self._found[key] = issue

    def refuse(self) -> None:
        """Raise the first issue that a sync refuses.

        Raises:
            TerminalMetadataError: Names the table, the row, the column, the value and the remedy.
        """
        for issue in self.of("refused"):
            raise TerminalMetadataError(f"{issue} The previous metadata stays in place.")
