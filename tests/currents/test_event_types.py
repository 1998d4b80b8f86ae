"""Every event type of the specification, from a file to the rows it makes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.currents.landing import TIME, event, land_avro, land_json, load, rows

AT = datetime.fromtimestamp(TIME, UTC)
CHANNELS = {
    "email": "email", "pushnotification": "push", "sms": "sms", "whatsapp": "whatsapp", "webhook": "webhook",
    "rcs": "rcs", "line": "line", "inappmessage": "in_app_message", "contentcard": "content_card", "banner": "banner",
}  # fmt: skip
# Event type: interaction, channel, then (measure, dimension).
EXPECTED: dict[str, tuple[str, str | None, tuple[str, str] | None]] = {
    **{
        f"users.messages.{name}.Send": ("received", CHANNELS[name], ("received", CHANNELS[name]))
        for name in ("email", "pushnotification", "sms", "whatsapp", "webhook", "rcs", "line")
    },
    **{
        f"users.messages.{name}.Impression": ("received", CHANNELS[name], ("received", CHANNELS[name]))
        for name in ("inappmessage", "contentcard", "banner")
    },
    "users.messages.email.Open": ("opened", "email", ("engaged", "email")),
    "users.messages.pushnotification.Open": ("opened", "push", ("engaged", "push")),
    **{f"users.messages.{name}.Read": ("opened", name, ("engaged", name)) for name in ("whatsapp", "rcs")},
    **{
        f"users.messages.{name}.Click": ("clicked", CHANNELS[name], ("engaged", CHANNELS[name]))
        for name in ("email", "inappmessage", "contentcard", "banner", "whatsapp", "rcs", "line")
    },
    "users.messages.sms.ShortLinkClick": ("clicked", "sms", ("engaged", "sms")),
    "users.messages.sms.InboundReceive": ("replied", "sms", ("sms_keyword", "Subscribed")),
    **{f"users.messages.{name}.InboundReceive": ("replied", name, None) for name in ("whatsapp", "rcs", "line")},
    "users.campaigns.Conversion": ("converted", None, None),
    "users.canvas.Conversion": ("converted", None, None),
    "users.canvas.Entry": ("entered", None, None),
    "users.campaigns.EnrollInControl": ("control", None, ("control", "campaign")),
}  # fmt: skip
SUMMARY_ONLY = {
    "users.messages.email.Bounce": ("hard_bounced", "email"),
    "users.messages.email.MarkAsSpam": ("marked_as_spam", "email"),
    "users.behaviors.app.NewsFeedImpression": ("viewed_news_feed", "app"),
}
FULL = {
    "id": "e1", "user_id": "u1", "external_user_id": "x1", "time": TIME, "campaign_id": "c1",
    "message_variation_id": "m1", "canvas_step_id": "s1", "dispatch_id": "d1", "send_id": "n1", "action": "Subscribed",
    "conversion_behavior_index": 0,
}  # fmt: skip


@pytest.mark.parametrize("kind", ["avro", "json"])
def test_every_interaction_type_makes_the_rows_of_the_specification(
    settings: Settings, warehouse: Warehouse, kind: str
) -> None:
    land = {"avro": land_avro, "json": land_json}[kind]
    for number, event_type in enumerate(EXPECTED):
        land(settings, event_type, [{**FULL, "id": event_type, "user_id": event_type, "campaign_id": f"c{number:02}"}])

    outcome = load(warehouse)

    assert (outcome.interactions, outcome.rejected, outcome.ignored) == (len(EXPECTED), 0, 0)
    assert rows(warehouse, "interactions") == sorted(
        (name, name, AT, name, "x1", f"c{number:02}", "campaign", "s1", "m1", channel, interaction, None, None, 0,
         "Subscribed", "d1", "n1", None)
        for number, (name, (interaction, channel, _)) in enumerate(EXPECTED.items())
    )  # fmt: skip
    assert rows(warehouse, "user_message_summary") == sorted(
        (name, *summary, AT, 1) for name, (_, _, summary) in EXPECTED.items() if summary
    )
    assert sorted(rows(warehouse, "source_daily_stats"), key=str) == sorted(
        (
            (f"c{number:02}", date(2026, 1, 31), interaction, channel, 1)
            for number, (interaction, channel, _) in enumerate(EXPECTED.values())
        ),
        key=str,
    )
    assert rows(warehouse, "loaded_events") == sorted((name, AT) for name in EXPECTED)


def test_bounces_spam_reports_and_news_feed_views_only_count_in_the_summary(
    settings: Settings, warehouse: Warehouse
) -> None:
    for event_type in SUMMARY_ONLY:
        land_avro(settings, event_type, [event(1, id=event_type, user_id=event_type)])
    outcome = load(warehouse)
    assert (outcome.interactions, outcome.summary_only) == (0, 3)
    assert rows(warehouse, "interactions") == []
    assert rows(warehouse, "source_daily_stats") == []
    assert rows(warehouse, "user_message_summary", "user_id, measure, dimension, event_count") == sorted(
        (name, *summary, 1) for name, summary in SUMMARY_ONLY.items()
    )


def test_a_canvas_entry_in_the_control_group_is_control(settings: Settings, warehouse: Warehouse) -> None:
    entry = event(1, campaign_id=None, canvas_id="v1", canvas_variation_id="w1", message_variation_id="m1")
    said = {"control": True, "entered": False, "unsaid": None}
    entries = [{**entry, "id": case, "user_id": case, "in_control_group": value} for case, value in said.items()]
    land_avro(settings, "users.canvas.Entry", entries)
    load(warehouse)
    assert rows(warehouse, "interactions", "event_id, source_id, source_kind, variant_id, interaction") == [
        ("control", "v1", "canvas", "w1", "control"),
        ("entered", "v1", "canvas", "w1", "entered"),
        ("unsaid", "v1", "canvas", "w1", "entered"),
    ]
    summary = rows(warehouse, "user_message_summary", "user_id, measure, dimension, event_count")
    assert summary == [("control", "control", "canvas", 1)]


def test_the_source_is_the_campaign_or_else_the_canvas(settings: Settings, warehouse: Warehouse) -> None:
    land_json(settings, "users.messages.push", [])
    expected = {
        "both": ({"campaign_id": "c", "canvas_id": "v"}, ("c", "campaign", "m")),
        "canvas": ({"campaign_id": None, "canvas_id": "v"}, ("v", "canvas", "w")),
        "an empty id is none": ({"campaign_id": "", "canvas_id": "v"}, ("v", "canvas", "w")),
    }
    variants = {"message_variation_id": "m", "canvas_variation_id": "w"}
    records = [{**event(1, **ids), **variants, "id": case} for case, (ids, _) in expected.items()]
    land_json(settings, "users.messages.email.Send", records)
    load(warehouse)
    found = rows(warehouse, "interactions", "event_id, source_id, source_kind, variant_id")
    assert {case: tuple(source) for case, *source in found} == {case: source for case, (_, source) in expected.items()}


def test_an_inbound_sms_without_a_source_makes_no_interaction_but_counts(
    settings: Settings, warehouse: Warehouse
) -> None:
    for user, empty in {"empty ids": "", "no ids": None}.items():
        ids = {"user_id": user, "campaign_id": empty, "canvas_id": empty}
        messages = [event(n, **ids, action="Help" if n < 3 else "") for n in range(4)]
        named = [{**message, "id": f"{user} {message['id']}"} for message in messages]
        land_json(settings, "users.messages.sms.InboundReceive", named, f"{user}.json")
    outcome = load(warehouse)
    assert (outcome.interactions, outcome.summary_only) == (0, 8)
    last_at = datetime.fromtimestamp(TIME + 2, UTC)
    assert rows(warehouse, "user_message_summary") == [
        (user, "sms_keyword", "Help", last_at, 3) for user in ("empty ids", "no ids")
    ]
    assert len(rows(warehouse, "loaded_events")) == 8


def test_a_control_enrolment_without_ids_counts_under_its_own_kind(settings: Settings, warehouse: Warehouse) -> None:
    kinds = {"users.campaigns.EnrollInControl": "campaign", "users.canvas.Entry": "canvas"}
    for event_type, kind in kinds.items():
        record = event(1, user_id=f"of a {kind}", campaign_id=None, in_control_group=True)
        land_json(settings, event_type, [{**record, "id": kind}])
    load(warehouse)
    assert rows(warehouse, "user_message_summary", "user_id, measure, dimension") == [
        ("of a campaign", "control", "campaign"),
        ("of a canvas", "control", "canvas"),
    ]


def test_an_email_click_with_an_alias_counts_as_alias_and_as_engagement(
    settings: Settings, warehouse: Warehouse
) -> None:
    aliases = ["offer", "offer", "", None]
    clicks = [event(n, user_id="u", link_alias=alias) for n, alias in enumerate(aliases)]
    land_avro(settings, "users.messages.email.Click", clicks)
    land_avro(settings, "users.messages.sms.ShortLinkClick", [event(9, user_id="u", link_alias="offer")])
    load(warehouse)
    assert rows(warehouse, "user_message_summary", "measure, dimension, event_count") == [
        ("clicked_alias", "offer", 2), ("engaged", "email", 4), ("engaged", "sms", 1),
    ]  # fmt: skip
    assert rows(warehouse, "interactions", "event_id, link_alias") == [
        ("e0", "offer"), ("e1", "offer"), ("e2", None), ("e3", None), ("e9", "offer"),
    ]  # fmt: skip


def test_every_other_type_is_counted_as_ignored_and_not_looked_at(settings: Settings, warehouse: Warehouse) -> None:
    for land in (land_avro, land_json):
        land(settings, "users.behaviors.CustomEvent", [event(n) for n in range(4)])
    outcome = load(warehouse)
    assert (outcome.ignored, outcome.interactions, outcome.rejected, outcome.read) == (8, 0, 0, 8)
    assert rows(warehouse, "loaded_files", "row_count, rejected_count, ignored_count") == [(0, 0, 4)] * 2
    assert rows(warehouse, "loaded_events") == []


def test_without_a_type_in_the_path_the_field_says_it(settings: Settings, warehouse: Warehouse) -> None:
    records: list[dict[str, Any]] = [
        event(1, event_type="users.messages.email.Send"),
        event(2, event_type="users.behaviors.Uninstall", time="whenever"),
        event(3),
        event(4, event_type=""),
    ]
    land_json(settings, None, records)
    outcome = load(warehouse)
    assert (outcome.interactions, outcome.ignored, outcome.rejected) == (1, 1, 2)
    reason = "no event_type, neither in the path nor in the record"
    assert rows(warehouse, "rejected_events", "line, reason") == [(3, reason), (4, reason)]


def test_the_path_wins_over_the_field(settings: Settings, warehouse: Warehouse) -> None:
    land_json(settings, "users.messages.email.Send", [event(1, event_type="users.messages.email.Open")])
    load(warehouse)
    assert rows(warehouse, "interactions", "event_type") == [("users.messages.email.Send",)]


def test_days_are_utc_and_fractions_of_a_second_are_kept(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        midnight = datetime(2026, 2, 1, tzinfo=UTC).timestamp()
        times: list[Any] = [midnight - 0.000001, midnight, str(int(midnight)), f"{midnight + 0.25}"]
        land_json(settings, "users.messages.email.Send", [event(n, time=at) for n, at in enumerate(times)])
        load(warehouse)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert rows(warehouse, "source_daily_stats", "stat_date, event_count") == [
        (date(2026, 1, 31), 1), (date(2026, 2, 1), 3),
    ]  # fmt: skip
    assert [at.astimezone(UTC).isoformat() for _, at in rows(warehouse, "interactions", "event_id, occurred_at")] == [
        "2026-01-31T23:59:59.999999+00:00",
        "2026-02-01T00:00:00+00:00",
        "2026-02-01T00:00:00+00:00",
        "2026-02-01T00:00:00.250000+00:00",
    ]
