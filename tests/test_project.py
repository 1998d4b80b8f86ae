"""The project itself: its layout, its files, its locked requirements, its pages."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from scripts import reference, use_wheel

from perennial.settings import DEFAULTS, Settings
from tests import PROJECT_ROOT

FOLDERS = (".ci", "benchmarks", "dags", "docs", "include", "requirements", "scripts", "tests")
# Put together here, so that this file does not hold what it looks for.
MACHINE_PATHS = [f"/{folder}/" for folder in ("work", "root", "home", "Users", "opt", "mnt")]


def written_files() -> Iterator[Path]:
    """Every text file a person or a generator wrote."""
    top = (path for path in PROJECT_ROOT.iterdir() if path.is_file() and path.suffix not in (".lock", ".log"))
    # In a linked checkout `.git` is a file.
    yield from (path for path in top if path.name != ".git")
    for folder in FOLDERS:
        for path in (PROJECT_ROOT / folder).rglob("*"):
            generated = path.suffix == ".pyc" or any(part.endswith(".egg-info") for part in path.parts)
            if path.is_file() and not generated and path.suffix not in (".avro", ".png", ".xz"):
                yield path


def relative(path: Path) -> str:
    return path.relative_to(PROJECT_ROOT).as_posix()


PYTHON_FILES = [path for path in written_files() if path.suffix == ".py"]
PRODUCT_FILES = [path for path in PYTHON_FILES if relative(path).split("/")[0] in ("include", "dags")]
SQL_FILES = sorted((PROJECT_ROOT / "include" / "sql").rglob("*.sql"))
PAGES = [path for path in written_files() if path.suffix == ".md"]
ADRS = sorted((PROJECT_ROOT / "docs" / "adr").glob("*.md"))


# --- layout and size ---------------------------------------------------------------------------------------------


def test_the_page_adds_the_dags_as_the_wheel_is_tried():
    page = (PROJECT_ROOT / "docs" / "your-airflow.md").read_text(encoding="utf-8")
    written = re.findall(r"DAG_BUNDLE_CONFIG_LIST='([^']+)'", page)
    assert [json.loads(bundles) for bundles in written] == [use_wheel.BUNDLES]
    assert indent(use_wheel.DAG_FILE, "    ") in page


def test_every_dag_file_is_named_after_its_dag():
    for path in (PROJECT_ROOT / "dags").glob("[!_]*.py"):
        text = path.read_text(encoding="utf-8")
        assert f'dag_id=dag_id("{path.stem}")' in text, f"{path.name} defines no DAG {path.stem}"


def test_modules_have_a_docstring_and_at_most_400_lines():
    texts = {relative(path): path.read_text(encoding="utf-8") for path in PRODUCT_FILES}
    assert [name for name, text in texts.items() if not text.startswith('"""') or len(text.splitlines()) > 400] == []


def test_sql_files_are_short_and_say_what_they_are_for():
    texts = {path: path.read_text(encoding="utf-8") for path in SQL_FILES}
    # The comment says purpose, grain, binds, rules.
    assert [relative(path) for path, text in texts.items() if not text.startswith("-- ")] == []
    assert [relative(path) for path, text in texts.items() if len(text.splitlines()) > 60] == []
    # A file is called <verb>_<object>.sql.
    assert [relative(path) for path in texts if not re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", path.stem)] == []


def test_every_sql_statement_is_used():
    code = "\n".join(module.read_text(encoding="utf-8") for module in PRODUCT_FILES)
    # A name may be put together from a topic and a fixed list: `f"views/create_{view}"`, `f"platform/select_{table}"`.
    begun = set(re.findall(r'f"([a-z]+/[a-z]+_)\{', code))
    names = [path.relative_to(PROJECT_ROOT / "include" / "sql").with_suffix("").as_posix() for path in SQL_FILES]
    assert [name for name in names if f'"{name}"' not in code and name[: name.index("_") + 1] not in begun] == []


# --- what no file may hold ---------------------------------------------------------------------------------------


def test_no_file_names_a_machine_or_leaves_anything_to_do():
    forbidden = re.compile(rf"(?<![\w.])({'|'.join(MACHINE_PATHS)})|" + r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    found = {path: forbidden.search(path.read_text(encoding="utf-8")) for path in written_files()}
    assert [f"{relative(path)}: {match[0]}" for path, match in found.items() if match] == []


# --- rules -------------------------------------------------------------------------------------------------------


# The number of each rule, and the first line of its text.
RULES = re.findall(
    r"^#+ (R\d+): .+\n\n(.+)", (PROJECT_ROOT / "docs" / "rules.md").read_text(encoding="utf-8"), flags=re.MULTILINE
)


def test_rules_are_numbered_without_gaps():
    assert [rule for rule, _ in RULES] == [f"R{number}" for number in range(1, 25)]


def test_each_rule_is_named_by_a_test_or_marked_as_not_built():
    about_citations = (Path(__file__).name, "test_citations.py")
    tests = [path for path in PYTHON_FILES if relative(path).startswith("tests/") and path.name not in about_citations]
    text = "\n".join(path.read_text(encoding="utf-8") for path in tests)
    named = {rule for rule, _ in RULES if re.search(rf"\b{rule}\b|def test_(\w+_)?{rule.lower()}_", text)}
    assert named == {rule for rule, begins in RULES if not begins.startswith("**Not built yet.**")}


# --- requirements ------------------------------------------------------------------------------------------------


# The extras that `make demo` installs.
LAPTOP = ("postgres", "s3", "sample", "spark", "trino")


def locked(name: str) -> dict[str, set[str]]:
    """Read the versions that a requirements file pins, by project; several where markers choose one."""
    text = (PROJECT_ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    versions: dict[str, set[str]] = {}
    for project, version in re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", text, flags=re.MULTILINE):
        versions.setdefault(canonicalize_name(project), set()).add(version)
    return versions


def declared() -> dict[str, list[Requirement]]:
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    runtime = [
        *project["project"]["dependencies"],
        *(text for extra in LAPTOP for text in project["project"]["optional-dependencies"][extra]),
    ]
    dev = [*runtime, *project["dependency-groups"]["dev"]]
    return {"runtime": [Requirement(text) for text in runtime], "dev": [Requirement(text) for text in dev]}


@pytest.mark.parametrize("name", ["runtime", "dev"])
def test_every_declared_dependency_is_locked_at_a_version_it_allows(name: str):
    versions = locked(name)
    for requirement in declared()[name]:
        pinned = versions.get(canonicalize_name(requirement.name), set())
        assert pinned, f"{requirement} is not in requirements/{name}.txt; run `make lock`"
        assert all(requirement.specifier.contains(version) for version in pinned), f"{requirement}: locked at {pinned}"


def test_development_locks_the_versions_that_run():
    runtime, dev = locked("runtime"), locked("dev")
    assert {project: dev.get(project) for project in runtime} == runtime


@pytest.mark.parametrize("name", ["runtime", "dev", "tools"])
def test_locked_requirements_have_hashes_and_no_addresses(name: str):
    text = (PROJECT_ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "index-url" not in text
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert entries
    assert not [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry]


# --- pages -------------------------------------------------------------------------------------------------------


def test_reference_pages_say_what_the_code_says():
    assert reference.stale_pages() == []


def test_every_setting_is_on_its_page():
    page = reference.settings_page()
    assert page.count("| `PERENNIAL_") == len(DEFAULTS) + 1
    assert "None" not in [cell.strip() for cell in page.split("|")]
    assert "| `PERENNIAL_RETENTION_MONTHS` | `3` |" in page
    assert Settings.from_environment({}).retention_months == 3


def test_reference_check_refuses_unknown_options(capsys: pytest.CaptureFixture[str]):
    assert reference.main(["--chekc"]) == 2
    assert "usage" in capsys.readouterr().err


def test_reference_check_finds_and_rewrites_a_stale_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(reference, "FOLDER", tmp_path / "docs" / "reference")
    monkeypatch.setattr(reference, "PROJECT_ROOT", tmp_path)
    assert reference.main(["--check"]) == 1
    assert "docs/reference/tables.md is stale" in capsys.readouterr().err
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    assert (tmp_path / "docs" / "reference" / "tables.md").read_text(encoding="utf-8") == reference.tables_page()


def test_links_of_pages_lead_somewhere():
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        targets = re.findall(r'(?:\]\(|src="|srcset=")([^)"#\s]+)', text)
        dead = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
        assert not dead, relative(page)


def test_the_version_is_the_same_wherever_it_is_written():
    version = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    pages = [PROJECT_ROOT / "README.md", *(PROJECT_ROOT / "docs").glob("*.md"), *(PROJECT_ROOT / "deploy").rglob("*.*")]
    named = re.compile(
        r'(?:perennial_airflow-|example\.com/perennial:|Tag: "|^(?:v|appV)ersion: "?)(\d+(?:\.\d+)+)', re.MULTILINE
    )
    found = {relative(page): set(named.findall(page.read_text(encoding="utf-8"))) for page in pages}
    assert len([page for page, versions in found.items() if versions]) == 5
    assert not [page for page, versions in found.items() if versions - {version}]


def test_decision_records_are_numbered_without_gaps():
    assert [int(path.name[:4]) for path in ADRS] == list(range(1, len(ADRS) + 1))


def test_decision_records_have_their_four_parts():
    for path in ADRS:
        headings = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert headings == ["Status", "Context", "Decision", "Consequences"], relative(path)


def test_make_help_lists_every_target():
    text = (PROJECT_ROOT / "Makefile").read_text(encoding="utf-8")
    declared_targets = re.search(r"^\.PHONY: (.+)$", text, flags=re.MULTILINE)
    assert declared_targets
    documented = re.findall(r"^([a-z-]+):.*## ", text, flags=re.MULTILINE)
    assert sorted(documented) == sorted(declared_targets[1].split())
