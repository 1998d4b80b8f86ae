"""The reference pages of `docs/reference/` and the tables of other pages of `docs/`, written from the code.

`python -m scripts.reference [--check]`
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

from scripts.json_schema import definition_schema
from scripts.sizing import tables as sizing_tables

from perennial.audiences.filters import FILTERS, Filter, FilterGroup
from perennial.cost import read_prices
from perennial.currents.fields import EXPECTED, FIELD_MEANINGS, FIELDS
from perennial.currents.landing import AVRO_ENDINGS, JSON_ENDINGS, PASSED_OVER
from perennial.metrics import METRICS
from perennial.platform.columns import PRIMARY_KEYS
from perennial.platform.conversions import ACCEPTED
from perennial.settings import DEFAULTS, PREFIX, Settings
from perennial.statements import SQL_ROOT, statement
from perennial.tables import SYNCED, TABLES, VIEWS, Table

PROJECT_ROOT = Path(__file__).parents[1]
FOLDER = PROJECT_ROOT / "docs" / "reference"
_NOTICE = "<!-- Written by `make docs` from the code; edit the code, not this page. -->\n"


def pages() -> dict[str, str]:
    """Return the text of every reference page by its file name."""
    return {
        "settings.md": settings_page(),
        "tables.md": tables_page(),
        "filters.md": filters_page(),
        "audience.schema.json": json.dumps(definition_schema(), indent=2) + "\n",
        **{f"../{name}": write(page) for name, write in _FILLED.items() if (page := FOLDER.parent / name).exists()},
    }


def layout_page(page: Path) -> str:
    """Return the page about the layout of tables with every table in it computed anew; its words stay."""
    return _filled(page, sizing_tables(read_prices()))


def data_page(page: Path) -> str:
    """Return the page about files and tables of one's own with every table in it as the code has it; its words stay."""
    return _filled(page, {"files": _landing_files(), "fields": _fields(), "event types": _event_types()} | _platform())


def monitoring_page(page: Path) -> str:
    """Return the page about metrics with the table of them as the code has it; its words stay."""
    lines = [f"| `{each.prometheus}` | {each.kind} | {each.unit} | {each.meaning} |" for each in METRICS.values()]
    return _filled(page, {"metrics": "\n".join(["| metric | kind | unit | meaning |", "|---|---|---|---|", *lines])})


_FILLED = {"layout.md": layout_page, "monitoring.md": monitoring_page, "your-data.md": data_page}


def _filled(page: Path, tables: Mapping[str, str]) -> str:
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- {name}: written by `make docs` -->\n", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            raise ValueError(f"{page} has no place for the table {name!r}: a line {begin.strip()!r}, then {end!r}.")
        text = f"{before}{begin}{table}\n{end}{after}"
    return text


def _landing_files() -> str:
    rows = [("Avro object containers", AVRO_ENDINGS), ("JSON lines", JSON_ENDINGS), ("passed over", PASSED_OVER)]
    lines = [f"| {kind} | {', '.join(f'`{ending}`' for ending in endings)} |" for kind, endings in rows]
    return "\n".join(["| files | names that end in |", "|---|---|", *lines])


def _fields() -> str:
    lines = [f"| `{name}` | {EXPECTED[kind]} | {FIELD_MEANINGS[name]} |" for name, kind in FIELDS.items()]
    return "\n".join(["| field | value | meaning |", "|---|---|---|", *lines])


def _event_types() -> str:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(statement("load/create_event_types"))
        found = connection.execute("SELECT event_type, interaction, channel, measure FROM event_types").fetchall()
    lines = [f"| `{name}` | {' | '.join(value or '' for value in values)} |" for name, *values in found]
    return "\n".join(["| event type | interaction | channel | measure |", "|---|---|---|---|", *lines])


def _platform() -> dict[str, str]:
    """Describe what each SELECT of the platform has to return, by the name of its table."""
    found = {}
    for table in SYNCED:
        key = ", ".join(f"`{name}`" for name in PRIMARY_KEYS[table.name])
        lines = [f"{table.doc} Unique: {key}.", "", "| column | value | meaning |", "|---|---|---|"]
        for column in table.columns:
            name = f"`{column.name}`{'*' * column.required}"
            lines.append(f"| {name} | {ACCEPTED[column.type][1]} | {column.doc} |")
        found[table.name] = "\n".join(lines)
    return found


def settings_page() -> str:
    """Describe every environment variable, from the docstring of `Settings`."""
    documented = _attributes(Settings)
    rows = []
    for field in fields(Settings):
        variable = _variable(field.name)
        default = DEFAULTS.get(variable, "`.perennial/` in a checkout, none elsewhere")
        shown = default if variable not in DEFAULTS else f"`{default.format(home='HOME')}`" if default else "none"
        rows.append(f"| `{PREFIX}{variable}` | {shown} | {documented[field.name]} |")
    head = [
        _NOTICE,
        "# Settings\n",
        "Read from the environment. `HOME` in a default is the value of `PERENNIAL_HOME`.\n",
    ]
    return "\n".join([*head, "| variable | default | meaning |", "|---|---|---|", *rows, ""])


def tables_page() -> str:
    """Describe every table and view of the warehouse."""
    lines = [
        _NOTICE,
        "# Tables\n",
        "Apache Iceberg tables, format version 2, in the namespace `messaging`. All times are UTC; every id is an",
        "opaque string. A column marked * is never null. Field ids follow the order of the columns.\n",
    ]
    for table in TABLES:
        lines += _table_section(table)
    views = {path.stem.removeprefix("create_"): path for path in sorted((SQL_ROOT / "views").glob("create_*.sql"))}
    lines.append("# Views\n")
    for view in sorted(VIEWS, key=lambda view: view.name):
        lines += [f"## `{view.name}`\n", _sql_header(views.pop(view.name))]
        lines.append(f"Its columns mean what they mean in `{view.like.name}`{', except:' if view.own else '.'}")
        if view.own:
            rows = [f"| `{name}` | {doc} |" for name, doc in view.own.items()]
            lines += ["\n| column | meaning |", "|---|---|", *rows]
        lines.append("")
    lines += ["# Internal views\n", "What the views are made of; in a DuckDB session they are in schema `internal`.\n"]
    for name, path in views.items():
        lines += [f"## `{name}`\n", _sql_header(path), ""]
    return "\n".join(lines)


def filters_page() -> str:
    """Describe every audience filter, from the catalogue."""
    lines = [
        _NOTICE,
        "# Filters\n",
        'An audience is JSON: `{"and": [node, …]}`, `{"or": [node, …]}`, `{"not": node}` or one of the filters below.',
        "[audience.schema.json](audience.schema.json) is the same for editors. All parameters are required, but of",
        "`at` and `days_ago` just one is given.\n",
    ]
    for group, title in _GROUPS.items():
        lines += [f"## {title}\n", "| filter | parameters |", "|---|---|"]
        lines += [_filter_row(declared) for declared in FILTERS.values() if declared.group is group]
        lines.append("")
    return "\n".join(lines)


_GROUPS = {
    FilterGroup.SOURCE: "Source-specific: they keep their source (R4), and leave out expired data (R14)",
    FilterGroup.TAG: "By tag: they keep nothing (R5), and leave out expired data (R14)",
    FilterGroup.SEGMENT: "Segments",
    FilterGroup.OTHER: "Without interaction data: the same answer before and after an expiry (R15)",
}


def _filter_row(declared: Filter) -> str:
    described = [
        f"`{p.name}`: {p.doc}"
        + (f" One of {', '.join(f'`{value}`' for value in p.allowed)}." if p.allowed else "")
        + (f" Only with `{p.only_with[0]}` {' or '.join(f'`{v}`' for v in p.only_with[1])}." if p.only_with else "")
        + (" Optional." if p.optional else "")
        for p in declared.parameters
    ]
    if declared.negated_within == "entrants":
        described.append("A `not` directly around it means those who entered the Canvas and are not in it.")
    return f"| `{declared.name}` | {'<br>'.join(described) or 'none'} |"


def stale_pages() -> list[Path]:
    """List the pages whose file differs from what the code says."""
    return [
        FOLDER / name
        for name, text in pages().items()
        if not (FOLDER / name).exists() or (FOLDER / name).read_text(encoding="utf-8") != text
    ]


def write_pages() -> None:
    """Write every page that differs."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        if FOLDER / name in stale_pages():
            (FOLDER / name).write_text(text, encoding="utf-8")


def _table_section(table: Table) -> Iterator[str]:
    yield f"## `{table.name}`\n"
    yield table.doc
    if table in SYNCED:
        yield "Replaced whole by `sync_sources`."
    if table.partition_by:
        yield f"Partitioned by `{table.partition_by}`."
    if table.sort_by:
        yield f"Rows of a file are sorted by {', '.join(f'`{column}`' for column in table.sort_by)}."
    yield "\n| column | type | meaning |\n|---|---|---|"
    for column in table.columns:
        yield f"| `{column.name}`{'*' if column.required else ''} | `{column.type}` | {column.doc} |"
    yield ""


def _variable(field_name: str) -> str:
    """Find the variable of a field; the variable's name may end in a unit."""
    name = field_name.upper()
    with_unit = (variable for variable in DEFAULTS if variable.startswith(f"{name}_"))
    return name if name in DEFAULTS else next(with_unit, name)


def _attributes(documented: type) -> dict[str, str]:
    """Read the `Attributes:` section of a docstring."""
    _, _, section = (inspect.getdoc(documented) or "").partition("Attributes:\n")
    entries = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", section, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _sql_header(path: Path) -> str:
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").strip())
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` only say which are stale.

    Returns:
        The exit status: 1 where a check finds a stale page.
    """
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m scripts.reference [--check]\n")
        return 2
    if not arguments:
        write_pages()
    for path in stale_pages():
        sys.stderr.write(f"{path.resolve().relative_to(PROJECT_ROOT)} is stale; run `make docs` and commit it.\n")
    return 1 if stale_pages() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
