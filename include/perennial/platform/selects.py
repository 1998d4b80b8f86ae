"""The SELECTs that read the platform: those of the package, each replaced by a file of PERENNIAL_PLATFORM_SQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from perennial.errors import TerminalRequestError, TerminalSettingError
from perennial.platform.columns import PRIMARY_KEYS, TABLES_OF_SOURCES
from perennial.platform.conversions import ACCEPTED
from perennial.refusals import nearest_name, not_known
from perennial.settings import Settings
from perennial.statements import statement
from perennial.tables import SYNCED, Table

FILES = {f"select_{table.name}.sql": table for table in SYNCED}
"""The files in the folder, each with the table that it fills."""


@dataclass(frozen=True)
class PlatformSelect:
    """The statement that reads one synced table.

    Attributes:
        sql: Its text.
        place: Where a person edits it, as written in a sentence.
    """

    sql: str
    place: str


def read_selects(settings: Settings) -> dict[str, PlatformSelect]:
    """Return the statement of every synced table by the table's name.

    Raises:
        TerminalSettingError: PERENNIAL_PLATFORM_SQL is not a folder, or has a file that no sync would read.
    """
    folder = settings.platform_sql
    own = {} if folder is None else _own_files(folder)
    return {
        table.name: PlatformSelect(_text(own[name]), str(own[name])) if name in own else _packaged(name, table)
        for name, table in FILES.items()
    }


def write_selects(folder: Path) -> list[Path]:
    """Write the package's SELECTs to a folder to be edited, each with the expected columns.

    Returns:
        The files that were not there yet.

    Raises:
        TerminalRequestError: A file exists and differs, and nothing was written; or the folder cannot be written.
    """
    texts = {folder / name: _described_select(table) for name, table in FILES.items()}
    there = [path for path in texts if path.exists()]
    if differing := [path for path in there if not path.is_file() or path.read_bytes() != texts[path].encode()]:
        raise TerminalRequestError(
            f"{', '.join(map(str, differing))} {'exists' if len(differing) == 1 else 'exist'} already and would be "
            "overwritten, so nothing was written. Name a new folder, and copy what you need from there."
        )
    missing = [path for path in texts if path not in there]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            with path.open("x", encoding="utf-8") as file:
                file.write(texts[path])
    except OSError as error:
        raise TerminalRequestError(f"{folder} cannot be written ({error.strerror}); name another folder.") from None
    return missing


def _described_select(table: Table) -> str:
    """Return the package's SELECT of a table with the expected columns in its header comment."""
    lines = statement(f"platform/select_{table.name}").splitlines()
    head = next(number for number, line in enumerate(lines) if not line.startswith("--"))
    width = max(len(column.name) for column in table.columns) + 1
    kinds = [ACCEPTED[column.type][0] for column in table.columns]
    columns = [
        f"--   {column.name + '*' * column.required:{width}} {kind:{max(map(len, kinds))}} {column.doc}"
        for column, kind in zip(table.columns, kinds, strict=True)
    ]
    accepted = [f"-- {kind}: {values}." for kind, values in ACCEPTED.values() if kind in kinds]
    return "\n".join([*lines[:head], *_rules(table), *columns, *accepted, *lines[head:], ""])


def _rules(table: Table) -> Iterator[str]:
    yield f"-- Unique: {', '.join(PRIMARY_KEYS[table.name])}. Ids and tags have no control characters (line breaks)."
    if table.name in TABLES_OF_SOURCES:
        yield "-- Every source_id is one of those that select_sources.sql returns."
    yield "-- Columns; those with * are never null, and other columns are ignored:"


def _own_files(folder: Path) -> dict[str, Path]:
    """List the files of a folder by name, except those that begin with a dot, of file systems and editors."""
    try:
        found = {path.name: path for path in sorted(folder.iterdir()) if not path.name.startswith(".")}
    except OSError as error:
        raise TerminalSettingError(
            f"PERENNIAL_PLATFORM_SQL is {str(folder)!r}, which cannot be read as a folder ({error.strerror}); "
            f"`perennial init --platform {folder}` writes one, or unset it."
        ) from None
    for name, path in found.items():
        if name not in FILES:
            unknown = not_known(name, "file that a sync reads", nearest_name(name, FILES), f"use {', '.join(FILES)}.")
            raise TerminalSettingError(f"{unknown} Rename {path}, or move it out of PERENNIAL_PLATFORM_SQL.")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise TerminalSettingError(
            f"{path} cannot be read ({error}); make it a text file in UTF-8 with one SELECT, or remove it."
        ) from None


def _packaged(name: str, table: Table) -> PlatformSelect:
    hint = "`perennial init --platform FOLDER` writes it, PERENNIAL_PLATFORM_SQL names the folder"
    return PlatformSelect(statement(f"platform/select_{table.name}"), f"a {name} of your own ({hint})")
