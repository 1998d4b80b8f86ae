"""How the reader of an e-mail requests a restore: on the page if there is one, otherwise on the command line."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perennial.notify.links import RestoreLink, restore_link

# A command with more ids is unreadable.
_COMMAND_IDS = 20


@dataclass(frozen=True, kw_only=True)
class RestoreAdvice:
    """How to request a restore of some sources and tags.

    Attributes:
        link: The page with these selected; None where there is no page.
        source_count: How many sources it is about.
        command: The shell command that does the same.
        attached: Whether the command is attached as a file, because the page cannot do everything, or because there
            is no page and the command is too long to be shown.
    """

    link: RestoreLink | None
    source_count: int
    command: str
    attached: bool


def restore_advice(
    page: str | None, ids: Sequence[str], tags: Sequence[str], notify: Sequence[str]
) -> RestoreAdvice | None:
    """Say how to request a restore of these sources and tags; None when there are none."""
    if not ids and not tags:
        return None
    link = restore_link(page, ids, tags)
    return RestoreAdvice(
        link=link,
        source_count=len(ids),
        command=restore_command(ids, tags, notify),
        attached=link.source_count < len(ids) if link else len(ids) + len(tags) > _COMMAND_IDS,
    )


def restore_command(ids: Sequence[str], tags: Sequence[str], notify: Sequence[str], reason: str = "") -> str:
    """Return the shell command that restores these sources and tags, free of invisible characters."""
    options = [word for tag in tags for word in ("--tag", tag)]
    options += [word for address in notify or ["you@example.com"] for word in ("--notify", address)]
    options += ["--reason", reason] if reason else []
    # What begins with a hyphen would be taken for an option.
    after = ["--", *ids] if any(source_id.startswith("-") for source_id in ids) else []
    words = [*options, *after] if after else [*ids, *options]
    return " ".join([_word(_program()), "restore", *map(_word, words)])


def hold_command(source_id: str) -> str:
    """Return the shell command that holds a source, free of invisible characters."""
    options = ["--reason", "why it is needed", *(["--"] if source_id.startswith("-") else [])]
    words = [*options, source_id] if len(options) > 2 else [source_id, *options]
    return " ".join([_word(_program()), "hold", *map(_word, words)])


def _program() -> str:
    """Return the program's name, or the path it was called by where a shell would not find it by its name."""
    called = sys.argv[0]
    found = shutil.which("perennial")
    if Path(called).name != "perennial" or (found and Path(called).exists() and Path(found).samefile(called)):
        return "perennial"
    return called


def _word(text: str) -> str:
    """Quote one word for a shell; invisible characters are escaped so that bash and zsh read them."""
    if text.isprintable():
        return shlex.quote(text)
    escaped = "".join(char if char.isprintable() else _escaped(char) for char in text.replace("\\", "\\\\"))
    return "$'" + escaped.replace("'", "\\'") + "'"


def _escaped(char: str) -> str:
    # Byte by byte: how a shell reads the number of a character depends on its locale.
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))
