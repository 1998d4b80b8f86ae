"""What is cited is there, and no text that a person reads cites a rule by its number."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from click import Command
from scripts.check_citations import CITATION, main
from typer.main import get_command
from typer.testing import CliRunner

from perennial.cli import app
from tests import PROJECT_ROOT

PACKAGE = PROJECT_ROOT / "include" / "perennial"
# What it says becomes a page of docs/reference, which may cite.
DOCUMENTATION = "tables.py"
# Put together here, so that this file cites nothing that is not there.
SPEC = "spec" + "/"


# --- the check ---------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in which everything that is cited is there."""
    for path, text in {
        "docs/rules.md": "# Rules\n\n## Words\n\n### R1: What is active stays\n\nSee [words](#words).\n",
        "docs/guarantees.md": "### M1: A name\n\n### M2: A step\n\nSee [R1](rules.md#r1-what-is-active-stays).\n",
        "docs/adr/0003-commits.md": "# 3. Commits\n",
        f"{SPEC}rules.md": "# What was asked for\n",
        "docs/code.py": f"# R1, M1-M2, ADR 3, ../{SPEC}rules.md, {SPEC}rules.md\ndef test_r1_m2_holds(): 0xR9, aR9, 'bM9c'\n",
        "icon.svg": "<path d='M7 11c-3'/>",
        "notebook.ipynb": r'"<path d=\"M7 11c-3 M8 0\"/>"',
        ".tools/other.py": "# R9\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "picture.png").write_bytes(b"\x89 R9 ")
    return tmp_path


def test_what_is_there_may_be_cited(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (main(project), capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize(
    ("path", "text", "problem"),
    [
        ("a.py", "'''What R1 and R{0} ask for.'''", "R9 has no heading in docs/rules.md."),
        ("a.sql", "-- M1-M{0}", "M9 has no heading in docs/guarantees.md."),
        ("test_a.py", "def test_r1_r{0}_keeps(): ...", "R9 has no heading in docs/rules.md."),
        (".ci/run", "# as ADR {0} says", "ADR 9 is not a file in docs/adr."),
        ("a.md", f"as {SPEC}filters.md says", f"{SPEC}filters.md is not in the repository."),
        ("a.md", f"as in `../shared/{SPEC}rules.md`", f"../shared/{SPEC}rules.md is not in the repository."),
        ("docs/a.md", "[R1](rules.md#r1-what-was)", "rules.md has no heading #r1-what-was."),
        ("a.md", "[below](#words)", "a.md has no heading #words."),
    ],
    ids=["rule", "end of a range", "name of a test", "decision", "specification", "elsewhere", "link", "same page"],
)
def test_what_is_not_there_is_named_with_its_line(
    project: Path, path: str, text: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / path).parent.mkdir(exist_ok=True)
    (project / path).write_text(f"\n{text.format(9)}\n")

    assert main(project) == 1
    assert capsys.readouterr().err == f"{path}:2: {problem}\n"


# --- what a person reads -----------------------------------------------------------------------------------------


def citing(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if CITATION.search(line)]


def commands(command: Command, name: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield name
    for part, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*name, part))


def strings(path: Path, docstrings: bool) -> Iterator[str]:
    """The texts of a module, with those that only describe the code, or without."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    describing = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and (docstrings or id(node) not in describing)
        ):
            yield node.value


def test_no_help_cites_a_rule_by_its_number() -> None:
    names = list(commands(get_command(app)))
    assert ("restore",) in names
    helps = [CliRunner().invoke(app, [*name, "--help"]).output for name in names]
    assert all("Usage" in said for said in helps)
    assert [line for said in helps for line in citing(said)] == []


def test_no_string_of_the_code_cites_a_rule_by_its_number() -> None:
    """Errors among them, and texts of pages and e-mails that are put together in the code."""
    modules = [path for path in PACKAGE.parent.rglob("*.py") if path.name != DOCUMENTATION]
    assert modules
    assert [(path.name, said) for path in modules for said in strings(path, docstrings=False) if citing(said)] == []


def test_no_text_of_a_dag_cites_a_rule_by_its_number() -> None:
    """Airflow shows the docstrings of a DAG file and of its tasks, and the descriptions of params."""
    files = [*(PROJECT_ROOT / "dags").glob("*.py"), *(PROJECT_ROOT / "plugins").glob("*.py")]
    assert len(files) > 1
    assert [(path.name, said) for path in files for said in strings(path, docstrings=True) if citing(said)] == []


def test_no_template_or_script_of_a_page_or_an_email_cites_a_rule_by_its_number() -> None:
    folders = ("templates", "web/templates", "web/static")
    files = [path for folder in folders for path in (PACKAGE / folder).iterdir() if path.suffix != ".svg"]
    assert {".j2", ".js"} <= {path.suffix for path in files}
    assert [(path.name, line) for path in files for line in citing(path.read_text(encoding="utf-8"))] == []


def test_no_value_of_a_statement_cites_a_rule_by_its_number() -> None:
    """Reasons of decisions are put together in SQL; comments may cite."""
    files = list((PROJECT_ROOT / "include" / "sql").rglob("*.sql"))
    assert files
    said = [(path.name, line) for path in files for line in citing(path.read_text(encoding="utf-8"))]
    assert [(name, line) for name, line in said if CITATION.search(line.partition("--")[0])] == []
