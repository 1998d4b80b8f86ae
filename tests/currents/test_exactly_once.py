"""An event is loaded once, however often, wherever and whenever it is delivered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.settings import Settings
from perennial.warehouse import FileChange, Warehouse
from perennial.warehouse.commits import commit_change
from perennial.warehouse.files import relocated
from tests.currents.landing import NOW, OPEN, SCHEMA, TIME, event, everything, land_avro, land_json, load, rows, totals

HOSTILE = [
    "plain", "it's \"quoted\"", "a/b/../c", "../../etc", "%2Fx", "sp ace\ttab\nline", "🦄" * 20, "é" * 500, "\u0001",
    "NULL", "a\x00b", "\U0010ffff" * 20, "'; DROP TABLE interactions; --", "{}$1",
]  # fmt: skip
DAY = 86_400


def test_a_second_run_loads_nothing(settings: Settings, warehouse: Warehouse) -> None:
    land_avro(settings, OPEN, [event(n) for n in range(10)])
    load(warehouse)
    before = {table: warehouse.table(table).current_snapshot() for table in ("interactions", "loaded_events")}
    assert load(warehouse).loads == 0
    assert {table: warehouse.table(table).current_snapshot() for table in before} == before


def test_a_second_delivery_in_the_same_file_is_a_duplicate(settings: Settings, warehouse: Warehouse) -> None:
    land_avro(settings, OPEN, [event(1, send_id="first"), event(2), event(1, send_id="second")])
    outcome = load(warehouse)
    assert (outcome.interactions, outcome.duplicates) == (2, 1)
    assert rows(warehouse, "interactions", "event_id, send_id") == [("e1", "first"), ("e2", None)]


def test_a_second_delivery_in_another_file_and_format_is_a_duplicate(settings: Settings, warehouse: Warehouse) -> None:
    land_avro(settings, OPEN, [event(n) for n in range(5)])
    land_json(settings, OPEN, [event(n) for n in range(3, 8)])
    outcome = load(warehouse)
    assert (outcome.interactions, outcome.duplicates) == (8, 2)
    assert rows(warehouse, "interactions", "event_id") == [(f"e{n}",) for n in range(8)]


@pytest.mark.parametrize("batch_bytes", [1, 1 << 30], ids=["one file a load", "all files in one load"])
def test_the_result_does_not_depend_on_how_files_are_batched(
    settings: Settings, warehouse: Warehouse, batch_bytes: int
) -> None:
    for part in range(4):
        land_avro(settings, OPEN, [event(n, user_id="u") for n in range(part * 5, part * 5 + 10)], f"part-{part}.avro")
    outcome = load(warehouse, batch_bytes=batch_bytes)
    assert outcome.loads == (4 if batch_bytes == 1 else 1)
    assert (outcome.interactions, outcome.duplicates) == (25, 15)
    found = totals(warehouse)
    last_at = datetime.fromtimestamp(TIME + 24, UTC)
    assert list(found["user_message_summary"]) == [("u", "engaged", "email", last_at, 25)]
    assert sum(row[4] for row in found["source_daily_stats"]) == 25


def test_events_delivered_again_days_later_among_new_ones_are_duplicates(
    settings: Settings, warehouse: Warehouse
) -> None:
    # Three loads, a week of events each, so that the ledger has files that overlap the last delivery and files that don't.
    for week in range(3):
        weekly = [event(n, time=TIME + n * DAY // 10) for n in range(week * 70, week * 70 + 70)]
        land_avro(settings, OPEN, weekly, f"week-{week}.avro")
        load(warehouse)
    late = [event(n, time=TIME + n * DAY // 10) for n in (0, 3, 69, 100, 209, 210, 500)]
    land_json(settings, OPEN, late)
    outcome = load(warehouse)
    assert (outcome.interactions, outcome.duplicates) == (2, 5)
    ids = [event_id for (event_id,) in rows(warehouse, "interactions", "event_id")]
    assert sorted(ids) == sorted(f"e{n}" for n in (*range(211), 500))


def test_a_delivery_of_what_lies_in_the_archive_is_a_duplicate(settings: Settings, warehouse: Warehouse) -> None:
    land_avro(settings, OPEN, [event(n) for n in range(20)])
    load(warehouse)
    moved = [live.data_file for live in warehouse.live_files(warehouse.table("interactions"))]
    copies = [relocated(data_file, data_file.file_path) for data_file in moved]
    warehouse.append_files("interactions_archive", copies, "test:archive")
    commit_change(warehouse, "interactions", lambda _: FileChange(remove=moved), "test:remove")
    assert rows(warehouse, "interactions") == []

    land_json(settings, OPEN, [event(n) for n in range(15, 25)])
    outcome = load(warehouse)

    assert (outcome.interactions, outcome.duplicates) == (5, 5)
    assert rows(warehouse, "interactions", "event_id") == [(f"e{n}",) for n in range(20, 25)]
    assert len(rows(warehouse, "interactions_archive")) == 20


def test_events_that_only_count_in_the_summary_are_counted_once_too(settings: Settings, warehouse: Warehouse) -> None:
    for part in range(2):
        land_json(settings, "users.messages.email.Bounce", [event(1), event(2)], f"part-{part}.json")
        load(warehouse)
    assert sum(row[4] for row in totals(warehouse)["user_message_summary"]) == 2
    assert [row[0] for row in rows(warehouse, "loaded_events")] == ["e1", "e2"]


def test_a_load_of_nothing_but_duplicates_remembers_its_file(settings: Settings, warehouse: Warehouse) -> None:
    land_avro(settings, OPEN, [event(1)])
    load(warehouse)
    land_avro(settings, OPEN, [event(1)], "again.avro")
    assert load(warehouse).duplicates == 1
    assert load(warehouse).loads == 0
    assert rows(warehouse, "loaded_files", "parse_filename(file_uri), row_count, duplicate_count") == [
        ("again.avro", 0, 1), ("part-0.avro", 1, 0),
    ]  # fmt: skip


def test_ids_of_any_characters_and_length_are_kept_and_known_again(settings: Settings, warehouse: Warehouse) -> None:
    def hostile(number: int, text: str) -> dict[str, Any]:
        names = ("user_id", "external_user_id", "campaign_id", "message_variation_id", "canvas_step_id", "link_alias")
        return {"id": f"{text}{number}", "time": TIME, **dict.fromkeys(names, text)}

    events = [hostile(number, text) for text in HOSTILE for number in range(2)]
    land_avro(settings, "users.messages.email.Click", events, schema={**SCHEMA, "time": "long"})
    land_json(settings, "users.messages.email.Click", events)
    outcome = load(warehouse)
    assert (outcome.interactions, outcome.duplicates, outcome.rejected) == (len(events), len(events), 0)
    columns = "event_id, user_id, external_user_id, source_id, variant_id, canvas_step_id, link_alias"
    assert rows(warehouse, "interactions", columns) == sorted(
        (f"{text}{number}", *[text] * 6) for text in HOSTILE for number in range(2)
    )
    found = warehouse.read("interactions").to_pylist()
    assert sorted(row["source_id"] for row in found) == sorted(text for text in HOSTILE for _ in range(2))
    assert set(warehouse.source_totals("interactions")) == set(HOSTILE)
    assert {row[1:3] for row in rows(warehouse, "user_message_summary")} == {
        ("engaged", "email"), *(("clicked_alias", text) for text in HOSTILE),
    }  # fmt: skip


def test_each_source_gets_one_file_a_load(settings: Settings, warehouse: Warehouse) -> None:
    for part in range(3):
        land_avro(
            settings, OPEN, [event(n, id=f"{part}-{n}", campaign_id=f"c{n % 7}") for n in range(700)], f"{part}.avro"
        )
    load(warehouse)
    assert {total.file_count for total in warehouse.source_totals("interactions").values()} == {1}
    assert {total.row_count for total in warehouse.source_totals("interactions").values()} == {300}


def test_the_clock_of_the_run_is_what_is_recorded(settings: Settings, warehouse: Warehouse) -> None:
    land_json(settings, OPEN, [event(1), "broken"])
    load(warehouse)
    assert rows(warehouse, "loaded_files", "loaded_at") == [(NOW,)]
    assert rows(warehouse, "rejected_events", "rejected_at") == [(NOW,)]


def test_a_file_that_grew_is_loaded_again_and_only_its_new_records_count(
    settings: Settings, warehouse: Warehouse
) -> None:
    land_json(settings, OPEN, [event(1), "{broken", event(2)])
    first = load(warehouse)
    land_json(settings, OPEN, [event(1), "{broken", event(2), event(3), "{broken too"])
    second = load(warehouse)
    assert (first.interactions, first.rejected) == (2, 1)
    assert (second.interactions, second.duplicates, second.rejected) == (1, 3, 1)
    assert [row[0] for row in rows(warehouse, "rejected_events", "line")] == [2, 5]
    assert len(rows(warehouse, "interactions")) == 3


def test_a_file_touched_but_not_changed_adds_nothing(settings: Settings, warehouse: Warehouse) -> None:
    path = land_json(settings, OPEN, [event(1), "{broken"])
    load(warehouse)
    before = everything(warehouse)
    path.touch()
    assert load(warehouse).duplicates == 2
    after = everything(warehouse)
    assert {name: after[name] for name in after if name != "loaded_files"} == {
        name: before[name] for name in before if name != "loaded_files"
    }


def test_an_event_delivered_again_with_another_time_is_loaded_once(settings: Settings, warehouse: Warehouse) -> None:
    land_json(settings, OPEN, [event(1, id="same", time=TIME)], "first.json")
    load(warehouse)
    land_json(settings, OPEN, [event(1, id="same", time=TIME + 3 * DAY)], "second.json")
    assert load(warehouse).duplicates == 1
    assert [row["event_id"] for row in warehouse.read("interactions").to_pylist()] == ["same"]


def test_of_a_large_ledger_only_files_of_the_days_of_the_load_are_read(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perennial.currents import prepare

    for week in range(4):
        weekly = [event(n, id=f"{week}-{n}", time=TIME + week * 7 * DAY + n) for n in range(3)]
        land_json(settings, OPEN, weekly, f"{week}.json")
        load(warehouse)
    looked_at: list[int] = []
    show = prepare.create_view

    def counting(connection: Any, name: str, live_files: Any, *others: Any) -> None:
        if name == "loaded_events":
            looked_at.append(len(live_files))
        show(connection, name, live_files, *others)

    monkeypatch.setattr(prepare, "create_view", counting)
    monkeypatch.setattr(prepare, "WHOLE_LEDGER_ROWS", 0)
    one_far_off = [event(9, time=TIME + 7 * DAY), event(10, time=int((NOW - timedelta(days=900)).timestamp()))]
    land_json(settings, OPEN, one_far_off, "late.json")
    load(warehouse)
    assert looked_at == [1]


def test_late_events_are_known_again_in_a_large_ledger_whatever_else_their_files_hold(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perennial.currents import prepare

    # The last day that a time can have, and the first.
    times = [TIME, TIME - 400 * DAY, TIME - 401 * DAY, TIME - 90 * DAY, 253_402_300_799, 0]
    delivered = [event(number, time=time) for number, time in enumerate(times)]
    land_json(settings, OPEN, delivered, "first.json")
    assert load(warehouse).duplicates == 0
    land_json(settings, OPEN, [*delivered, event(9, time=TIME - 90 * DAY)], "again.json")
    monkeypatch.setattr(prepare, "WHOLE_LEDGER_ROWS", 0)
    again = load(warehouse)
    assert (again.duplicates, again.read) == (len(times), len(times) + 1)


@given(st.sets(st.integers(0, 60)), st.tuples(st.integers(-1, 61), st.integers(0, 40)))
def test_every_day_is_in_a_span_and_every_file_that_may_have_events_of_it_is_searched(
    numbers: set[int], of_file: tuple[int, int]
) -> None:
    from perennial.currents.prepare import _EPOCH, MAX_SPANS, _may_have, plan_spans

    days = [_EPOCH + timedelta(days=number) for number in sorted(numbers)]
    spans = plan_spans(days)

    assert len(spans) == min(len(days), MAX_SPANS)
    assert spans == sorted(spans)
    for day in days:
        (span,) = (one for one in spans if one[0] <= day and day + timedelta(days=1, microseconds=-1) <= one[1])
        assert span[0] in days
    # From the last moment of a day to the first of another.
    first, length = of_file
    bounds = first * DAY * 10**6 - 1, (first + length) * DAY * 10**6
    if any(first - 1 <= number <= first + length for number in numbers):
        assert _may_have(bounds, spans)
    assert _may_have(None, spans)
