"""Values as drivers return them become the contract's types without loss, or are refused by name."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.errors import TerminalMetadataError
from perennial.platform.columns import Reading, SelectedColumns, arrow_batch
from perennial.tables import SOURCES, USERS, Table

AT = datetime(2026, 1, 31, 23, 59, 59, 123456, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
NAMES = [column.name for column in USERS.columns]


def user(reading: Reading | None = None, **values: Any) -> dict[str, Any]:
    return converted(USERS, {"user_id": "u-1", "invalid_phone": False, "feature_flags": []} | values, reading)


def source(reading: Reading | None = None, **values: Any) -> dict[str, Any]:
    row = {"source_id": "s-1", "kind": "campaign", "name": "S", "status": "stopped", "created_at": AT}
    return converted(SOURCES, row | values, reading)


def converted(table: Table, row: dict[str, Any], reading: Reading | None) -> dict[str, Any]:
    names = [column.name for column in table.columns]
    selected = SelectedColumns.matched(table, names)
    rows = [tuple(row.get(name) for name in names)]
    found: dict[str, Any] = arrow_batch(selected, rows, 1, reading or Reading(NOW)).to_pylist()[0]
    return found


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
    reading = Reading(NOW)
    assert user(reading, created_at=value)["created_at"] is None
    assert [(place, remark.count) for place, remark in reading.unusable.items()] == [(("users", "created_at"), 1)]


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
    reading = Reading(NOW)
    assert [user(reading, created_at=value)["created_at"] for _ in range(2)] == [None, None]
    [(place, remark)] = reading.unusable.items()
    assert (place, remark.count) == (("users", "created_at"), 2)
    assert "u-1" in remark.example


def test_r24_a_deletion_later_than_now_is_refused_and_one_within_the_tolerance_of_clocks_is_not() -> None:
    just_now = NOW + timedelta(minutes=4)
    assert source(interaction_data_deleted_at=just_now)["interaction_data_deleted_at"] == just_now
    with pytest.raises(TerminalMetadataError, match=r"NULLIF\(interaction_data_deleted_at, '9999-12-31'\)"):
        source(interaction_data_deleted_at="9999-12-31")


def test_r24_a_time_that_is_still_to_come_keeps_its_source_and_is_counted() -> None:
    reading = Reading(NOW)
    last = datetime(9999, 12, 31, tzinfo=UTC)
    assert source(reading, stopped_at="9999-12-31")["stopped_at"] == last
    assert [(place, remark.count) for place, remark in reading.to_come.items()] == [(("sources", "stopped_at"), 1)]
    assert not reading.unusable


@pytest.mark.parametrize("value", ["{a}", "", b"{}", float("nan")], ids=repr)
def test_attributes_that_are_no_json_are_read_as_null_and_counted(value: Any) -> None:
    reading = Reading(NOW)
    assert user(reading, custom_attributes=value)["custom_attributes"] is None
    assert [(place, remark.count) for place, remark in reading.unusable.items()] == [
        (("users", "custom_attributes"), 1)
    ]


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


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives(value: str) -> None:
    assert user(user_id=value, first_name=value) == user() | {"user_id": value, "first_name": value}


def test_a_row_without_id_is_named_by_its_number() -> None:
    selected = SelectedColumns.matched(SOURCES, [column.name for column in SOURCES.columns])
    rows = [(None if n == 2 else str(n), "campaign", "n", "draft", AT, None, None, None, None) for n in range(4)]

    with pytest.raises(TerminalMetadataError, match=r"sources, row number 103: column source_id is None; .* required"):
        arrow_batch(selected, rows, first_row=101, reading=Reading(NOW))


@pytest.mark.parametrize("names", [NAMES[1:], [*NAMES, "user_id"]], ids=["missing", "twice"])
def test_each_column_is_selected_once(names: list[str]) -> None:
    with pytest.raises(TerminalMetadataError, match=r"users has (no|more than one) column user_id"):
        SelectedColumns.matched(USERS, names)
