"""The list of all places is complete: tables of the contract, operation documents, files below HOME."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from perennial.erase.places import (
    IMPERSONAL_FILES,
    IMPERSONAL_TABLES,
    IMPERSONAL_TOPICS,
    PERSONAL_FILES,
    PERSONAL_TABLES,
    PERSONAL_TOPICS,
    PLACES,
)
from perennial.exports.user_data import UserDataRequest, write_user_data
from perennial.moves import Run, expire_sources
from perennial.tables import TABLES
from perennial.warehouse import Warehouse
from tests import PROJECT_ROOT
from tests.currents.landing import OPEN, event, land_json, load
from tests.workspace import PlatformWorkspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
# Columns that only a table with rows of people has.
OF_PEOPLE = {"user_id", "external_user_id", "email", "phone", "first_name", "last_name", "custom_attributes", "payload"}
METHODS = {"put", "find", "documents", "remove"}


def test_every_table_says_whether_it_holds_rows_of_people():
    assert not PERSONAL_TABLES.keys() & IMPERSONAL_TABLES.keys()
    assert {table.name for table in TABLES} == PERSONAL_TABLES.keys() | IMPERSONAL_TABLES.keys()
    suspicious = {table.name for table in TABLES if OF_PEOPLE & {column.name for column in table.columns}}
    assert suspicious == PERSONAL_TABLES.keys()


def test_every_topic_of_operation_documents_says_whether_it_holds_something_of_people():
    topics = set(_topics())
    # Where the code has one more, say in `erase/places.py` what its documents hold of people.
    assert topics <= PERSONAL_TOPICS.keys() | IMPERSONAL_TOPICS.keys()
    assert len(topics) > 15
    assert not PERSONAL_TOPICS.keys() & IMPERSONAL_TOPICS.keys()


def _topics() -> Iterator[str]:
    """Find the directories that the code writes to below the operations' address."""
    for path in sorted((PROJECT_ROOT / "include" / "perennial").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = dict(_constants(tree))
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in METHODS
                and node.args
            ):
                if "OperationStore" in ast.unparse(node.func.value) or ast.unparse(node.func.value) == "store":
                    yield from _first(node.args[0], constants)
            elif isinstance(node, ast.JoinedStr) and "operations_uri()" in ast.unparse(node.values[0]):
                yield from _second(node.values[1:], constants)


def _is_of_a_store(node: ast.Call) -> bool:
    function = node.func
    if not isinstance(function, ast.Attribute) or function.attr not in METHODS or not node.args:
        return False
    return "OperationStore" in ast.unparse(function.value) or ast.unparse(function.value) == "store"


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets = node.targets[0].elts if isinstance(node.targets[0], ast.Tuple) else node.targets
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            for target, value in zip(targets, values, strict=False):
                if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield target.id, value.value


def _first(node: ast.expr, constants: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        yield str(node.value).partition("/")[0]
    elif isinstance(node, ast.Name) and node.id in constants:
        yield constants[node.id]
    elif isinstance(node, ast.JoinedStr):
        yield from _first(node.values[0], constants)


def _second(values: list[ast.expr], constants: dict[str, str]) -> Iterator[str]:
    text = str(values[0].value).strip("/") if values and isinstance(values[0], ast.Constant) else ""
    if text:
        yield text.partition("/")[0]
    elif len(values) > 1 and isinstance(values[1], ast.FormattedValue):
        yield from _first(values[1].value, constants)


def test_every_file_below_home_belongs_to_a_place(local_warehouse: Warehouse):
    home, root = local_warehouse.settings.below_home(), local_warehouse.operations_uri().removeprefix("file://")
    _live(local_warehouse)
    files = [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()]
    assert [file for file in files if not file.startswith((*PERSONAL_FILES, *IMPERSONAL_FILES))] == []
    topics = {path.relative_to(root).parts[0] for path in Path(root).rglob("*") if path.is_file()}
    assert topics <= PERSONAL_TOPICS.keys() | IMPERSONAL_TOPICS.keys()
    assert {"landing/", "exports/", "archive/", "warehouse/"} <= {file.partition("/")[0] + "/" for file in files}
    assert {"moves", "heads"} <= topics
    # A place sees to each kind of file that may hold something, but for the tables and the requests.
    named = {*PERSONAL_FILES.values(), *PERSONAL_TOPICS.values()} - {"tables", "requests to erase people"}
    assert named <= {place.name for place in PLACES}


def _live(warehouse: Warehouse) -> None:
    """A life cycle: a sync, a load, an expiry, an export."""
    workspace = PlatformWorkspace(warehouse)
    workspace.source("a")
    workspace.source("running", "active")
    workspace.sync()
    sources = ("a", "running")
    events = [event(n, campaign_id=source, id=f"{source}{n}") for n in range(9) for source in sources]
    land_json(warehouse.settings, OPEN, [*events, "{"])
    load(warehouse)
    expire_sources(warehouse, Run("r1", NOW))
    write_user_data(warehouse, UserDataRequest(source_id="running"), "r2", NOW)
