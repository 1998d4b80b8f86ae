"""Values as drivers return them become the contract's types without loss, or are refused by name."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.errors import TerminalMetadataError
from perennial.platform.columns import SelectedColumns, arrow_batch
from perennial.platform.issues import IssueKind, Issues
from perennial.tables import SOURCES, SYNCED, USERS, Table

AT = datetime(2026, 1, 31, 23, 59, 59, 123456, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
NAMES = [column.name for column in USERS.columns]


def user(issues: Issues | None = None, **values: Any) -> dict[str, Any]:
    return converted(USERS, {"user_id": "u-1", "invalid_phone": False, "feature_flags": []} | values, issues)


def source(issues: Issues | None = None, **values: Any) -> dict[str, Any]:
    row = {"source_id": "s-1", "kind": "campaign", "name": "S", "status": "stopped", "created_at": AT}
    return converted(SOURCES, row | values, issues)


def converted(table: Table, row: dict[str, Any], issues: Issues | None) -> dict[str, Any]:
    names = [column.name for column in table.columns]
    selected = SelectedColumns.matched(table, names, f"select_{table.name}.sql")
    rows = [tuple(row.get(name) for name in names)]
    batch, found = arrow_batch(selected, rows, 1, NOW)
    issues = Issues() if issues is None else issues
    issues.add(found)
    issues.refuse()
    values: dict[str, Any] = batch.to_pylist()[0]
    return values


def counted(issues: Issues, kind: IssueKind) -> dict[tuple[str, str], int]:
    return {(issue.table, issue.column): issue.row_count for issue in issues.of(kind)}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (AT, AT),
        (AT.replace(tzinfo=None), AT),
        (AT.astimezone(timezone(timedelta(hours=-9))), AT),
        ("2026-01-31 23:59:59.123456", AT),
        ("2026-01-31T23:59:59.123456Z", AT),
        ("2026-02-01 05:29:59.123456+05:30", AT),
        (" 2026-01-31 23:59:59.123456 UTC ", AT),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        (date(2026, 1, 31), datetime(2026, 1, 31, tzinfo=UTC)),
        (1769903999, AT.replace(microsecond=0)),
        (1769903999.5, AT.replace(microsecond=500000)),
        ("1769903999", AT.replace(microsecond=0)),
        (946684800, datetime(2000, 1, 1, tzinfo=UTC)),
        (None, None),
    ],
    ids=repr,
)
def test_times_are_understood(value: Any, expected: datetime | None) -> None:
    assert user(created_at=value)["created_at"] == expected
    assert source(last_sent_at=value)["last_sent_at"] == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "now",
        "31/01/2026",
        "2026-13-01",
        "2026-01-31 25:00",
        "20260131",
        "17",
        True,
        b"2026",
        1769903999000,
        float("nan"),
    ],
    ids=repr,
)
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(
        TerminalMetadataError, match=r"(?s)sources, row source_id 's-1': column stopped_at is .*ISO 8601"
    ):
        source(stopped_at=value)
    issues = Issues()
    assert user(issues, created_at=value)["created_at"] is None
    assert counted(issues, "read_as_null") == {("users", "created_at"): 1}


NEVER = {
    "epoch": (0, "NULLIF({}, 0)"),
    "before the epoch": (-86400, "NULLIF({}, -86400)"),
    "epoch as text": ("1970-01-01", "NULLIF({}, '1970-01-01')"),
    "zero as text": ("0", "NULLIF({}, '0')"),
    "year one": ("0001-01-01 00:00:00", "NULLIF({}, '0001-01-01 00:00:00')"),
    "year one natively": (datetime(1, 1, 1, tzinfo=UTC), "NULLIF({}, '0001-01-01 00:00:00+00:00')"),
    "a day": (date(1970, 1, 1), "NULLIF({}, '1970-01-01')"),
    "no day at all": ("0000-00-00 00:00:00", "NULLIF({}, '0000-00-00 00:00:00')"),
    "empty": ("", "NULLIF({}, '')"),
    "infinity": ("infinity", "NULLIF({}, 'infinity')"),
    "the last day before": (date(1999, 12, 31), "NULLIF({}, '1999-12-31')"),
    "in another zone": ("2000-01-01T00:30:00+01:00", "NULLIF({}, '2000-01-01T00:30:00+01:00')"),
    "milliseconds": (1769903999000, "CAST({} AS BIGINT) / 1000 AS"),
    "microseconds as text": ("1769903999000000", "CAST({} AS BIGINT) / 1000000 AS"),
}


@pytest.mark.parametrize("column", ["created_at", "stopped_at", "last_sent_at", "interaction_data_deleted_at"])
@pytest.mark.parametrize(("value", "mapped"), NEVER.values(), ids=NEVER)
def test_r24_a_time_that_cannot_be_right_is_refused_with_the_sql_that_maps_it(
    value: Any, mapped: str, column: str
) -> None:
    with pytest.raises(TerminalMetadataError, match=f"sources, row source_id 's-1': column {column} is") as error:
        source(**{column: value})
    assert mapped.format(column) in str(error.value)
    assert "select_sources.sql" in str(error.value)


@pytest.mark.parametrize("value", [value for value, _ in NEVER.values()], ids=NEVER)
def test_r24_what_no_decision_uses_is_read_as_null_and_counted(value: Any) -> None:
    issues = Issues()
    assert [user(issues, created_at=value)["created_at"] for _ in range(2)] == [None, None]
    assert counted(issues, "read_as_null") == {("users", "created_at"): 2}
    assert all("u-1" in issue.examples[0] for issue in issues)


def test_r24_a_deletion_later_than_now_is_refused_and_one_within_the_tolerance_of_clocks_is_not() -> None:
    just_now = NOW + timedelta(minutes=4)
    assert source(interaction_data_deleted_at=just_now)["interaction_data_deleted_at"] == just_now
    with pytest.raises(TerminalMetadataError, match=r"NULLIF\(interaction_data_deleted_at, '9999-12-31'\)"):
        source(interaction_data_deleted_at="9999-12-31")


def test_r24_a_time_that_is_still_to_come_keeps_its_source_and_is_counted() -> None:
    issues = Issues()
    last = datetime(9999, 12, 31, tzinfo=UTC)
    assert source(issues, stopped_at="9999-12-31")["stopped_at"] == last
    assert counted(issues, "later_than_now") == {("sources", "stopped_at"): 1}
    assert not counted(issues, "read_as_null")


@pytest.mark.parametrize("value", ["{a}", "", b"{}", float("nan")], ids=repr)
def test_attributes_that_are_no_json_are_read_as_null_and_counted(value: Any) -> None:
    issues = Issues()
    assert user(issues, custom_attributes=value)["custom_attributes"] is None
    assert counted(issues, "read_as_null") == {("users", "custom_attributes"): 1}


@given(st.datetimes(timezones=st.timezones()))
def test_any_instant_survives_as_text_and_natively(instant: datetime) -> None:
    if 2000 < instant.year < 9999:
        # Python compares two local times of one zone without their offsets, hence in UTC.
        assert user(created_at=instant)["created_at"] == instant.astimezone(UTC)
        if instant.utcoffset().total_seconds() % 60 == 0:  # type: ignore[union-attr]
            assert user(created_at=instant.isoformat())["created_at"] == instant.astimezone(UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (0, False), (1, True), ("0", False), ("TRUE", True), ("false", False)],
    ids=repr,
)
def test_booleans_are_understood(value: Any, expected: bool) -> None:
    assert user(invalid_phone=value)["invalid_phone"] is expected


@pytest.mark.parametrize("value", [2, -1, "yes", "", 1.0, [], None], ids=repr)
def test_what_is_no_boolean_is_refused(value: Any) -> None:
    with pytest.raises(TerminalMetadataError, match=r"column invalid_phone is"):
        user(invalid_phone=value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, "7"),
        (2**80, str(2**80)),
        (UUID("12345678123456781234567812345678"), "12345678-1234-5678-1234-567812345678"),
    ],
)
def test_whole_numbers_and_uuids_are_ids(value: Any, expected: str) -> None:
    assert user(user_id=value)["user_id"] == expected


@pytest.mark.parametrize("value", [1.5, True, b"u-1", ["u-1"], AT], ids=repr)
def test_what_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(TerminalMetadataError, match=r"column first_name is .*text is needed"):
        user(first_name=value)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_any_list_of_flags_survives_as_an_array_and_as_json(flags: list[str]) -> None:
    import json

    assert user(feature_flags=flags)["feature_flags"] == flags
    assert user(feature_flags=json.dumps(flags))["feature_flags"] == flags


@pytest.mark.parametrize("value", ["", "{}", "null", "[null]", [None], [1], {"a": 1}, "{a,b}", 3], ids=repr)
def test_what_is_no_list_of_strings_is_refused(value: Any) -> None:
    with pytest.raises(TerminalMetadataError, match=r"column feature_flags is .*list of strings"):
        user(feature_flags=value)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_and_any_id_without_control_characters(user_id: str, name: str) -> None:
    assert user(user_id=user_id, first_name=name) == user() | {"user_id": user_id, "first_name": name}


IDS_AND_TAGS = [
    (table, column.name)
    for table in SYNCED
    for column in table.columns
    if column.name.endswith("_id") or column.name in ("tag", "part")
]
VALID: dict[str, Any] = {
    "kind": "campaign", "owner_kind": "canvas", "status": "draft", "owner_status": "draft", "custom_attributes": "{}",
}  # fmt: skip
VALUES = {"string": "x", "boolean": False, "timestamptz": AT, "list<string>": []}


@pytest.mark.parametrize(("table", "column"), IDS_AND_TAGS, ids=lambda value: getattr(value, "name", value))
@pytest.mark.parametrize("character", ["\0", "\n", "\r", "\t", "\x1b", "\x7f", "\x85", "\ud83e"], ids=ascii)
def test_a_control_character_in_an_id_or_a_tag_is_refused_by_row_and_value(
    table: Table, column: str, character: str
) -> None:
    names = [each.name for each in table.columns]
    row = {each.name: VALID.get(each.name, VALUES[each.type]) for each in table.columns}
    selected = SelectedColumns.matched(table, names, "select_x.sql")
    rows = [tuple(row.values()), tuple((row | {column: f"a{character}b"}).values())]

    batch, [issue] = arrow_batch(selected, rows, 1, NOW)

    assert (issue.kind, issue.table, issue.column, issue.row_count) == ("refused", table.name, column, 1)
    assert f"Platform table {table.name}, row " in str(issue)
    assert f"column {column} is {f'a{character}b'!r}; " in str(issue)
    assert "select_x.sql" in str(issue)
    assert batch[column].to_pylist() == ["x", None]


@pytest.mark.parametrize("value", ["a\nb", "a\x85b", "a\0b"], ids=ascii)
def test_other_text_may_have_control_characters_but_half_a_surrogate_pair_is_refused(value: str) -> None:
    assert source(name=value)["name"] == value
    with pytest.raises(TerminalMetadataError, match=r"column name is .* surrogate pair"):
        source(name=f"{value}\ud83e")
    with pytest.raises(TerminalMetadataError, match=r"column feature_flags is .* surrogate pair"):
        user(feature_flags='["\\ud83e"]')


def test_a_row_without_id_is_named_by_its_number() -> None:
    selected = SelectedColumns.matched(SOURCES, [column.name for column in SOURCES.columns], "select_x.sql")
    rows = [(None if n == 2 else str(n), "campaign", "n", "draft", AT, None, None, None, None) for n in range(4)]

    _, [issue] = arrow_batch(selected, rows, 101, NOW)

    assert "sources, row number 103: column source_id is None; the column is required" in str(issue)


def test_every_problem_of_a_column_is_one_issue_with_its_first_values() -> None:
    selected = SelectedColumns.matched(SOURCES, [column.name for column in SOURCES.columns], "select_x.sql")
    statuses = ["on", "draft", None, "on", "off", "on hold", "no"]
    rows = [(str(n), "campaign", "n", status, AT, None, None, None, None) for n, status in enumerate(statuses)]
    issues = Issues()
    for start in (0, 4):
        issues.add(arrow_batch(selected, rows[start : start + 4], start + 1, NOW)[1])

    unknown, missing = issues.of("refused")

    assert (unknown.row_count, missing.row_count) == (5, 1)
    assert [example.partition("; ")[0].rpartition(", ")[2] for example in unknown.examples] == [
        "row source_id '0': column status is 'on'",
        "row source_id '4': column status is 'off'",
        "row source_id '5': column status is 'on hold'",
    ]


@pytest.mark.parametrize("names", [NAMES[1:], [*NAMES, "user_id"]], ids=["missing", "twice"])
def test_each_column_is_selected_once(names: list[str]) -> None:
    [issue] = SelectedColumns.matched(USERS, names, "select_x.sql").issues
    assert "users has " + ("no" if "user_id" not in names else "more than one") + " column user_id" in str(issue)
    assert issue.kind == "refused"


def test_a_column_that_is_spelled_otherwise_is_named_beside_the_missing_one() -> None:
    missing, left_out = SelectedColumns.matched(USERS, ["UserId", *NAMES[1:]], "select_x.sql").issues
    assert "no column user_id; perhaps 'UserId' is meant. Select it once in select_x.sql" in str(missing)
    assert (left_out.kind, left_out.column) == ("left_out", "UserId")
