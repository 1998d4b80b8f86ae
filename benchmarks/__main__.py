"""Run the benchmarks, each in a process of its own, and print one table.

A benchmark is a module or package `benchmarks/<name>` with `run() -> list[Figure]`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from rich.console import Console

from benchmarks.figures import Figure, table

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """List the modules and packages beside this module that have a `run` function."""
    files = {path.stem: path for path in FOLDER.glob("[!_]*.py")}
    files |= {path.parent.name: path for path in FOLDER.glob("*/__init__.py")}
    return sorted(name for name, path in files.items() if "\ndef run(" in path.read_text(encoding="utf-8"))


def measure(name: str) -> list[Figure] | None:
    """Run one benchmark in a fresh process, so that no other one's memory or imports weigh on it."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks", "--only", name, "--result", str(result)]
        if subprocess.run(command, cwd=FOLDER.parent, check=False).returncode != 0:
            return None
        return [Figure.from_json(row) for row in json.loads(result.read_text(encoding="utf-8"))]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Run the benchmarks and print one table.")
    parser.add_argument("--only", choices=names(), metavar="NAME", help=f"one of: {', '.join(names())}")
    parser.add_argument("--result", type=Path, help="run --only NAME in this process and write its rows here, as JSON")
    arguments = parser.parse_args()
    if arguments.result:
        figures = import_module(f"benchmarks.{arguments.only}").run()
        arguments.result.write_text(json.dumps([asdict(figure) for figure in figures]), encoding="utf-8")
        return 0
    chosen = [arguments.only] if arguments.only else names()
    if not chosen:
        parser.error(f"{FOLDER} has no module with a run() function")
    results = {name: measure(name) for name in chosen}
    Console(width=None if sys.stdout.isatty() else 160).print(table(results))
    return 1 if None in results.values() else 0


if __name__ == "__main__":
    sys.exit(main())
