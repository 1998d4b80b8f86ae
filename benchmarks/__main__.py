"""Run the benchmarks, each in a process of its own, and print one table.

A benchmark is a module `benchmarks/<name>.py` with `run() -> list[dict]`. Each dict is one row of the table:
`name`, `ours_seconds` and `other_seconds` (medians of the same run; None where there is no other side), `ratio`
(other / ours unless `detail` says otherwise, or None), `target` (text) and `detail` (text). It may also have
`ours_cpu_seconds` and `other_cpu_seconds`, medians of the processor time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """List the modules beside this one that have a `run` function."""
    found = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))
    return [name for name in found if "\ndef run(" in (FOLDER / f"{name}.py").read_text(encoding="utf-8")]


def measure(name: str) -> list[dict[str, Any]] | None:
    """Run one benchmark in a fresh process, so that no other one's memory or imports weigh on it."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks", "--only", name, "--result", str(result)]
        if subprocess.run(command, cwd=FOLDER.parent, check=False).returncode != 0:
            return None
        return json.loads(result.read_text(encoding="utf-8"))


def table(results: dict[str, list[dict[str, Any]] | None]) -> Table:
    """Lay out medians and ratios; a benchmark that failed keeps a row."""
    printed = Table(title="Medians and ratios, both sides of each row in the same run")
    numbers = ("ours", "its CPU", "other", "its CPU", "ratio")
    for heading in ("benchmark", *numbers, "target", "detail"):
        printed.add_column(heading, justify="right" if heading in numbers else "left")
    for name, rows in results.items():
        if rows is None:
            printed.add_row(name, "failed", "", "", "", "", "", "its error is printed above")
        for row in rows or []:
            printed.add_row(*_cells(row))
    return printed


def _cells(row: dict[str, Any]) -> list[str]:
    keys = ("ours_seconds", "ours_cpu_seconds", "other_seconds", "other_cpu_seconds")
    seconds = [_number(row.get(key), " s") for key in keys]
    return [
        escape(str(row["name"])),
        *seconds,
        _number(row["ratio"], "x"),
        escape(row["target"]),
        escape(row["detail"]),
    ]


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.3g}{unit}" if value < 100 else f"{value:,.0f}{unit}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Run the benchmarks and print one table.")
    parser.add_argument("--only", choices=names(), metavar="NAME", help=f"one of: {', '.join(names())}")
    parser.add_argument("--result", type=Path, help="run --only NAME in this process and write its rows here, as JSON")
    arguments = parser.parse_args()
    if arguments.result:
        rows = import_module(f"benchmarks.{arguments.only}").run()
        arguments.result.write_text(json.dumps(rows), encoding="utf-8")
        return 0
    chosen = [arguments.only] if arguments.only else names()
    if not chosen:
        parser.error(f"{FOLDER} has no module with a run() function")
    results = {name: measure(name) for name in chosen}
    Console(width=None if sys.stdout.isatty() else 160).print(table(results))
    return 1 if None in results.values() else 0


if __name__ == "__main__":
    sys.exit(main())
