"""Decisions, rule by rule, and against a model of the rules in plain Python."""

from __future__ import annotations

import calendar
import json
import time
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from perennial.engines.duckdb import open_connection, open_session
from perennial.errors import TerminalMetadataError, TerminalRequestError
from perennial.policy.decisions import (
    Decision,
    Rules,
    SyncedMetadata,
    WarehouseState,
    decide,
    decide_from,
    explain,
    refuse_stale_metadata,
)
from perennial.policy.referrers import create_source_referrers
from perennial.tables import (
    AUDIENCES,
    HOLDS,
    INTERACTIONS,
    LIFECYCLE_EVENTS,
    SOURCE_TAGS,
    SOURCES,
    VANISHED_SOURCES,
    Table,
)
from perennial.warehouse import Warehouse
from tests.conftest import MadeOnce
from tests.workspace import Workspace

_TYPES = {"string": pa.string(), "timestamptz": pa.timestamp("us", "UTC"), "long": pa.int64()}
_TYPES["list<string>"] = pa.list_(pa.string())
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
AS_OF = datetime(2026, 6, 1, 4, tzinfo=UTC)
HOSTILE_IDS = ["it's", 'say "hi"', "a/b\\c", "naïve 🌻", " > segment:", "line\nbreak", "nul\0", "$as_of; --", "i" * 500]

Row = dict[str, Any]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def arrow(table: Table, rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, pa.schema([(column.name, _TYPES[column.type]) for column in table.columns]))


def source(source_id: str = "s", status: str = "stopped", **columns: Any) -> Row:
    return {
        "source_id": source_id,
        "kind": "campaign",
        "name": source_id,
        "status": status,
        "created_at": LONG_AGO,
        **columns,
    }


def names(source_id: str) -> Row:
    return {"filter": "received_message_from_campaign", "campaign_id": source_id}


def member(segment_id: str) -> Row:
    return {"filter": "segment_membership", "segment_id": segment_id}


def audience(owner: str, *nodes: Row, status: str = "active", part: str = "audience") -> Row:
    kind, owner_id = owner.split(":", 1)
    definition = json.dumps({"and": list(nodes)})
    return {"owner_kind": kind, "owner_id": owner_id, "owner_status": status, "part": part, "definition": definition}


def event(name: str, source_id: str = "s", occurred_at: datetime = AS_OF, recorded_at: datetime | None = None) -> Row:
    counts = {"file_count": 1, "row_count": 1, "total_bytes": 1}
    moments = {"occurred_at": occurred_at, "recorded_at": recorded_at}
    return {"event_id": "e", "event": name, "source_id": source_id, "run_id": "r", **moments, **counts}


def hold(hold_id: str = "h", source_id: str | None = "s", lifted: bool = False, **columns: Any) -> Row:
    placed = {"held_by": "ann", "reason": "audit", "held_at": LONG_AGO, "until": None, **columns}
    return {"hold_id": hold_id, "source_id": source_id, "event": "lifted" if lifted else "placed", **placed}


def decided(
    *sources: Row,
    audiences: list[Row] | None = None,
    events: list[Row] | None = None,
    hot: dict[str, int] | None = None,
    locked: tuple[str, ...] = (),
    as_of: datetime = AS_OF,
    rules: Rules | None = None,
    holds: list[Row] | None = None,
    tags: list[tuple[str, str]] | None = None,
) -> dict[str, Decision]:
    tagged = arrow(SOURCE_TAGS, [{"source_id": source_id, "tag": tag} for source_id, tag in tags or []])
    metadata = SyncedMetadata(arrow(SOURCES, list(sources)), arrow(AUDIENCES, audiences or []), lambda: tagged)
    hot_rows = {row["source_id"]: 5 for row in sources} if hot is None else hot
    state = WarehouseState(
        arrow(LIFECYCLE_EVENTS, events or []), hot_rows, frozenset(locked), holds=arrow(HOLDS, holds or [])
    )
    table = decide_from(metadata, state, as_of, rules or Rules()).rows
    ids = table["source_id"].to_pylist()
    assert ids == sorted(set(ids), key=lambda text: text.encode())
    names = [field.name for field in fields(Decision)]
    return {
        row["source_id"]: Decision(
            **{name: row[name] for name in names} | {"referenced_by": tuple(row["referenced_by"])}
        )
        for row in table.to_pylist()
    }


def one(row: Row, **given_: Any) -> Decision:
    return decided(row, **given_)["s"]


# R1, R2, R3: the clock


def test_r2_an_inactive_source_that_is_due_expires() -> None:
    found = decided(*(source(status, status) for status in ("draft", "stopped", "archived")))
    assert {name: row.decision for name, row in found.items()} == dict.fromkeys(
        ("archived", "draft", "stopped"), "expire"
    )


def test_r1_r3_an_active_source_never_expires_however_idle_and_its_clock_does_not_run() -> None:
    found = one(source(status="active", stopped_at=LONG_AGO, last_sent_at=LONG_AGO))
    assert found == Decision("s", "active", "Active: its interactions are always available.", None, None, ())


# What a source has, when it was restored, and when its clock starts.
CLOCKS: dict[str, tuple[Row, datetime | None, datetime]] = {
    "created, with nothing else": ({}, None, LONG_AGO),
    "stopped before it was created": ({"created_at": AS_OF, "stopped_at": at("2026-01-01")}, None, AS_OF),
    "restored after all": (
        {"created_at": at("2026-01-02"), "last_sent_at": at("2026-01-01")}, at("2026-01-03"), at("2026-01-03"),
    ),
    "last sent": ({"stopped_at": at("2026-01-01"), "last_sent_at": at("2026-01-02")}, None, at("2026-01-02")),
    "stopped": ({"stopped_at": at("2026-01-03"), "last_sent_at": at("2026-01-02")}, None, at("2026-01-03")),
    "last sent alone": ({"last_sent_at": at("2026-01-02")}, None, at("2026-01-02")),
    "restored": ({"stopped_at": at("2026-01-03")}, at("2026-01-04"), at("2026-01-04")),
    "stopped after a restore": ({"stopped_at": at("2026-01-05")}, at("2026-01-04"), at("2026-01-05")),
    "restored alone": ({}, at("2026-01-04"), at("2026-01-04")),
}  # fmt: skip


def test_r3_the_clock_starts_at_the_latest_event() -> None:
    events = []
    for name, (_, restored_at, _) in CLOCKS.items():
        if restored_at:
            events += [event("expired", name, LONG_AGO), event("restored", name, restored_at)]
    found = decided(*(source(name, **columns) for name, (columns, _, _) in CLOCKS.items()), events=events)
    assert {name: row.clock_started_at for name, row in found.items()} == {
        name: started_at for name, (_, _, started_at) in CLOCKS.items()
    }


MONTHS_END = {
    "2025-11-30T00:00:00": "2026-02-28T00:00:00",
    "2023-11-30T13:45:00.123456": "2024-02-29T13:45:00.123456",
    "2023-11-29T00:00:00": "2024-02-29T00:00:00",
    "2399-11-30T00:00:00": "2400-02-29T00:00:00",
    "2099-11-30T00:00:00": "2100-02-28T00:00:00",
    "2026-01-31T23:59:59.999999": "2026-04-30T23:59:59.999999",
    "2026-03-31T00:00:00": "2026-06-30T00:00:00",
    "2026-08-31T00:00:00": "2026-11-30T00:00:00",
    "2026-02-28T00:00:00": "2026-05-28T00:00:00",
    "2025-12-31T00:00:00": "2026-03-31T00:00:00",
}


def test_r3_three_months_are_calendar_months_clamped_to_the_months_end() -> None:
    found = decided(*(source(started, stopped_at=at(started)) for started in MONTHS_END))
    assert {name: row.expires_at for name, row in found.items()} == {
        started: at(expires) for started, expires in MONTHS_END.items()
    }


@pytest.mark.parametrize("started", ["2023-11-30T13:45:00.123456", "2026-01-31T23:59:59.999999", "2026-03-31T00:00:00"])
def test_r3_a_source_expires_at_the_very_microsecond(started: str) -> None:
    row, due = source(stopped_at=at(started)), at(MONTHS_END[started])
    assert one(row, as_of=due).decision == "expire"
    assert one(row, as_of=due - timedelta(microseconds=1)).decision == "recent"


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/New_York", "Europe/Paris"])
def test_r3_months_are_counted_in_utc_whatever_the_process_time_zone(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        found = one(source(stopped_at=at("2026-01-31T23:30:00")), as_of=at("2026-04-30T23:30:00"))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found.decision == "expire"
    assert found.reason == "Stopped on 2026-01-31: the 3 months ended on 2026-04-30 and no active referrer names it."


def test_r2_the_number_of_months_is_a_setting() -> None:
    found = one(source(stopped_at=at("2026-01-31")), as_of=at("2026-02-28"), rules=Rules(retention_months=1))
    assert found.decision == "expire"
    assert "the 1 month ended on 2026-02-28" in found.reason


def test_r3_a_source_that_sends_until_the_end_of_time_is_recent() -> None:
    moments = ("9999-12-31T23:59:59", "9999-10-01T00:00:00")
    found = decided(*(source(moment, last_sent_at=at(moment)) for moment in moments))
    assert len(found) == len(moments)
    assert {(row.decision, row.expires_at) for row in found.values()} == {("recent", at("9999-12-31T00:00:00"))}


# R4, R5, R6: who keeps a source


def keeping(*audiences: Row, rules: Rules | None = None) -> tuple[str, tuple[str, ...]]:
    found = one(source(), audiences=list(audiences), rules=rules)
    return found.decision, found.referenced_by


def test_r4_a_filter_of_an_active_campaign_or_canvas_keeps_its_source() -> None:
    owners = ("campaign:c1", "canvas:c1")
    found = decided(*map(source, owners), audiences=[audience(owner, names(owner)) for owner in owners])
    assert {name: (row.decision, row.referenced_by) for name, row in found.items()} == {
        owner: ("referenced", (f"{owner} > received_message_from_campaign",)) for owner in owners
    }


def test_r4_a_referrer_that_is_not_active_keeps_nothing() -> None:
    statuses = ("draft", "stopped", "archived")
    direct = [audience(f"campaign:{status}", names("s"), status=status) for status in statuses]
    through = [audience(f"canvas:{status}", member("g"), status=status) for status in statuses]
    assert keeping(*direct, *through, audience("segment:g", names("s"))) == ("expire", ())


def test_r4_a_chain_of_segments_keeps_a_source_whatever_the_status_of_the_segments() -> None:
    statuses, audiences = ("active", "draft", "stopped"), []
    for status in statuses:
        audiences += [
            audience(f"canvas:{status}", member(f"{status} 1")),
            audience(f"segment:{status} 1", member(f"{status} 2"), status=status),
            audience(f"segment:{status} 2", names("s"), status=status),
        ]
    assert keeping(*audiences) == (
        "referenced",
        tuple(
            f"canvas:{status} > segment:{status} 1 > segment:{status} 2 > received_message_from_campaign"
            for status in statuses
        ),
    )


def test_r4_the_audience_of_a_canvas_step_keeps_a_source_as_well() -> None:
    parts = [
        audience("canvas:c1"),
        audience("canvas:c1", names("s"), part="step-1"),
        audience("canvas:c1", names("s"), part="2"),
    ]
    assert keeping(*parts) == ("referenced", ("canvas:c1 > received_message_from_campaign",))


def test_r4_each_referrer_and_filter_is_listed_once_with_a_shortest_path() -> None:
    converted = {"filter": "converted_from_campaign", "campaign_id": "s"}
    diamond = [
        audience("segment:top", member("left"), member("right"), member("direct")),
        audience("segment:left", member("bottom")),
        audience("segment:right", member("bottom")),
        audience("segment:bottom", names("s"), converted),
        audience("segment:direct", names("s")),
    ]
    kept = keeping(audience("campaign:a", member("top")), audience("canvas:b", member("bottom"), names("s")), *diamond)
    assert kept == (
        "referenced",
        (
            "campaign:a > segment:top > segment:direct > received_message_from_campaign",
            "campaign:a > segment:top > segment:left > segment:bottom > converted_from_campaign",
            "canvas:b > received_message_from_campaign",
            "canvas:b > segment:bottom > converted_from_campaign",
        ),
    )


def test_r4_cycles_of_segments_end_and_keep_what_they_name() -> None:
    cycle = [
        audience("segment:a", member("b")),
        audience("segment:b", member("c"), member("b")),
        audience("segment:c", member("a"), names("s")),
    ]
    kept = keeping(audience("canvas:v", member("a")), *cycle)
    assert kept == ("referenced", ("canvas:v > segment:a > segment:b > segment:c > received_message_from_campaign",))


def test_r4_a_cycle_that_no_active_referrer_uses_keeps_nothing() -> None:
    assert keeping(audience("segment:a", member("b"), names("s")), audience("segment:b", member("a"))) == ("expire", ())


def test_r4_two_stopped_sources_that_name_each_other_keep_nothing() -> None:
    each = [audience("campaign:a", names("b"), status="stopped"), audience("campaign:b", names("a"), status="stopped")]
    found = decided(source("a"), source("b"), audiences=each)
    assert {row.decision for row in found.values()} == {"expire"}


def test_r4_an_active_source_that_names_a_stopped_one_keeps_it_and_not_the_other_way_round() -> None:
    each = [audience("campaign:a", names("b")), audience("campaign:b", names("a"), status="stopped")]
    found = decided(source("a", "active"), source("b"), audiences=each)
    assert found["a"].referenced_by == ()
    assert found["b"].decision == "referenced"


def test_r4_a_segment_that_does_not_exist_keeps_nothing_and_harms_nothing() -> None:
    assert keeping(audience("campaign:a", member("gone"), names("s")))[0] == "referenced"
    assert keeping(audience("campaign:a", member("gone"))) == ("expire", ())


def test_r4_referrers_are_named_of_sources_that_are_not_due_as_well() -> None:
    found = one(source(stopped_at=AS_OF), audiences=[audience("campaign:a", names("s"))])
    assert found.decision == "recent"
    assert found.referenced_by == ("campaign:a > received_message_from_campaign",)


def test_r4_a_chain_of_a_thousand_segments_that_bites_its_tail_is_followed_to_its_end() -> None:
    links = [audience(f"segment:{n}", member(str((n + 1) % 1000))) for n in range(999)]
    kept = keeping(audience("canvas:v", member("0")), *links, audience("segment:999", member("0"), names("s")))
    assert kept[0] == "referenced"
    assert kept[1][0].count(" > segment:") == 1000


def test_r4_segments_that_all_use_each_other_are_followed_once_each() -> None:
    count = 60
    members = [member(str(n)) for n in range(count)]
    segments = [audience(f"segment:{n}", *members, *([names("s")] if n == count - 1 else [])) for n in range(count)]
    kept = keeping(audience("canvas:v", member("0")), *segments)
    assert kept == ("referenced", ("canvas:v > segment:0 > segment:59 > received_message_from_campaign",))


def test_r5_tag_filters_keep_nothing() -> None:
    tag_filters = [
        {"filter": "received_message_with_tag", "tag": "s"},
        {"filter": "clicked_or_opened_with_tag", "tag": "s", "interaction": "opened_email"},
        {"filter": "last_received_message_with_tag", "tag": "s", "operator": "after", "days_ago": 3},
    ]
    assert keeping(audience("campaign:a", *tag_filters), audience("segment:g", *tag_filters)) == ("expire", ())


@pytest.mark.parametrize("kind", ["content_card", "segment"])
def test_r6_content_cards_and_lone_segments_keep_a_source_only_where_the_setting_says_so(kind: str) -> None:
    kept = audience(f"{kind}:x", names("s"))
    added = Rules(exempting_referrers=("campaign", "canvas", kind))
    assert keeping(kept) == ("expire", ())
    assert keeping(kept, rules=added) == ("referenced", (f"{kind}:x > received_message_from_campaign",))
    assert keeping({**kept, "owner_status": "stopped"}, rules=added) == ("expire", ())


def test_r6_the_setting_can_leave_out_campaigns() -> None:
    only_canvas = Rules(exempting_referrers=("canvas",))
    assert keeping(audience("campaign:a", names("s")), rules=only_canvas) == ("expire", ())


def test_r6_a_negated_filter_keeps_its_source_as_well() -> None:
    assert keeping(audience("campaign:a", {"not": {"or": [names("s")]}}))[0] == "referenced"


def test_ids_may_contain_any_character() -> None:
    audiences = [audience(f"canvas:{name}", member(name)) for name in HOSTILE_IDS]
    audiences += [audience(f"segment:{name}", names(name)) for name in HOSTILE_IDS]
    events = [event("restored", name, LONG_AGO) for name in HOSTILE_IDS]
    found = decided(*map(source, [*HOSTILE_IDS, "other"]), audiences=audiences, events=events)
    assert found.pop("other").decision == "expire"
    assert {name: (row.decision, row.referenced_by) for name, row in found.items()} == {
        name: ("referenced", (f"canvas:{name} > segment:{name} > received_message_from_campaign",))
        for name in HOSTILE_IDS
    }


# R19: holds

DUE = source(stopped_at=at("2026-01-31"))
OF_TAG = {"source_id": None, "tag": "summer's"}
ENDED = "Stopped on 2026-01-31: the 3 months ended on 2026-04-30"


# Sources with what holds them, what the decision is, and words of its reason.
HELD: dict[str, tuple[Row, dict[str, Any], str, str]] = {
    "no end": (DUE, {"holds": [hold()]}, "held", "hold h of ann keeps it until it is lifted (audit)"),
    "until later": (DUE, {"holds": [hold(until=AS_OF + timedelta(microseconds=1))]}, "held", "until 2026-06-01 04:00 UTC (audit)"),
    "until a day": (DUE, {"holds": [hold(until=at("2026-06-02"))]}, "held", "keeps it until 2026-06-02 (audit)"),
    "ended": (DUE, {"holds": [hold(until=AS_OF)]}, "expire", "and no active referrer names it"),
    "lifted": (DUE, {"holds": [hold(), hold(lifted=True)]}, "expire", "and no active referrer names it"),
    "held again": (DUE, {"holds": [hold(), hold(lifted=True), hold("i")]}, "held", "hold i of ann"),
    "the longest": (DUE, {"holds": [hold("a", until=at("2026-07-01")), hold("b", until=at("2026-08-01"))]}, "held", "hold b of ann keeps it until 2026-08-01 (audit), and so does 1 more hold"),
    "placed after the run's date": (DUE, {"holds": [hold(held_at=AS_OF + timedelta(days=1))]}, "held", "hold h"),
    "another source": (DUE, {"holds": [hold(source_id="other")]}, "expire", ""),
    "its tag": (DUE, {"holds": [hold(**OF_TAG)], "tags": [("s", "summer's")]}, "held", "hold h of ann on tag 'summer's' keeps it"),
    "a tag it has not": (DUE, {"holds": [hold(**OF_TAG)], "tags": [("other", "summer's")]}, "expire", ""),
    "before referenced": (DUE, {"holds": [hold()], "audiences": [audience("campaign:c", names("s"))]}, "held", "hold h"),
    "before empty": (DUE, {"holds": [hold()], "hot": {}}, "held", "hold h"),
    "after recent": (source(stopped_at=AS_OF), {"holds": [hold()]}, "recent", ""),
    "active": (source(status="active"), {"holds": [hold()]}, "active", ""),
    "brings nothing back": (DUE, {"holds": [hold()], "events": [event("expired")], "hot": {}}, "expired", "in long-term storage"),
    "hides and shows nothing": (DUE, {"holds": [hold()], "events": [event("expired")]}, "late", "follow into the archive"),
}  # fmt: skip


def test_r19_a_hold_keeps_what_is_due_and_nothing_else() -> None:
    holds, tags, audiences, events, hot = [], [], [], [], {}
    for name, (_, given_, _, _) in HELD.items():
        for row in given_.get("holds", []):
            marked = {key: row.get(key) and f"{name}/{row[key]}" for key in ("hold_id", "source_id", "tag")}
            holds.append({**row, **marked})
        tags += [(f"{name}/{source_id}", f"{name}/{tag}") for source_id, tag in given_.get("tags", [])]
        audiences += [audience("campaign:c", names(f"{name}/s")) for _ in given_.get("audiences", [])]
        events += [{**row, "source_id": f"{name}/s"} for row in given_.get("events", [])]
        hot |= {} if "hot" in given_ else {f"{name}/s": 5}
    sources = [{**row, "source_id": f"{name}/s"} for name, (row, *_) in HELD.items()]
    found = decided(*sources, holds=holds, tags=tags, audiences=audiences, events=events, hot=hot)
    for name, (row, _, decision, says) in HELD.items():
        about = found[f"{name}/s"]
        reason = about.reason.replace(f"{name}/", "")
        assert (about.decision, about.clock_started_at) == (decision, row.get("stopped_at")), name
        assert says in reason
        if decision == "held":
            assert reason.startswith(f"{ENDED}, but hold ")


def test_r19_a_hold_on_a_tag_keeps_what_carried_it_when_it_vanished() -> None:
    vanished = arrow(VANISHED_SOURCES, [{"source_id": "s", "tags": ["summer"], "missed_at": LONG_AGO, "run_id": "r"}])
    metadata = SyncedMetadata(arrow(SOURCES, []), arrow(AUDIENCES, []))
    for tag, decision in (("summer", "held"), ("winter", "expire")):
        placed = arrow(HOLDS, [hold(source_id=None, tag=tag)])
        state = WarehouseState(arrow(LIFECYCLE_EVENTS, []), {"s": 5}, vanished=vanished, holds=placed)
        assert decide_from(metadata, state, AS_OF, Rules()).rows["decision"].to_pylist() == [decision]


# R8, R9, R10, R13, R18: what was moved before


def test_r9_late_rows_of_an_expired_source_follow_into_the_archive_without_touching_the_clock() -> None:
    events = [event("expired", occurred_at=at("2025-05-01"))]
    late = one(source(stopped_at=at("2025-01-01")), events=events)
    assert late.decision == "late"
    assert late.clock_started_at == at("2025-01-01")
    assert one(source(), events=events, hot={}).decision == "expired"
    archived = [*events, event("late_archived", occurred_at=at("2025-05-02"))]
    assert one(source(stopped_at=at("2025-01-01")), events=archived, hot={}).clock_started_at == at("2025-01-01")


def test_r9_a_filter_saved_after_the_expiry_does_not_bring_late_rows_back() -> None:
    found = one(source(), audiences=[audience("campaign:a", names("s"))], events=[event("expired")])
    assert found.decision == "late"
    assert found.referenced_by == ("campaign:a > received_message_from_campaign",)


@pytest.mark.parametrize("hot", [{}, {"s": 4}], ids=["without hot rows", "with hot rows"])
def test_r10_an_expired_source_that_is_active_again_is_brought_back(hot: dict[str, int]) -> None:
    assert one(source(status="active"), events=[event("expired")], hot=hot).decision == "reactivated"


def test_r13_a_restore_restarts_the_clock_and_the_source_expires_again() -> None:
    events = [event("expired", occurred_at=at("2025-06-01")), event("restored", occurred_at=at("2025-11-30T10:00:00"))]
    row = source(stopped_at=at("2025-01-01"))
    assert one(row, events=events, as_of=at("2026-02-28T09:59:59")).decision == "recent"
    assert one(row, events=events, as_of=at("2026-02-28T10:00:00")).decision == "expire"


def test_r13_the_move_recorded_last_says_where_the_data_is_whatever_date_the_runs_replayed() -> None:
    events = [
        event("expired", occurred_at=at("2026-03-01"), recorded_at=at("2026-05-01T01:00:00")),
        event("restored", occurred_at=at("2026-01-01"), recorded_at=at("2026-05-01T02:00:00")),
    ]
    assert one(source(), events=events).decision == "expire"
    assert one(source(), events=events[::-1], as_of=at("2025-01-01")).decision == "recent"
    unrecorded = [event("restored", occurred_at=at("2026-01-01")), event("expired", occurred_at=at("2026-03-01"))]
    assert one(source(), events=unrecorded).decision == "late"


def test_r18_what_the_previous_policy_deleted_stays_deleted() -> None:
    statuses = ("active", "stopped")
    rows = [source(status, status, interaction_data_deleted_at=at("2023-05-01")) for status in statuses]
    found = decided(*rows, events=[event("expired", status) for status in statuses])
    reason = "The previous policy deleted its interactions on 2023-05-01: they cannot be restored."
    assert found.keys() == set(statuses)
    assert {(row.decision, row.reason, row.expires_at) for row in found.values()} == {("deleted", reason, None)}


def test_no_rows_leave_hot_while_a_restore_brings_them_back() -> None:
    rows = [
        source("its rows are hot already"),
        source("it was not expired"),
        source("active", "active"),
        source("active and still expired", "active"),
    ]
    events = [event("expired", name) for name in ("its rows are hot already", "active and still expired")]
    locked = tuple(row["source_id"] for row in rows)
    found = decided(*rows, source("other"), events=events, locked=locked)
    assert {name: row.decision for name, row in found.items()} == {
        "active": "active",
        "active and still expired": "reactivated",
        "it was not expired": "recent",
        "its rows are hot already": "expired",
        "other": "expire",
    }


def test_a_source_that_is_due_without_interactions_is_empty() -> None:
    assert one(source(), hot={}).decision == "empty"
    assert one(source(), hot={}, audiences=[audience("campaign:a", names("s"))]).decision == "referenced"


def test_a_source_that_is_listed_twice_is_decided_once_and_kept_longest() -> None:
    assert one(source(), hot={"s": 1}).decision == "expire"
    found = decided(
        source(stopped_at=LONG_AGO), source(stopped_at=AS_OF), events=[event("restored", occurred_at=LONG_AGO)]
    )
    assert [row.decision for row in found.values()] == ["recent"]
    assert decided(source("s"), source("s", "active"))["s"].decision == "active"


def test_reasons_tell_the_whole_story() -> None:
    row = source(stopped_at=at("2026-01-31"), last_sent_at=at("2026-02-10"))
    assert one(row).reason == (
        "Stopped on 2026-01-31, last sent on 2026-02-10: the 3 months ended on 2026-05-10 and no active referrer names it."
    )
    kept = one(row, audiences=[audience("campaign:a", names("s"))])
    assert kept.reason.endswith("the 3 months ended on 2026-05-10, but active referrers name it.")
    restored = one(row, events=[event("restored", occurred_at=at("2026-05-20"))])
    assert restored.reason.endswith("restored on 2026-05-20: the 3 months end on 2026-08-20.")
    assert one(source()).reason.startswith(
        "Created on 2020-01-01, neither stopped nor sent: the 3 months ended on 2020-04-01"
    )


# Fail safe


def broken(owner: str, status: str) -> Row:
    return {**audience(owner, status=status, part="step 7"), "definition": '{"and": [{"filter": "no such filter"}]}'}


def defined(owner: str, definition: Any, status: str = "active") -> Row:
    text = definition if isinstance(definition, str) else json.dumps(definition)
    return {**audience(owner, status=status), "definition": text}


def kept_by_guess(*audiences: Row, rules: Rules | None = None) -> dict[str, tuple[str, ...]]:
    """Which of three sources an audience keeps, each with the ways."""
    found = decided(source("s"), source("t"), source("17"), audiences=list(audiences), rules=rules)
    assert {row.decision for row in found.values()} <= {"expire", "referenced"}
    assert all(bool(row.referenced_by) == (row.decision == "referenced") for row in found.values())
    return {name: row.referenced_by for name, row in found.items() if row.referenced_by}


EVERY_SOURCE = {"s", "t", "17"}
GUESSES: dict[str, tuple[Any, str, set[str]]] = {
    "a filter that names a source": ({"filter": "foo", "campaign_id": "s", "x": 1}, "unknown filter foo", {"s"}),
    "a number": ({"filter": "foo", "campaign": 17}, "unknown filter foo", {"17"}),
    "a list of sources": ({"filter": "foo", "of": [{"id": "s"}, {"id": "t"}, "gone"]}, "unknown filter foo", {"s", "t"}),
    "negated": ({"not": {"filter": "foo", "campaign_id": "t"}}, "unknown filter foo", {"t"}),
    "a filter that names nothing": ({"filter": "likes", "what": "cats"}, "unknown filter likes", EVERY_SOURCE),
    "a filter that names what is gone": ({"filter": "foo", "campaign_id": "gone"}, "unknown filter foo", EVERY_SOURCE),
    "a param too many": ({**names("s"), "since": "2026-01-01"}, "unreadable received_message_from_campaign", {"s"}),
    "a param too few": (
        {"filter": "clicked_alias_in_campaign", "campaign_id": "t"}, "unreadable clicked_alias_in_campaign", {"t"},
    ),
    "an id that is none": (
        {"filter": "received_message_from_campaign", "campaign_id": None}, "unreadable received_message_from_campaign",
        EVERY_SOURCE,
    ),
    "a tag filter": ({"filter": "received_message_with_tag", "tag": 3}, "", set()),
    "a tag filter with a source": (
        {"filter": "received_message_with_tag", "tag": "s", "campaign_id": "t"}, "unreadable received_message_with_tag", {"t"},
    ),
    "a filter without interactions": ({"filter": "last_received_email", "operator": "after", "days_ago": "s"}, "", set()),
    "no JSON": ('{"and": [', "unreadable definition", EVERY_SOURCE),
    "nested for ever": ("[" * 100_000, "unreadable definition", EVERY_SOURCE),
    "empty": ("", "unreadable definition", EVERY_SOURCE),
    "a text": ('"s"', "unreadable part", {"s"}),
    "a key twice": ('{"filter": "foo", "campaign_id": "s", "campaign_id": "t"}', "unreadable part", {"s", "t"}),
    "a filter twice": (
        '{"filter": "received_message_from_campaign", "filter": "hard_bounced", "campaign_id": "s"}', "unreadable part", {"s"},
    ),
    "an operator": ({"xor": [names("s"), names("t")]}, "unreadable part", {"s", "t"}),
    "a surrogate": ('{"filter": "f\\ud800", "campaign_id": "s", "x": "\\ud800"}', "unknown filter 'f\\ud800'", {"s"}),
    "beside what can be read": (
        {"or": [names("s"), {"filter": "foo", "campaign_id": "t"}]}, "", {"s", "t"},
    ),
    "more nodes than are allowed": ({"and": [names("s")] * 1001}, "received_message_from_campaign", {"s"}),
}  # fmt: skip


def test_r4_what_cannot_be_read_keeps_what_it_could_name() -> None:
    sources = pa.chunked_array([pa.array(["s", "t", "17"])])
    owners = [defined(f"campaign:{name}", definition) for name, (definition, _, _) in GUESSES.items()]
    with open_connection() as connection:
        create_source_referrers(connection, arrow(AUDIENCES, owners), lambda: sources, ("campaign", "canvas"))
        rows = connection.execute("SELECT coalesce(source_id, '*'), path FROM source_referrers").fetchall()
    for name, (_, label, kept) in GUESSES.items():
        found = {source_id: path for source_id, path in rows if path.startswith(f"campaign:{name} > ")}
        # What could name any source keeps every source.
        assert found.keys() - {"gone"} == ({"*"} if kept == EVERY_SOURCE else kept), name
        if label:
            assert set(found.values()) == {f"campaign:{name} > {label}"}


@pytest.mark.parametrize(
    "name", ["a filter that names a source", "a filter that names what is gone", "a filter twice", "no JSON"]
)
def test_r4_a_source_that_could_be_named_is_kept(name: str) -> None:
    definition, label, kept = GUESSES[name]
    assert kept_by_guess(defined("campaign:x", definition)) == dict.fromkeys(kept, (f"campaign:x > {label}",))


def test_r4_each_part_that_cannot_be_read_is_looked_at_by_itself() -> None:
    both = {"and": [{"filter": "foo", "campaign_id": "s"}, {"filter": "likes", "what": "cats"}]}
    found = kept_by_guess(defined("campaign:x", both))
    assert found == {
        "s": ("campaign:x > unknown filter foo", "campaign:x > unknown filter likes"),
        "t": ("campaign:x > unknown filter likes",),
        "17": ("campaign:x > unknown filter likes",),
    }


def test_r4_what_cannot_be_read_keeps_what_a_segment_that_it_could_name_keeps() -> None:
    chain = [audience("segment:g", member("h"), status="archived"), audience("segment:h", names("s"))]
    foo = {"filter": "foo", "segments": ["g", "gone"]}
    assert kept_by_guess(defined("canvas:x", foo), *chain) == {
        "s": ("canvas:x > segment:g > segment:h > received_message_from_campaign",)
    }


@pytest.mark.parametrize("status", ["active", "archived"])
def test_r4_an_unreadable_segment_that_an_active_owner_reaches_keeps_what_it_could_name(status: str) -> None:
    chain = [audience("segment:g", member("h")), defined("segment:h", {"filter": "foo", "campaign_id": "t"}, status)]
    assert kept_by_guess(audience("campaign:a", member("g")), *chain) == {
        "t": ("campaign:a > segment:g > segment:h > unknown filter foo",)
    }
    lost = [*chain, defined("segment:i", "no JSON", status)]
    assert kept_by_guess(audience("campaign:a", member("i")), *lost).keys() == {"s", "t", "17"}
    assert kept_by_guess(audience("campaign:a", member("g"), status="stopped"), *lost) == {}


def test_the_reason_names_what_cannot_be_read_and_ten_paths_are_enough() -> None:
    found = one(source(), audiences=[defined(f"campaign:{n:02}", "no JSON") for n in range(30)])
    assert found.reason == (
        "Created on 2020-01-01, neither stopped nor sent: the 3 months ended on 2020-04-01, but what cannot be read "
        "might: campaign:00 > unreadable definition."
    )
    assert found.referenced_by == tuple(f"campaign:{n:02} > unreadable definition" for n in range(10))


def test_what_cannot_be_read_keeps_nothing_of_what_goes_on() -> None:
    rows = [source("late"), source("back", "active"), source("running", "active"), source("due")]
    events = [event("expired", name, at("2026-01-01")) for name in ("late", "back")]
    found = decided(*rows, audiences=[defined("campaign:x", "no JSON")], events=events)
    assert {name: row.decision for name, row in found.items()} == {
        "back": "reactivated",
        "due": "referenced",
        "late": "late",
        "running": "active",
    }


@pytest.mark.parametrize("kind", ["content_card", "segment"])
def test_r6_what_would_keep_nothing_if_it_could_be_read_keeps_nothing(kind: str) -> None:
    """A kind that R6 leaves out keeps nothing, whatever its audience means."""
    lost = defined(f"{kind}:x", "no JSON")
    assert kept_by_guess(lost) == {}
    assert kept_by_guess(lost, rules=Rules(exempting_referrers=("canvas", kind))).keys() == {"s", "t", "17"}


def test_an_unreadable_audience_of_an_inactive_owner_stops_nothing() -> None:
    owners = [
        broken(f"{kind}:{status}", status)
        for kind in ("campaign", "canvas", "content_card", "segment")
        for status in ("draft", "stopped", "archived")
    ]
    assert one(source(), audiences=owners).decision == "expire"


@pytest.mark.parametrize(
    ("sources", "audiences", "says"),
    [
        pytest.param([source(status="Active")], [], "sources.status has the value 'Active'", id="source status"),
        pytest.param([source(kind="push")], [], "sources.kind has the value 'push'", id="source kind"),
        pytest.param([source()], [audience("card:x")], "audiences.owner_kind has the value 'card'", id="owner kind"),
        pytest.param([source()], [audience("canvas:x", status="on")], "audiences.owner_status has the value 'on'", id="owner status"),
    ],
)  # fmt: skip
def test_values_that_nobody_knows_are_refused(sources: list[Row], audiences: list[Row], says: str) -> None:
    with pytest.raises(TerminalMetadataError) as caught:
        decided(*sources, audiences=audiences)
    assert says in str(caught.value)


# The warehouse


def load(warehouse: Warehouse, sources: list[Row], audiences: list[Row], events: list[Row]) -> None:
    for table, rows in ((SOURCES, sources), (AUDIENCES, audiences)):
        stream = pa.Table.from_pylist(rows, warehouse.arrow_schema(table.name)).to_reader()
        warehouse.replace_rows(table.name, stream, f"test-sync-{table.name}-{len(rows)}")
    warehouse.append_rows(LIFECYCLE_EVENTS.name, events, "test-events")


def interaction(source_id: str, number: int = 0) -> Row:
    return {
        "event_id": f"{source_id}-{number}",
        "event_type": "users.messages.email.Send",
        "occurred_at": LONG_AGO,
        "user_id": "u",
        "source_id": source_id,
        "source_kind": "campaign",
        "interaction": "received",
    }


@pytest.fixture
def workspace(made_once: MadeOnce) -> Warehouse:
    return made_once(fill).warehouse


def fill(warehouse: Warehouse) -> Workspace:
    """One source of each state, hot rows of all of them and of one that no sync has seen."""
    sources = [
        source("active", "active"),
        source("back", "active"),
        source("due", stopped_at=at("2026-01-31"), last_sent_at=at("2026-02-10")),
        source("expired"),
        source("deleted", interaction_data_deleted_at=at("2023-05-01")),
        source("restored"),
    ]
    events = [
        event("expired", "back", at("2026-05-01")),
        event("expired", "expired", at("2026-05-02")),
        event("expired", "restored", at("2026-05-03")),
        event("restored", "restored", at("2026-05-04")),
        event("expired", "dropped", at("2026-05-05")),
    ]
    load(warehouse, sources, [audience("canvas:c", member("g")), audience("segment:g", names("restored"))], events)
    rows = [interaction(row["source_id"], n) for row in sources for n in range(2)]
    frame = pa.Table.from_pylist(
        [*rows, interaction("new"), interaction("dropped")], warehouse.arrow_schema(INTERACTIONS.name)
    )
    warehouse.table(INTERACTIONS.name).append(frame)
    return Workspace(warehouse)


def test_decisions_come_from_the_tables_of_the_warehouse_in_the_shape_of_expiry_decisions(workspace: Warehouse) -> None:
    decisions = decide(workspace, AS_OF)
    assert decisions.column_names == [
        "source_id",
        "decision",
        "reason",
        "clock_started_at",
        "expires_at",
        "referenced_by",
    ]
    assert dict(zip(decisions["source_id"].to_pylist(), decisions["decision"].to_pylist(), strict=True)) == {
        "active": "active",
        "back": "reactivated",
        "deleted": "deleted",
        "due": "expire",
        "expired": "late",
        "restored": "recent",
    }


def test_r7_decisions_can_be_taken_again_from_metadata_that_was_just_read(workspace: Warehouse) -> None:
    saved_since = [audience("campaign:new", names("due"))]
    fresh = SyncedMetadata(arrow(SOURCES, [source("due", stopped_at=at("2026-01-31"))]), arrow(AUDIENCES, saved_since))
    (again,) = decide(workspace, AS_OF, fresh).filter(pc.field("source_id") == "due").to_pylist()
    assert again["decision"] == "referenced"


def test_decisions_fit_the_table_they_are_kept_in(workspace: Warehouse) -> None:
    rows = [{"as_of": AS_OF, "run_id": "r", **row} for row in decide(workspace, AS_OF).to_pylist()]
    workspace.append_rows("expiry_decisions", rows, "test-decisions")
    kept = workspace.read("expiry_decisions").select(list(rows[0])).to_pylist()
    assert sorted(kept, key=lambda row: row["source_id"]) == rows


def test_an_explanation_names_what_started_the_clock_and_every_referrer(workspace: Warehouse) -> None:
    due = explain(workspace, "due", AS_OF)
    assert due.decision.decision == "expire"
    assert due.clock_started_by == "last sent"
    assert due.hot_rows == 2
    restored = explain(workspace, "restored", AS_OF)
    assert (restored.state, restored.since, restored.clock_started_by) == ("available", at("2026-05-04"), "restored")
    assert restored.decision.referenced_by == ("canvas:c > segment:g > received_message_from_campaign",)
    assert explain(workspace, "active", AS_OF).clock_started_by is None
    assert explain(workspace, "due", at("2026-03-01")).decision.decision == "recent"


def test_an_explanation_of_an_unknown_source_is_refused(workspace: Warehouse) -> None:
    with pytest.raises(TerminalRequestError, match="'nobody'"):
        explain(workspace, "nobody", AS_OF)


def test_source_availability_says_where_the_data_of_each_source_is(workspace: Warehouse) -> None:
    columns = "source_id, kind, name, status, state, since, clock_started_at, expires_at, hot_rows, archived_rows"
    with open_session(workspace) as session:
        described = [row[0] for row in session.execute("DESCRIBE source_availability").fetchall()]
        rows = session.execute(f"SELECT {columns} FROM source_availability ORDER BY source_id").fetchall()
    assert described == [*columns.split(", "), "vanished_at"]
    due, restored = (at("2026-02-10"), at("2026-05-10")), (at("2026-05-04"), at("2026-08-04"))
    old = (LONG_AGO, at("2020-04-01"))
    campaign = "campaign"
    assert rows == [
        ("active", campaign, "active", "active", "available", LONG_AGO, None, None, 2, 0),
        ("back", campaign, "back", "active", "expired", at("2026-05-01"), None, None, 2, 0),
        ("deleted", campaign, "deleted", "stopped", "deleted", at("2023-05-01"), None, None, 2, 0),
        ("due", campaign, "due", "stopped", "available", LONG_AGO, *due, 2, 0),
        ("expired", campaign, "expired", "stopped", "expired", at("2026-05-02"), *old, 2, 0),
        ("restored", campaign, "restored", "stopped", "available", at("2026-05-04"), *restored, 2, 0),
    ]


def test_r1_r9_features_see_hot_rows_except_of_expired_and_deleted_sources(workspace: Warehouse) -> None:
    with open_session(workspace) as session:
        seen = session.execute("SELECT DISTINCT source_id FROM available_interactions ORDER BY ALL").fetchall()
        columns = [row[0] for row in session.execute("DESCRIBE available_interactions").fetchall()]
    assert [row[0] for row in seen] == ["active", "due", "new", "restored"]
    assert columns == [column.name for column in INTERACTIONS.columns]


def test_the_views_count_months_in_utc_whatever_time_zone_an_analyst_sets(warehouse: Warehouse) -> None:
    load(warehouse, [source("due", stopped_at=at("2026-01-31T23:30:00"))], [], [])
    with open_session(warehouse) as session:
        session.execute("SET TimeZone = 'Pacific/Auckland'")
        expires_at = session.execute("SELECT epoch_us(expires_at) FROM source_availability").fetchall()
    assert expires_at == [(int(at("2026-04-30T23:30:00").timestamp()) * 1_000_000,)]


def test_stale_metadata_is_refused_by_the_wall_clock(workspace: Warehouse) -> None:
    synced_at = workspace.committed_at(SOURCES.name)
    assert synced_at is not None
    refuse_stale_metadata(workspace, synced_at + timedelta(hours=26))
    with pytest.raises(
        TerminalMetadataError, match=r"Table sources was last synced .* 27 hours ago.* allows 26.*sync_sources"
    ):
        refuse_stale_metadata(workspace, synced_at + timedelta(hours=27))


def test_metadata_that_was_never_synced_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(TerminalMetadataError, match="sources was never synced"):
        refuse_stale_metadata(warehouse, AS_OF)
    stream = pa.Table.from_pylist([source()], warehouse.arrow_schema(SOURCES.name)).to_reader()
    warehouse.replace_rows(SOURCES.name, stream, "sync")
    with pytest.raises(TerminalMetadataError, match="audiences was never synced"):
        refuse_stale_metadata(warehouse, datetime.now(UTC))


# R24: times that cannot be right, as an earlier version has synced them

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
FOR_EVER = datetime(9999, 12, 31, tzinfo=UTC)


# What a source has, and from when its clock runs if only what can be right is believed.
BELIEVED: dict[str, tuple[Row, str, datetime | None]] = {
    "never, so created": ({"stopped_at": NEVER, "last_sent_at": NEVER}, "expire", LONG_AGO),
    "a day old": ({"created_at": at("2026-05-31"), "last_sent_at": NEVER}, "recent", at("2026-05-31")),
    "stopped": ({"created_at": NEVER, "stopped_at": at("2026-01-01")}, "expire", at("2026-01-01")),
    "no time at all": ({"created_at": NEVER, "stopped_at": datetime(1, 1, 1, tzinfo=UTC)}, "recent", None),
    "never deleted": ({"interaction_data_deleted_at": NEVER}, "expire", LONG_AGO),
    "deleted at the end of time": ({"interaction_data_deleted_at": FOR_EVER}, "expire", LONG_AGO),
    "stopped at the end of time": ({"stopped_at": FOR_EVER}, "recent", FOR_EVER),
}


def test_r24_no_time_that_cannot_be_right_is_believed() -> None:
    found = decided(*(source(name, **columns) for name, (columns, _, _) in BELIEVED.items()))
    assert {name: (row.decision, row.clock_started_at) for name, row in found.items()} == {
        name: (decision, started) for name, (_, decision, started) in BELIEVED.items()
    }
    assert all(row.reason for row in found.values())


def test_r24_an_explanation_says_what_is_believed(warehouse: Warehouse) -> None:
    rows = [
        source("young", created_at=at("2026-05-31"), stopped_at=at("2026-01-01"), last_sent_at=NEVER),
        source("timeless", created_at=NEVER, last_sent_at=NEVER),
    ]
    load(warehouse, rows, [], [])
    young = explain(warehouse, "young", AS_OF)
    assert young.clock_started_by == "created"
    assert young.clock_events == {"stopped": at("2026-01-01"), "created": at("2026-05-31")}
    assert young.decision.reason == ("Stopped on 2026-01-01, created on 2026-05-31: the 3 months end on 2026-08-31.")
    timeless = explain(warehouse, "timeless", AS_OF)
    assert (timeless.since, timeless.clock_events, timeless.clock_started_by) == (None, {}, None)
    assert timeless.decision.reason == (
        "All of its times are before 2000, which cannot be right: nothing is moved away."
    )


def test_r24_a_deletion_that_cannot_be_right_hides_nothing(warehouse: Warehouse) -> None:
    rows = [source("s", interaction_data_deleted_at=NEVER), source("t", interaction_data_deleted_at=FOR_EVER)]
    load(warehouse, rows, [], [])
    frame = pa.Table.from_pylist([interaction("s"), interaction("t")], warehouse.arrow_schema(INTERACTIONS.name))
    warehouse.table(INTERACTIONS.name).append(frame)
    with open_session(warehouse) as session:
        seen = session.execute("SELECT event_id FROM available_interactions ORDER BY ALL").fetchall()
        assert seen == [("s-0",), ("t-0",)]
        assert session.execute("SELECT state FROM source_availability").fetchall() == [("available",)] * 2


# A model of the rules


def model(
    sources: list[Row], audiences: list[Row], events: list[Row], hot: set[str], held: set[str], as_of: datetime
) -> dict[str, tuple[str, set[str]]]:
    """The rules in plain Python: the decision of each source, and the owners that keep it."""
    uses: dict[str, list[Row]] = {}
    for row in audiences:
        uses.setdefault(f"{row['owner_kind']}:{row['owner_id']}", []).extend(json.loads(row["definition"])["and"])
    kept_by: dict[str, set[str]] = {}
    for row in audiences:
        if row["owner_status"] == "active" and row["owner_kind"] in ("campaign", "canvas"):
            owner = f"{row['owner_kind']}:{row['owner_id']}"
            waiting, seen = [owner], {owner}
            while waiting:
                for node in uses.get(waiting.pop(), []):
                    if "campaign_id" in node:
                        kept_by.setdefault(node["campaign_id"], set()).add(owner)
                    elif f"segment:{node['segment_id']}" not in seen:
                        seen.add(f"segment:{node['segment_id']}")
                        waiting.append(f"segment:{node['segment_id']}")
    return {
        row["source_id"]: (_modelled(row, events, hot, held, kept_by, as_of), kept_by.get(row["source_id"], set()))
        for row in sources
    }


def _modelled(
    row: Row, events: list[Row], hot: set[str], held: set[str], kept_by: dict[str, set[str]], as_of: datetime
) -> str:
    source_id = row["source_id"]
    moves = [found for found in events if found["source_id"] == source_id and found["event"] != "late_archived"]
    moves.sort(key=lambda found: (found["recorded_at"] or found["occurred_at"], found["occurred_at"], found["event"]))
    if row.get("interaction_data_deleted_at", NEVER) not in (None, NEVER, FOR_EVER):
        return "deleted"
    if moves and moves[-1]["event"] == "expired":
        if row["status"] == "active":
            return "reactivated"
        return "late" if source_id in hot else "expired"
    if row["status"] == "active":
        return "active"
    starts = [
        moment for moment in (row["created_at"], row.get("stopped_at"), row.get("last_sent_at")) if moment != NEVER
    ]
    starts += [found["occurred_at"] for found in moves if found["event"] == "restored"]
    known = [moment for moment in starts if moment]
    if not known or three_months_after(max(known)) > as_of:
        return "recent"
    if source_id in held:
        return "held"
    if kept_by.get(source_id):
        return "referenced"
    return "expire" if source_id in hot else "empty"


def three_months_after(moment: datetime) -> datetime:
    year, month = divmod(moment.year * 12 + moment.month - 1 + 3, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)


STATUS = st.sampled_from(["active", "active", "stopped", "draft", "archived"])
# Around the three months before AS_OF, with both sides of the very instant.
MOMENT = st.sampled_from([at("2026-03-01T04:00:00"), at("2026-03-01T04:00:01"), at("2026-02-28"), at("2026-05-31"), LONG_AGO, NEVER]) | st.datetimes(
    at("2025-10-01").replace(tzinfo=None), at("2026-06-30").replace(tzinfo=None), timezones=st.just(UTC)
)  # fmt: skip
IDS = st.sampled_from(["a", "b", "c", "d"])
NODE = IDS.map(names) | IDS.map(member)
SOURCE = st.builds(
    source, IDS, STATUS, created_at=MOMENT, stopped_at=st.none() | MOMENT, last_sent_at=st.none() | MOMENT,
    interaction_data_deleted_at=st.sampled_from([None, None, None, LONG_AGO, NEVER, FOR_EVER]),
)  # fmt: skip
OWNER = st.builds("{}:{}".format, st.sampled_from(["campaign", "canvas", "segment", "segment", "content_card"]), IDS)
AUDIENCE = st.builds(
    lambda owner, nodes, status: audience(owner, *nodes, status=status), OWNER, st.lists(NODE, max_size=3), STATUS
)
EVENT = st.builds(event, st.sampled_from(["expired", "restored", "late_archived"]), IDS, MOMENT, st.none() | MOMENT)


WORLD = st.tuples(
    st.lists(SOURCE, max_size=4, unique_by=lambda row: row["source_id"]),
    st.lists(AUDIENCE, max_size=6, unique_by=lambda row: (row["owner_kind"], row["owner_id"])),
    st.lists(EVENT, max_size=4),
    st.sets(IDS),
    st.sets(IDS, max_size=2),
)
World = tuple[list[Row], list[Row], list[Row], set[str], set[str]]
"""Sources, audiences, events, and the ids of those that have hot rows and of those that are held."""


def apart(world: World, mark: str) -> World:
    """The same world with ids of its own, so that many can be decided at once."""
    sources, audiences, events, hot, held = world

    def node(found: Row) -> Row:
        return {key: value if key == "filter" else mark + value for key, value in found.items()}

    def marked(row: Row) -> Row:
        nodes = [node(found) for found in json.loads(row["definition"])["and"]]
        return {**row, "owner_id": mark + row["owner_id"], "definition": json.dumps({"and": nodes})}

    return (
        [{**row, "source_id": mark + row["source_id"]} for row in sources],
        [marked(row) for row in audiences],
        [{**row, "source_id": mark + row["source_id"]} for row in events],
        {mark + source_id for source_id in hot},
        {mark + source_id for source_id in held},
    )


@hypothesis_settings(max_examples=20, deadline=None)
@given(st.lists(WORLD, min_size=1, max_size=12))
def test_decisions_agree_with_a_model_of_the_rules(worlds: list[World]) -> None:
    marked = [apart(world, f"{number}/") for number, world in enumerate(worlds)]
    sources, audiences, events = ([row for world in marked for row in world[part]] for part in range(3))
    hot, held = ({key for world in marked for key in world[part]} for part in (3, 4))
    holds = [hold(f"of {source_id}", source_id) for source_id in held]
    found = decided(*sources, audiences=audiences, events=events, hot=dict.fromkeys(hot, 1), holds=holds)
    owners = {name: {path.split(" > ")[0] for path in decision.referenced_by} for name, decision in found.items()}
    expected = model(sources, audiences, events, hot, held, AS_OF)
    assert {name: (decision.decision, owners[name]) for name, decision in found.items()} == expected
