"""The examples of a page of `docs/`: each is a block of code under the name of its file."""

from __future__ import annotations

import re
from pathlib import Path

_EXAMPLE = re.compile(r"^`([^`\n]+)`\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples_of(page: Path) -> dict[str, str]:
    """Return the text of every example by the name of its file."""
    return dict(_EXAMPLE.findall(page.read_text(encoding="utf-8")))


def copied(page: Path, folder: Path) -> Path:
    """Write the examples of a page to a folder, as its reader does."""
    for name, text in examples_of(page).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
