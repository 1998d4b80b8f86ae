"""Check that everything the project cites exists: rules, invariants, decision records, headings, specification files.

`python -m scripts.check_citations`

A citation is `R` or `M` and a number, also in the name of a test (`test_r7_...`), `ADR` and a number, a link to a
heading of a page, or a path below a folder called spec. Every text file of the project is searched for them.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

# Followed by a hyphen: a range cites its first and its last.
CITATION = re.compile(r"\b(?:(?P<rule>[RM][0-9]{1,2})|ADRs?[ -](?P<record>[0-9]{1,4}))\b")
_TEST_NAME = re.compile(r"\bdef (test_\w+)")
_RULES_OF_TEST = re.compile(r"(?<=_)[rm][0-9]{1,2}(?=_)")
_SPECIFICATION = re.compile(r"(?<![\w/.-])((?:\.\./)*(?:[\w.-]+/)*?spec[/][\w.-]*)")
_LINK = re.compile(r"\]\(([^)\s#]*)#([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_SKIPPED_FOLDERS = re.compile(r"\.(?!ci$).*|__pycache__|build|dist|.*\.egg-info")
# A path of a drawing is full of them: `M7 11c-3 0-5-2-5-5`.
_SKIPPED_SUFFIXES = (".svg",)
# The same in an output of a notebook.
_DRAWN = re.compile(r'(?<= d=\\")[^"]+')


def broken_citations(root: Path) -> list[str]:
    """Find what is cited below a folder and is not there.

    Returns:
        A sentence for each, which begins with the file and the line.
    """
    known = {*_headed(root / "docs" / "rules.md"), *_headed(root / "docs" / "guarantees.md")}
    records = {int(path.name[:4]) for path in (root / "docs" / "adr").glob("[0-9]*.md")}
    broken = []
    for path in _files(root):
        text = _DRAWN.sub(lambda drawn: " " * len(drawn[0]), _text(path))
        for place, problem in [
            *_unknown_numbers(text, known, records),
            *_missing_specifications(text, path, root),
            *_missing_headings(text, path),
        ]:
            broken.append(f"{path.relative_to(root)}:{text.count(chr(10), 0, place) + 1}: {problem}")
    return broken


def _unknown_numbers(text: str, known: set[str], records: set[int]) -> Iterator[tuple[int, str]]:
    for found in CITATION.finditer(text):
        if found["rule"] and found["rule"] not in known:
            yield found.start(), _no_heading(found["rule"])
        if found["record"] and int(found["record"]) not in records:
            yield found.start(), f"{found[0]} is not a file in docs/adr."
    for found in _TEST_NAME.finditer(text):
        for rule in _RULES_OF_TEST.findall(found[1]):
            if rule.upper() not in known:
                yield found.start(), _no_heading(rule.upper())


def _no_heading(rule: str) -> str:
    return f"{rule} has no heading in docs/{'rules' if rule.startswith('R') else 'guarantees'}.md."


def _missing_specifications(text: str, path: Path, root: Path) -> Iterator[tuple[int, str]]:
    for found in _SPECIFICATION.finditer(text):
        name = found[1].rstrip(".")
        if not any((folder / name).exists() for folder in (root, path.parent)):
            yield found.start(), f"{name} is not in the repository."


def _missing_headings(text: str, path: Path) -> Iterator[tuple[int, str]]:
    if path.suffix != ".md":
        return
    for found in _LINK.finditer(text):
        target = path.parent / found[1] if found[1] else path
        if "://" not in found[1] and target.suffix == ".md" and target.exists() and found[2] not in _anchors(target):
            yield found.start(), f"{target.name} has no heading #{found[2]}."


def _headed(page: Path) -> Iterator[str]:
    """The rules or invariants that have a heading of their own: `## R7: ...`."""
    for heading in _HEADING.findall(_text(page)):
        if found := re.match(r"([RM][0-9]+): ", heading):
            yield found[1]


def _anchors(page: Path) -> set[str]:
    """What a link may name of a page: its headings, as GitHub and most others write them in addresses."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(_text(page))}


def _text(path: Path) -> str:
    """The text of a file; none where it is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not _SKIPPED_FOLDERS.fullmatch(name))
        yield from (Path(folder, name) for name in sorted(names) if not name.endswith(_SKIPPED_SUFFIXES))


def main(root: Path) -> int:
    """Print what is cited below a folder and is not there.

    Returns:
        The exit status: 1 where there is any.
    """
    broken = broken_citations(root)
    sys.stderr.writelines(f"{line}\n" for line in broken)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parents[1]))
