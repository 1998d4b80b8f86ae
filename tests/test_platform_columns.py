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
from perennial.tables import SOURCES, USERS

AT = datetime(2026, 1, 31, 23, 59, 59, 123456, tzinfo=UTC)
NAMES = [column.name for column in USERS.columns]


def user(**values: Any) -> dict[str, Any]:
    row = dict.fromkeys(NAMES) | {"user_id": "u-1", "invalid_phone": False, "feature_flags": []} | values
    selected = SelectedColumns.matched(USERS, NAMES)
    return arrow_batch(selected, [tuple(row[name] for name in NAMES)], first_row=1).to_pylist()[0]


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
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (-86400, datetime(1969, 12, 31, tzinfo=UTC)),
        (None, None),
    ],
    ids=repr,
)
def test_times_are_understood(value: Any, expected: datetime | None) -> None:
    assert user(created_at=value)["created_at"] == expected


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
    with pytest.raises(TerminalMetadataError, match=r"(?s)users, row user_id 'u-1': column created_at is .*ISO 8601"):
        user(created_at=value)


@given(st.datetimes(timezones=st.timezones()))
def test_any_instant_survives_as_text_and_natively(instant: datetime) -> None:
    if 1 < instant.year < 9999:
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
        arrow_batch(selected, rows, first_row=101)


@pytest.mark.parametrize("names", [NAMES[1:], [*NAMES, "user_id"]], ids=["missing", "twice"])
def test_each_column_is_selected_once(names: list[str]) -> None:
    with pytest.raises(TerminalMetadataError, match=r"users has (no|more than one) column user_id"):
        SelectedColumns.matched(USERS, names)
