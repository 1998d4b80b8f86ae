"""The platform's database, read and checked, on SQLite and on a real PostgreSQL: one contract suite over both."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.types import LongType
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from perennial.errors import TerminalMetadataError, TerminalSettingError, TransientError
from perennial.platform import database, read_metadata, sync_sources
from perennial.platform.check import check_platform
from perennial.platform.columns import arrow_schema
from perennial.settings import Settings
from perennial.statements import statement
from perennial.tables import SYNCED
from perennial.warehouse import Warehouse
from tests.kill import Point, run_and_kill
from tests.other_writers import add_columns

HOSTILE = ('it\'s "quoted"; DROP TABLE users; --', "a/b\\c d%20:x$y", "🦄 ünïcode", "x" * 500)
NESTED = {"and": [{"filter": "segment_membership", "segment_id": "s'1"}, {"not": {"or": []}}]}
TYPES = {
    "sqlite": {"string": "TEXT", "boolean": "BOOLEAN", "timestamptz": "TIMESTAMP", "list<string>": "TEXT"},
    "postgresql": {"string": "TEXT", "boolean": "BOOLEAN", "timestamptz": "TIMESTAMPTZ", "list<string>": "TEXT[]"},
}
NATIVE_JSON = {"definition", "custom_attributes"}


@dataclass(frozen=True)
class PlatformUnderTest:
    """A platform database with the contract's six tables and no constraint, so that tests can break it."""

    kind: str
    url: str

    def execute(self, sql: str, rows: list[dict[str, Any]] | None = None) -> list[tuple[Any, ...]]:
        engine = create_engine(self.url, poolclass=NullPool)
        with engine.begin() as connection:
            result = connection.execute(text(sql), rows or None)
            return [tuple(row) for row in result] if result.returns_rows else []

    def insert(self, table: str, **values: Any) -> None:
        typed = {name: self._bound(name, value) for name, value in values.items()}
        binds = ", ".join(f"CAST(:{name} AS JSONB)" if self._is_json(name) else f":{name}" for name in typed)
        self.execute(f"INSERT INTO {table} ({', '.join(typed)}) VALUES ({binds})", [typed])

    def _is_json(self, name: str) -> bool:
        return self.kind == "postgresql" and name in NATIVE_JSON

    def _bound(self, name: str, value: Any) -> Any:
        if isinstance(value, dict) or (isinstance(value, list) and (self.kind == "sqlite" or self._is_json(name))):
            return json.dumps(value, ensure_ascii=False)
        if isinstance(value, datetime) and self.kind == "sqlite":
            return value.isoformat(sep=" ")
        return value

    def create_tables(self) -> None:
        for table in SYNCED:
            columns = ", ".join(
                f"{column.name} {'JSONB' if self._is_json(column.name) else TYPES[self.kind][column.type]}"
                for column in table.columns
            )
            self.execute(f"CREATE TABLE {table.name} ({columns})")


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def blueprint(kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PlatformUnderTest:
    """A filled database that tests copy and leave alone."""
    filled = created_platform(kind, request, tmp_path_factory.mktemp("blueprint"))
    filled.create_tables()
    fill(filled)
    if kind == "postgresql":
        filled.execute("ALTER SCHEMA public RENAME TO blueprint")
        filled.execute("CREATE SCHEMA public")
    return filled


@pytest.fixture(scope="session")
def previous(
    kind: str,
    blueprint: PlatformUnderTest,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Warehouse:
    """A warehouse with the blueprint's metadata in place, for syncs that fail and so leave it alone."""
    home = tmp_path_factory.mktemp("previous")
    copied = created_platform(kind, request, home, template=blueprint)
    environment = {"PERENNIAL_HOME": str(home / "home"), "PERENNIAL_PLATFORM_URL": copied.url}
    warehouse = Warehouse(Settings.from_environment(environment))
    warehouse.create_tables()
    sync_sources(warehouse, "run-1")
    return warehouse


@pytest.fixture(scope="session")
def previous_rows(previous: Warehouse) -> dict[str, Counter[str]]:
    return rows_of(previous)


@pytest.fixture
def empty_platform(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> PlatformUnderTest:
    """A database without tables."""
    return created_platform(kind, request, tmp_path)


@pytest.fixture
def platform(
    kind: str, blueprint: PlatformUnderTest, request: pytest.FixtureRequest, tmp_path: Path
) -> PlatformUnderTest:
    """A database with a few believable and a few hostile rows in every table."""
    return created_platform(kind, request, tmp_path, template=blueprint)


def created_platform(
    kind: str, request: pytest.FixtureRequest, directory: Path, template: PlatformUnderTest | None = None
) -> PlatformUnderTest:
    if kind == "sqlite":
        path = directory / "platform.db"
        if template is None:
            path.touch()
        else:
            shutil.copy(template.url.removeprefix("sqlite:///"), path)
        return PlatformUnderTest(kind, f"sqlite:///{path}")
    created = PlatformUnderTest(kind, request.getfixturevalue("postgresql"))
    # A schema costs a fraction of the time and the files that a database does.
    created.execute("DROP SCHEMA public CASCADE")
    created.execute("CREATE SCHEMA public")
    for table in SYNCED if template is not None else ():
        created.execute(f"CREATE TABLE {table.name} AS TABLE blueprint.{table.name}")
    return created


@pytest.fixture
def synced(platform: PlatformUnderTest, settings: Settings) -> Warehouse:
    """A warehouse whose platform is the database of this test."""
    warehouse = Warehouse(replace(settings, platform_url=platform.url))
    warehouse.create_tables()
    return warehouse


def fill(platform: PlatformUnderTest) -> None:
    created = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    add = platform.insert
    add(
        "sources", source_id="cmp-spring", kind="campaign", name="Spring", status="stopped", created_at=created,
        stopped_at=created, last_sent_at=created, owner_email="mia@example.com", interaction_data_deleted_at=created,
    )  # fmt: skip
    add("sources", source_id="cnv-1", kind="canvas", name="Welcome", status="active", created_at=created)
    for source_id in HOSTILE:
        add("sources", source_id=source_id, kind="campaign", name=source_id, status="draft", created_at=created)
        add("source_tags", source_id=source_id, tag=source_id)
        add("audiences", owner_kind="campaign", owner_id=source_id, owner_status="active", part="audience",
            definition={"filter": "received_message_from_campaign", "campaign_id": source_id})  # fmt: skip
        add("users", user_id=source_id, first_name=source_id, invalid_phone=False, feature_flags=[source_id],
            custom_attributes={source_id: [source_id, 1, None]})  # fmt: skip
    add("source_tags", source_id="cmp-spring", tag="season")
    add("source_tags", source_id="cmp-spring", tag="sale")
    add("source_variants", variant_id="v-1", source_id="cmp-spring", name="A", is_control=False)
    add("source_variants", variant_id="v-2", source_id="cmp-spring", name="Control", is_control=True)
    add("canvas_steps", step_id="step-1", source_id="cnv-1", name="Hello")
    add("audiences", owner_kind="segment", owner_id="s'1", owner_name="Nested", owner_status="active",
        part="audience", definition=NESTED)  # fmt: skip
    add("users", user_id="u-1", external_user_id="ext-1", email="a@example.com", phone="+33123456789",
        first_name="Ann", last_name="Ng", country="FR", language="fr", time_zone="Europe/Paris", created_at=created,
        invalid_phone=True, feature_flags=["beta", "new, shiny"], custom_attributes={"loyalty": "gold"})  # fmt: skip
    add("users", user_id="u-2", invalid_phone=False, feature_flags=[])


def rows_of(warehouse: Warehouse) -> dict[str, Counter[str]]:
    """Return the multiset of rows of every synced table."""
    return {table.name: Counter(map(repr, warehouse.read(table.name).to_pylist())) for table in SYNCED}


def rows(warehouse: Warehouse, table: str, key: str) -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in warehouse.read(table).to_pylist()}


def test_every_column_arrives_with_the_type_of_the_contract(synced: Warehouse) -> None:
    outcome = sync_sources(synced, "run-1")

    instant = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    assert rows(synced, "sources", "source_id")["cmp-spring"] == {
        "source_id": "cmp-spring", "kind": "campaign", "name": "Spring", "status": "stopped", "created_at": instant,
        "stopped_at": instant, "last_sent_at": instant, "owner_email": "mia@example.com",
        "interaction_data_deleted_at": instant,
    }  # fmt: skip
    user = rows(synced, "users", "user_id")["u-1"]
    assert json.loads(user.pop("custom_attributes")) == {"loyalty": "gold"}
    assert user == {
        "user_id": "u-1", "external_user_id": "ext-1", "email": "a@example.com", "phone": "+33123456789",
        "first_name": "Ann", "last_name": "Ng", "country": "FR", "language": "fr", "time_zone": "Europe/Paris",
        "created_at": instant, "invalid_phone": True, "feature_flags": ["beta", "new, shiny"],
    }  # fmt: skip
    assert rows(synced, "users", "user_id")["u-2"]["feature_flags"] == []
    assert rows(synced, "source_variants", "variant_id")["v-2"]["is_control"] is True
    assert json.loads(rows(synced, "audiences", "owner_id")["s'1"]["definition"]) == NESTED
    assert dict(outcome.row_counts) == {
        "sources": 6, "source_tags": 6, "source_variants": 2, "canvas_steps": 1, "audiences": 5, "users": 6,
    }  # fmt: skip


def test_columns_that_somebody_added_are_null_and_one_that_wants_values_is_refused(
    synced: Warehouse, platform: PlatformUnderTest
) -> None:
    for table in SYNCED:
        add_columns(synced, table.name)
    sync_sources(synced, "run-1")
    assert all(row["point"] is None and row["select"] is None for row in synced.read("sources").to_pylist())
    before = rows_of(synced)

    platform.execute("UPDATE sources SET name = 'Changed' WHERE source_id = 'cmp-spring'")
    with synced.table("users").update_schema(allow_incompatible_changes=True) as update:
        update.add_column("theirs", LongType(), required=True)
    with pytest.raises(TerminalSettingError, match=r"Table users has column 'theirs', .* required long"):
        sync_sources(synced, "run-2")
    with synced.table("users").update_schema() as update:
        update.make_column_optional("theirs")
    assert rows_of(synced)["sources"] == before["sources"]
    sync_sources(synced, "run-3")
    assert rows(synced, "sources", "source_id")["cmp-spring"]["name"] == "Changed"


@pytest.mark.long(but="^sqlite$")
def test_hostile_ids_and_names_arrive_as_they_are(synced: Warehouse) -> None:
    sync_sources(synced, "run'; --/🦄")

    for table, key in (("sources", "source_id"), ("source_tags", "source_id"), ("users", "user_id")):
        assert set(HOSTILE) <= set(rows(synced, table, key))
    for source_id in HOSTILE:
        user = rows(synced, "users", "user_id")[source_id]
        assert user["feature_flags"] == [source_id]
        assert json.loads(user["custom_attributes"]) == {source_id: [source_id, 1, None]}


def test_tables_are_replaced_whole(synced: Warehouse, platform: PlatformUnderTest) -> None:
    sync_sources(synced, "run-1")
    platform.execute("DELETE FROM source_tags")
    platform.execute("UPDATE users SET first_name = 'Renamed' WHERE user_id = 'u-1'")
    platform.execute("DELETE FROM users WHERE user_id = 'u-2'")

    sync_sources(synced, "run-2")

    assert synced.read("source_tags").num_rows == 0
    users = rows(synced, "users", "user_id")
    assert set(users) == {"u-1", *HOSTILE}
    assert users["u-1"]["first_name"] == "Renamed"


def test_the_same_run_repeated_takes_what_the_platform_has_by_then(
    synced: Warehouse, platform: PlatformUnderTest
) -> None:
    sync_sources(synced, "run-1")
    platform.execute("UPDATE sources SET status = 'active' WHERE source_id = 'cmp-spring'")

    sync_sources(synced, "run-1")

    assert rows(synced, "sources", "source_id")["cmp-spring"]["status"] == "active"


def test_the_embedded_default_schema_syncs_on_both_databases(
    empty_platform: PlatformUnderTest, settings: Settings
) -> None:
    for command in statement("platform/create_platform").split(";\n"):
        empty_platform.execute(command)
    empty_platform.execute(
        "INSERT INTO users (user_id, created_at, invalid_phone, feature_flags, custom_attributes) "
        "VALUES ('u-1', '2026-01-02 03:04:05', false, '[\"beta\"]', '{\"a\": 1}')"
    )
    warehouse = Warehouse(replace(settings, platform_url=empty_platform.url))
    warehouse.create_tables()

    sync_sources(warehouse, "run-1")

    user = rows(warehouse, "users", "user_id")["u-1"]
    assert user["created_at"] == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (user["feature_flags"], user["custom_attributes"]) == (["beta"], '{"a": 1}')
    assert warehouse.read("sources").num_rows == 0


@pytest.mark.parametrize("table", SYNCED, ids=lambda table: table.name)
def test_columns_read_for_r7_are_those_of_the_warehouse(table: Any, warehouse: Warehouse) -> None:
    expected = warehouse.arrow_schema(table.name)
    assert [(field.name, field.type, field.nullable) for field in arrow_schema(table)] == [
        (field.name, field.type, field.nullable) for field in expected
    ]


# --- what fails a sync ------------------------------------------------------------------------------------------------

Break = Callable[[PlatformUnderTest], None]


def executed(sql: str) -> Break:
    return lambda platform: platform.execute(sql) and None


def inserted(table: str, **values: Any) -> Break:
    return lambda platform: platform.insert(table, **values)


def untyped(table: str, column: str, assignment: str) -> Break:
    """Give a column a value its declared type would refuse, the way a careless view or mapping does."""

    def apply(platform: PlatformUnderTest) -> None:
        if platform.kind == "postgresql":
            platform.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE TEXT USING {column}::TEXT")
        platform.execute(f"UPDATE {table} SET {column} = {assignment}")

    return apply


NOW = datetime(2026, 3, 1, tzinfo=UTC)
SOURCE = {"source_id": "new", "kind": "campaign", "name": "New", "status": "draft", "created_at": NOW}
AUDIENCE = {"owner_kind": "campaign", "owner_id": "new", "owner_status": "active", "part": "audience"}
BREAKS: dict[str, tuple[Break, tuple[str, ...]]] = {
    "a missing table": (executed("DROP TABLE canvas_steps"), ("canvas_steps", "select_canvas_steps.sql")),
    "a missing column": (
        executed("ALTER TABLE sources DROP COLUMN stopped_at"), ("sources", "stopped_at", "select_sources.sql"),
    ),
    "a source twice": (inserted("sources", **{**SOURCE, "source_id": "cnv-1"}), ("sources", "'cnv-1'", "2 times")),
    "a tag twice": (inserted("source_tags", source_id="cmp-spring", tag="sale"), ("source_tags", "'sale'", "2 times")),
    "a variation twice": (
        inserted("source_variants", variant_id="v-1", source_id="cnv-1", name="B", is_control=False),
        ("source_variants", "'v-1'", "2 times"),
    ),
    "a step twice": (
        inserted("canvas_steps", step_id="step-1", source_id="cnv-1", name="B"), ("canvas_steps", "'step-1'", "2 times"),
    ),
    "an audience twice": (
        inserted("audiences", **{**AUDIENCE, "owner_kind": "segment", "owner_id": "s'1"}, definition={"or": []}),
        ("audiences", "segment", "s'1", "2 times"),
    ),
    "a user twice": (
        inserted("users", user_id=HOSTILE[0], invalid_phone=False, feature_flags=[]), ("users", "DROP TABLE", "2 times"),
    ),
    "a user without id": (
        inserted("users", invalid_phone=False, feature_flags=[]), ("users", "row number", "user_id", "required"),
    ),
    "a source without name": (inserted("sources", **{**SOURCE, "name": None}), ("sources", "'new'", "column name", "None")),
    "a user without flags": (
        inserted("users", user_id="u-3", invalid_phone=False), ("users", "'u-3'", "feature_flags", "required"),
    ),
    "an unknown status": (
        inserted("sources", **{**SOURCE, "status": "Paused"}), ("sources", "'new'", "status", "'Paused'", "archived"),
    ),
    "an unknown kind": (inserted("sources", **{**SOURCE, "kind": "flow"}), ("sources", "'new'", "kind", "'flow'", "canvas")),
    "an unknown owner kind": (
        inserted("audiences", **{**AUDIENCE, "owner_kind": "banner"}, definition={"or": []}),
        ("audiences", "owner_kind", "'banner'", "content_card"),
    ),
    "an unknown owner status": (
        inserted("audiences", **{**AUDIENCE, "owner_status": "on"}, definition={"or": []}),
        ("audiences", "owner_status", "'on'"),
    ),
    "a tag of an unknown source": (
        inserted("source_tags", source_id="gone", tag="x"), ("source_tags", "source_id", "'gone'", "no such source"),
    ),
    "a variation of an unknown source": (
        inserted("source_variants", variant_id="v-9", source_id="gone", name="B", is_control=False),
        ("source_variants", "'v-9'", "'gone'", "no such source"),
    ),
    "a step of an unknown source": (
        inserted("canvas_steps", step_id="step-9", source_id="gone", name="B"),
        ("canvas_steps", "'step-9'", "'gone'", "no such source"),
    ),
    "an audience without definition": (
        inserted("audiences", **AUDIENCE), ("audiences", "'new'", "definition", "required"),
    ),
    "a time that is none": (untyped("sources", "created_at", "'yesterday'"), ("sources", "created_at", "'yesterday'", "ISO 8601")),
    "a time in milliseconds": (
        untyped("sources", "created_at", "'1767225600000'"), ("sources", "created_at", "1767225600000", "epoch seconds"),
    ),
    "a boolean that is none": (
        untyped("source_variants", "is_control", "'perhaps'"), ("source_variants", "is_control", "'perhaps'", "0 or 1"),
    ),
    "flags that are no list": (
        untyped("users", "feature_flags", "'beta, new'"), ("users", "feature_flags", "'beta, new'", "JSON list"),
    ),
    "flags that are no text": (untyped("users", "feature_flags", "'[1]'"), ("users", "feature_flags", "'[1]'")),
    "a time that stands for never": (
        inserted("sources", **{**SOURCE, "stopped_at": datetime(1970, 1, 1, tzinfo=UTC)}),
        ("sources", "'new'", "stopped_at is", "before 2000", "NULLIF(stopped_at, '1970-01-01"),
    ),
    "a deletion later than now": (
        inserted("sources", **{**SOURCE, "interaction_data_deleted_at": datetime(9999, 12, 31, tzinfo=UTC)}),
        ("sources", "'new'", "interaction_data_deleted_at is", "9999-12-31", "later than now"),
    ),
}  # fmt: skip


@pytest.mark.long(but="sqlite-a (missing|source|time)|postgresql-a missing")
@pytest.mark.parametrize(("broken", "named"), BREAKS.values(), ids=BREAKS)
def test_a_broken_platform_is_named_and_the_previous_metadata_stays(
    broken: Break,
    named: tuple[str, ...],
    previous: Warehouse,
    previous_rows: dict[str, Counter[str]],
    platform: PlatformUnderTest,
) -> None:
    snapshots = {table.name: previous.table(table.name).current_snapshot() for table in SYNCED}
    platform.execute("DELETE FROM source_tags WHERE tag = 'season'")
    broken(platform)

    with pytest.raises(TerminalMetadataError) as error:
        sync_sources(Warehouse(replace(previous.settings, platform_url=platform.url)), "run-2")

    assert [fragment for fragment in named if fragment not in str(error.value)] == []
    assert sum(map(len, previous_rows.values())) > 20
    assert rows_of(previous) == previous_rows
    assert {table.name: previous.table(table.name).current_snapshot() for table in SYNCED} == snapshots


def test_a_platform_that_is_repaired_syncs_again(synced: Warehouse, platform: PlatformUnderTest) -> None:
    platform.insert("sources", **{**SOURCE, "status": "Paused"})
    with pytest.raises(TerminalMetadataError):
        sync_sources(synced, "run-1")
    platform.execute("UPDATE sources SET status = 'stopped' WHERE source_id = 'new'")

    sync_sources(synced, "run-1")

    assert rows(synced, "sources", "source_id")["new"]["status"] == "stopped"


def test_r4_an_audience_that_cannot_be_read_fails_no_sync_and_arrives_as_it_is(
    synced: Warehouse, platform: PlatformUnderTest
) -> None:
    """It failed the whole sync, that of a draft too; the decisions and audience_violations see to it now."""
    untyped("audiences", "definition", "'{\"and\": ['")(platform)

    sync_sources(synced, "run-1")

    assert {row["definition"] for row in synced.read("audiences").to_pylist()} == {'{"and": ['}


@pytest.mark.long(but="likes_cats|sqlite-1.5")
@pytest.mark.parametrize("definition", [{"filter": "likes_cats"}, [1], True, 1.5], ids=repr)
def test_r4_json_of_any_kind_is_a_definition(synced: Warehouse, platform: PlatformUnderTest, definition: Any) -> None:
    platform.insert("audiences", **{**AUDIENCE, "owner_status": "draft"}, definition=json.dumps(definition))

    sync_sources(synced, "run-1")

    assert json.loads(rows(synced, "audiences", "owner_id")["new"]["definition"]) == definition
    assert read_metadata(synced.settings) is not None


def test_r24_what_no_decision_uses_is_read_as_null_and_counted(
    synced: Warehouse, platform: PlatformUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    untyped("users", "custom_attributes", "CASE WHEN user_id = 'u-2' THEN '{a}' ELSE '[1]' END")(platform)
    platform.execute("UPDATE users SET created_at = '1970-01-01 00:00:00' WHERE user_id IN ('u-1', 'u-2')")
    platform.insert("sources", **{**SOURCE, "stopped_at": datetime(9999, 12, 31, tzinfo=UTC)})

    outcome = sync_sources(synced, "run-1")

    users = rows(synced, "users", "user_id")
    assert (users["u-1"]["created_at"], users["u-2"]["created_at"]) == (None, None)
    assert (users["u-1"]["custom_attributes"], users["u-2"]["custom_attributes"]) == ("[1]", None)
    assert dict(outcome.read_as_null) == {"users.created_at": 2, "users.custom_attributes": 1}
    assert dict(outcome.later_than_now) == {"sources.stopped_at": 1}
    assert outcome.remarks("users") == {"read_as_null": {"created_at": 2, "custom_attributes": 1}}
    assert outcome.remarks("sources") == {"later_than_now": {"stopped_at": 1}}
    assert outcome.remarks("source_tags") == {}
    for said in (
        "of users.created_at, 2 values",
        "of users.custom_attributes, 1 value is",
        "of sources.stopped_at, 1 value is later",
    ):
        assert said in caplog.text
    assert "{a}" not in caplog.text


TIMES: dict[str, tuple[str, str]] = {
    "epoch": ("TIMESTAMP", "'1970-01-01 00:00:00'"),
    "epoch with a zone": ("TIMESTAMPTZ", "'1970-01-01 00:00:00+00:00'"),
    "year one": ("TIMESTAMPTZ", "'0001-01-01 00:00:00+00:00'"),
    "a day": ("DATE", "'1970-01-01'"),
    "zero": ("BIGINT", "0"),
    "zero as text": ("TEXT", "'0'"),
    "no day at all": ("TEXT", "'0000-00-00 00:00:00'"),
    "milliseconds": ("BIGINT", "1767225600000"),
    "milliseconds as text": ("TEXT", "'1767225600000'"),
}


@pytest.mark.long(but="^(sqlite-milliseconds-created_at|sqlite-epoch-created_at|sqlite-zero as text-created_at)$")
@pytest.mark.parametrize("column", ["created_at", "stopped_at"])
@pytest.mark.parametrize(("type_name", "value"), TIMES.values(), ids=TIMES)
def test_r24_the_sql_that_a_refusal_names_makes_the_next_sync_succeed(
    synced: Warehouse,
    platform: PlatformUnderTest,
    type_name: str,
    value: str,
    column: str,
) -> None:
    platform.execute(f"ALTER TABLE sources DROP COLUMN {column}")
    platform.execute(f"ALTER TABLE sources ADD COLUMN {column} {type_name}")
    platform.execute(f"UPDATE sources SET {column} = {value}")
    if column == "stopped_at":
        platform.execute("UPDATE sources SET created_at = '2026-01-01 00:00:00'")
    with pytest.raises(TerminalMetadataError) as error:
        sync_sources(synced, "run-1")
    mapped = str(error.value).partition("or select ")[2].partition(f" AS {column} in a select_sources.sql of your")[0]
    select = statement("platform/select_sources")
    assert mapped

    sync_sources(
        with_select(synced, "sources", select.replace(f"    {column},", f"    {mapped} AS {column},")), "run-2"
    )

    found = {row[column] for row in synced.read("sources").to_pylist()}
    if "milliseconds" in value or "1767225600000" in value:
        assert found == {datetime(2026, 1, 1, tzinfo=UTC)}
    elif column == "stopped_at":
        assert found == {None}
    else:
        [moment] = found
        assert datetime.now(UTC) - moment < timedelta(days=2)


@pytest.mark.long(but="^(infinity-postgresql|12026-01-01-postgresql)$")
@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
@pytest.mark.parametrize("never", ["infinity", "-infinity", "0044-03-15 BC", "12026-01-01"])
def test_r24_a_time_of_postgresql_that_python_cannot_hold_is_refused_by_name(
    synced: Warehouse, platform: PlatformUnderTest, never: str
) -> None:
    platform.insert("sources", **SOURCE)
    platform.execute(f"UPDATE sources SET stopped_at = '{never}' WHERE source_id = 'new'")
    platform.execute(f"UPDATE users SET created_at = '{never}' WHERE user_id = 'u-1'")
    with pytest.raises(TerminalMetadataError, match="row source_id 'new': column stopped_at is") as error:
        sync_sources(synced, "run-1")
    with pytest.raises(TerminalMetadataError, match="row source_id 'new': column stopped_at is"):
        read_metadata(synced.settings)
    mapped = str(error.value).partition("or select ")[2].partition(" in a select_sources.sql of your own")[0]
    with_select(synced, "sources", statement("platform/select_sources").replace("    stopped_at,", f"    {mapped},"))

    assert dict(sync_sources(synced, "run-2").read_as_null) == {"users.created_at": 1}

    assert rows(synced, "sources", "source_id")["new"]["stopped_at"] is None
    assert rows(synced, "users", "user_id")["u-1"]["created_at"] is None


def test_r24_now_is_given(synced: Warehouse, platform: PlatformUnderTest) -> None:
    platform.insert("sources", **{**SOURCE, "interaction_data_deleted_at": NOW})

    with pytest.raises(TerminalMetadataError, match="later than now"):
        sync_sources(synced, "run-1", wall_clock=lambda: NOW - timedelta(hours=1))
    with pytest.raises(TerminalMetadataError, match="later than now"):
        read_metadata(synced.settings, now=NOW - timedelta(hours=1))
    sync_sources(synced, "run-1", wall_clock=lambda: NOW)


# --- streaming --------------------------------------------------------------------------------------------------------


def with_select(warehouse: Warehouse, table: str, sql: str) -> Warehouse:
    """The same warehouse with one SELECT of a data engineer's own."""
    folder = warehouse.settings.home / "platform-sql"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"select_{table}.sql").write_text(sql, encoding="utf-8")
    warehouse.settings = replace(warehouse.settings, platform_sql=folder)
    return warehouse


def test_rows_are_streamed(synced: Warehouse, platform: PlatformUnderTest) -> None:
    """The first batch of a very long table arrives while the rest still lies in the database."""
    with_select(
        synced, "users",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT i FROM n;\n",
    )  # fmt: skip
    with database.open_platform(synced.settings) as opened:
        tracemalloc.start()
        with opened.selected("users") as (names, partitions):
            first = next(partitions)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            running = (
                platform.execute("SELECT query FROM pg_stat_activity WHERE query LIKE 'FETCH FORWARD%'")
                if platform.kind == "postgresql"
                else [("a cursor of SQLite steps through the statement",)]
            )

    assert (names, len(first)) == (["i"], database.BATCH_ROWS)
    assert len(running) == 1
    assert peak < 20_000_000


@pytest.mark.long(but="sqlite")
def test_many_batches_make_one_table(
    synced: Warehouse, platform: PlatformUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BATCH_ROWS", 7)
    monkeypatch.setattr("perennial.warehouse.catalog.STAGED_BYTES", 1000)
    platform.execute("DELETE FROM users")
    platform.execute(
        "INSERT INTO users (user_id, invalid_phone, feature_flags) VALUES (:user_id, :invalid_phone, :feature_flags)",
        [
            {
                "user_id": f"u-{number}",
                "invalid_phone": number % 2 == 0,
                "feature_flags": "[]" if platform.kind == "sqlite" else [],
            }
            for number in range(300)
        ],
    )

    sync_sources(synced, "run-1")

    users = rows(synced, "users", "user_id")
    assert {user_id: user["invalid_phone"] for user_id, user in users.items()} == {
        f"u-{number}": number % 2 == 0 for number in range(300)
    }
    assert len(list(synced.live_files(synced.table("users")))) > 5

    platform.insert("users", user_id="u-5", invalid_phone=False, feature_flags=[])
    with pytest.raises(TerminalMetadataError, match=r"users.*'u-5'.*2 times"):
        sync_sources(synced, "run-2")
    assert rows(synced, "users", "user_id") == users


def test_a_select_of_ones_own_maps_other_tables(synced: Warehouse, platform: PlatformUnderTest) -> None:
    """Colons and percent signs are no binds, whole numbers are ids, further columns are left out."""
    platform.execute("CREATE TABLE labels (campaign_number BIGINT, label TEXT, colour TEXT)")
    platform.execute("INSERT INTO labels VALUES (17, 'a', 'red')")
    platform.insert("sources", **{**SOURCE, "source_id": "17"})
    with_select(
        synced, "source_tags",
        "SELECT colour, campaign_number AS source_id, label || ' :tag 10%' AS tag FROM labels WHERE label LIKE '%a%'",
    )  # fmt: skip

    sync_sources(synced, "run-1")

    assert synced.read("source_tags").to_pylist() == [{"source_id": "17", "tag": "a :tag 10%"}]


def test_a_duplicate_is_found_in_any_order_of_rows(synced: Warehouse) -> None:
    with_select(
        synced, "source_tags",
        "SELECT source_id, 'same' AS tag FROM sources UNION ALL SELECT source_id, 'same' AS tag FROM sources",
    )  # fmt: skip

    with pytest.raises(TerminalMetadataError, match=r"source_tags.*tag 'same'.*2 times"):
        sync_sources(synced, "run-1")


@pytest.mark.parametrize("sql", ["SELECT * FROM nowhere", "DELETE FROM users", "SELECT 1; SELECT 2", ""])
def test_a_statement_that_fails_is_found_and_the_tables_after_it_are_read_all_the_same(
    sql: str, synced: Warehouse, platform: PlatformUnderTest
) -> None:
    with_select(synced, "source_tags", sql)

    checked = {table.name: table for table in check_platform(synced.settings)}

    assert {name: table.row_count for name, table in checked.items()} == {
        "sources": 6, "source_tags": 0, "source_variants": 2, "canvas_steps": 1, "audiences": 5, "users": 6,
    }  # fmt: skip
    assert [len(table.first_rows) for table in checked.values()] == [5, 0, 2, 1, 5, 5]
    [issue] = [issue for table in checked.values() for issue in table.issues]
    assert issue.kind == "refused"
    assert f"{synced.settings.platform_sql}/select_source_tags.sql" in str(issue)
    assert platform.execute("SELECT count(*) FROM users") == [(6,)]


# --- the database itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["sqlite:///{tmp}/absent.db", "sqlite://", "sqlite:///:memory:"])
def test_a_missing_sqlite_file_names_the_setting_and_is_not_created(
    url: str, warehouse: Warehouse, tmp_path: Path
) -> None:
    warehouse.settings = replace(warehouse.settings, platform_url=url.format(tmp=tmp_path))

    with pytest.raises(TerminalSettingError, match=r"PERENNIAL_PLATFORM_URL"):
        sync_sources(warehouse, "run-1")

    assert not (tmp_path / "absent.db").exists()


def test_an_unreachable_database_is_transient_and_keeps_its_password(warehouse: Warehouse) -> None:
    url = "postgresql+psycopg://mia:s3cret%21@127.0.0.1:1/platform?password=0therS3cret&connect_timeout=5"
    warehouse.settings = replace(warehouse.settings, platform_url=url)

    with pytest.raises(TransientError, match=r"127\.0\.0\.1:1/platform") as error:
        sync_sources(warehouse, "run-1")

    for secret in ("s3cret", "0therS3cret"):
        assert secret not in str(error.value)
    assert "PERENNIAL_PLATFORM_URL" in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "not a url s3cret",
        "postgresql+nodriver://u:s3cret@h/d",
        "nosuchdb://u:s3cret@h/d",
        "postgresql://u:s3cret@h:x/d",
    ],
)
def test_a_url_that_cannot_be_used_names_the_setting_without_the_password(url: str, warehouse: Warehouse) -> None:
    warehouse.settings = replace(warehouse.settings, platform_url=url)

    with pytest.raises(TerminalSettingError, match=r"PERENNIAL_PLATFORM_URL") as error:
        sync_sources(warehouse, "run-1")

    assert "s3cret" not in str(error.value)


def test_a_file_that_is_no_database_is_terminal(warehouse: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "platform.db"
    path.write_text("this is not a database, it only has its name " * 100)
    warehouse.settings = replace(warehouse.settings, platform_url=f"sqlite:///{path}")

    with pytest.raises((TerminalMetadataError, TerminalSettingError), match=r"not a database"):
        sync_sources(warehouse, "run-1")


def test_a_locked_sqlite_file_is_transient(warehouse: Warehouse, tmp_path: Path) -> None:
    under_test = PlatformUnderTest("sqlite", f"sqlite:///{tmp_path}/platform.db")
    under_test.create_tables()
    warehouse.settings = replace(warehouse.settings, platform_url=f"{under_test.url}?timeout=0.1")
    engine = create_engine(under_test.url, poolclass=NullPool)
    with engine.connect() as writer:
        writer.exec_driver_sql("BEGIN EXCLUSIVE")
        with pytest.raises(TransientError, match=r"locked"):
            sync_sources(warehouse, "run-1")

    sync_sources(warehouse, "run-1")


def test_all_tables_are_read_at_one_moment(synced: Warehouse, platform: PlatformUnderTest) -> None:
    with database.open_platform(synced.settings) as opened:
        with opened.selected("sources") as (_, partitions):
            sources = [row for partition in partitions for row in partition]
        if platform.kind == "postgresql":
            platform.insert("source_tags", source_id="cmp-spring", tag="saved meanwhile")
        with opened.selected("source_tags") as (_, partitions):
            tags = {row[1] for partition in partitions for row in partition}

    assert len(sources) == 6
    assert "saved meanwhile" not in tags


# --- R7's look at the platform ----------------------------------------------------------------------------------------


def test_r7_reads_current_sources_and_audiences_without_the_warehouse(
    platform: PlatformUnderTest, settings: Settings
) -> None:
    platform.insert(
        "audiences", **AUDIENCE, definition={"filter": "received_message_from_campaign", "campaign_id": "x"}
    )
    platform.execute("DROP TABLE users")

    metadata = read_metadata(replace(settings, platform_url=platform.url))

    assert metadata is not None
    assert set(metadata.sources["source_id"].to_pylist()) == {"cmp-spring", "cnv-1", *HOSTILE}
    assert set(metadata.audiences["owner_id"].to_pylist()) == {"new", "s'1", *HOSTILE}
    assert not settings.home.exists()


def test_r7_refuses_a_broken_platform(platform: PlatformUnderTest, settings: Settings) -> None:
    platform.insert("sources", **{**SOURCE, "status": "Paused"})

    with pytest.raises(TerminalMetadataError, match=r"Paused"):
        read_metadata(replace(settings, platform_url=platform.url))


def test_r7_has_nothing_fresher_where_the_embedded_platform_is_absent(settings: Settings, tmp_path: Path) -> None:
    assert read_metadata(settings) is None
    with pytest.raises(TerminalSettingError, match=r"PERENNIAL_PLATFORM_URL"):
        read_metadata(replace(settings, platform_url=f"sqlite:///{tmp_path}/elsewhere.db"))


# --- a sync that is killed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("commits", [1, 5])
@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_sync_killed_between_two_commits_is_right_after_the_next(
    commits: int, synced: Warehouse, platform: PlatformUnderTest
) -> None:
    sync_sources(synced, "run-1")
    before = rows_of(synced)
    platform.insert("sources", **SOURCE)
    for table, key in (("source_tags", "source_id"), ("users", "user_id")):
        platform.execute(f"DELETE FROM {table} WHERE {key} = '{HOSTILE[1]}'")
    run_and_kill(synced.settings, Point("before", f"commit:{SYNCED[commits].name}"), sync_sources, "run-2")

    after_kill = rows_of(synced)
    for table in SYNCED[commits:]:
        assert after_kill[table.name] == before[table.name]

    platform.execute("UPDATE sources SET name = 'Renamed since' WHERE source_id = 'new'")
    sync_sources(synced, "run-2")

    assert rows(synced, "sources", "source_id")["new"]["name"] == "Renamed since"
    expected = {**before}
    for table, key in (("source_tags", "source_id"), ("users", "user_id")):
        assert HOSTILE[1] not in rows(synced, table, key)
        assert sum(rows_of(synced)[table].values()) == sum(expected[table].values()) - 1
    assert rows_of(synced)["audiences"] == before["audiences"]
