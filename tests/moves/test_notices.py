"""Owners hear before their sources expire, once for each clock, and holders before their holds end (R19, R20)."""

from __future__ import annotations

import html
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perennial.errors import TransientDeliveryError
from perennial.moves import Run, expire_sources, notices, restore_sources
from perennial.moves.notices import give_notice
from perennial.notify import list_undelivered
from perennial.operations import wall_clock
from perennial.policy.hold_requests import HoldRequest, place_hold
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox, ReceivedMail, airflow_connection, open_mailbox
from tests.conftest import MadeOnce
from tests.rows import append_hot, interaction
from tests.workspace import Workspace, received

DUE = datetime(2026, 6, 15, 4, tzinfo=UTC)
DAY = timedelta(days=1)
ANN, BEN = "ann@example.com", "ben@example.com"
SOON = {"stopped_at": datetime(2026, 3, 15, 4, tzinfo=UTC)}
PAGE = "https://airflow.example.com/perennial"


def fill(warehouse: Warehouse) -> Workspace:
    """All stopped on one day: of two owners and of none; some are kept, and one has nothing to lose."""
    workspace = Workspace(warehouse)
    for source_id, owner in (("a", ANN), ("b", "Ann@Example.com"), ("of ben", BEN), ("nobody's", None)):
        workspace.source(source_id, owner_email=owner, **SOON)
    for source_id in ("referenced", "held", "tagged", "empty"):
        workspace.source(source_id, "stopped", *(["summer"] if source_id == "tagged" else []), owner_email=ANN, **SOON)
    workspace.source("running", "active", owner_email=ANN)
    workspace.audience("campaign:running", received("referenced"))
    workspace.audience("segment:buyers", received("a"))
    workspace.audience("canvas:old", received("a"), status="stopped")
    full = [source_id for source_id in workspace.sources if source_id != "empty"]
    append_hot(warehouse, [interaction(source_id, number) for source_id in full for number in range(3)])
    workspace.sync()
    users = [{"user_id": f"user-{number}", "invalid_phone": False, "feature_flags": []} for number in range(2)]
    workspace.replace("users", users)
    for asked in ({"source_id": "held", "tag": None}, {"source_id": None, "tag": "summer"}):
        place_hold(warehouse, HoldRequest(**asked, held_by=BEN, reason="audit"), wall_clock())
    return workspace


@pytest.fixture
def warehouse(made_once: MadeOnce) -> Warehouse:
    return made_once(fill).warehouse


def notify(warehouse: Warehouse, now: datetime, run_id: str = "", **given: Any) -> int:
    return give_notice(warehouse, Run(run_id or f"{now:%m-%d}", now), page_url=PAGE, **given)


def to(mailbox: Mailbox, recipient: str) -> list[ReceivedMail]:
    return [mail for mail in mailbox.messages() if recipient in map(str.lower, mail.recipients)]


def test_r20_each_owner_has_one_mail_of_all_that_is_due_and_of_nothing_that_is_kept(
    warehouse: Warehouse, mailbox: Mailbox
) -> None:
    assert notify(warehouse, DUE - 14 * DAY - timedelta(seconds=1)) == 0
    assert notify(warehouse, DUE - 14 * DAY) == 2

    (mail,) = to(mailbox, ANN)
    assert mail.subject == "Interaction data expires on 15 Jun 2026: 2 sources"
    for text in (mail.text, mail.html):
        assert "Name of a" in text
        assert "Name of b" in text
        assert not [
            kept for kept in ("referenced", "held", "tagged", "empty", "running", "of ben") if f"Name of {kept}" in text
        ]
        assert "segment 'segment:buyers' loses 2 of 2 users." in html.unescape(text)
        assert "canvas 'canvas:old' loses 2 of 2 users." in html.unescape(text)
        assert f"{PAGE}/holds" in text
    assert f"{PAGE}/source?id=a" in mail.text
    assert "perennial hold a --reason" in mail.text
    assert [mail.subject for mail in to(mailbox, BEN)] == ["Interaction data expires on 15 Jun 2026: Name of of ben"]
    assert [(missed.recipient, missed.subject) for missed in list_undelivered(warehouse)] == [
        ("", "1 source expires soon")
    ]


def test_r20_notice_is_given_once_a_clock_also_after_a_restore_and_the_next_expiry(
    warehouse: Warehouse, mailbox: Mailbox
) -> None:
    assert [notify(warehouse, DUE - days * DAY) for days in (14, 13, 1)] == [2, 0, 0]
    expire_sources(warehouse, Run("expiry", DUE))
    assert notify(warehouse, DUE + DAY) == 0
    restore_sources(warehouse, {"source_ids": ["a"], "notify": [ANN]}, Run("restore", DUE + 5 * DAY))
    again = datetime(2026, 9, 20, 4, tzinfo=UTC)
    assert [notify(warehouse, again - days * DAY) for days in (15, 14, 13)] == [0, 1, 0]
    assert to(mailbox, ANN)[-1].subject == "Interaction data expires on 20 Sep 2026: Name of a"
    expire_sources(warehouse, Run("expiry 2", again))
    restore_sources(warehouse, {"source_ids": ["a"], "notify": [ANN]}, Run("restore 2", again + DAY))
    assert notify(warehouse, again + 80 * DAY) == 1
    assert [row["source_id"] for row in warehouse.read("notices").to_pylist()].count("a") == 3


@pytest.mark.long
def test_r20_a_mail_that_cannot_be_sent_keeps_nothing_and_is_sent_by_a_later_run(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", airflow_connection(1))
    assert notify(warehouse, DUE - 14 * DAY, last_attempt=True) == 0
    assert {missed.topic for missed in list_undelivered(warehouse)} == {"notice"}
    with pytest.raises(TransientDeliveryError):
        notify(warehouse, DUE - 13 * DAY)
    with open_mailbox(tmp_path / "mail") as mailbox:
        assert notify(warehouse, DUE - 13 * DAY) == 2
        assert [missed.recipient for missed in list_undelivered(warehouse) if "06-02" in missed.run_id] == []
        assert len(mailbox.messages()) == 2
    moved = {source.source_id for source in expire_sources(warehouse, Run("expiry", DUE)).sources}
    assert moved == {"a", "b", "of ben", "nobody's"}


def test_r20_a_process_that_dies_after_it_has_sent_a_mail_sends_no_second_one(
    warehouse: Warehouse, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_notices = notices._record_notices
    monkeypatch.setattr(notices, "_record_notices", lambda *_: exit(1))
    with pytest.raises(SystemExit):
        notify(warehouse, DUE - 14 * DAY)
    monkeypatch.setattr(notices, "_record_notices", record_notices)
    assert notify(warehouse, DUE - 14 * DAY) == 2
    assert len(mailbox.messages()) == 2
    assert notify(warehouse, DUE - 13 * DAY) == 0


def test_r20_no_days_send_no_notice(warehouse: Warehouse, mailbox: Mailbox) -> None:
    none = Warehouse(replace(warehouse.settings, notice_days=0))
    assert notify(none, DUE - DAY) == 0
    assert mailbox.messages() == []


@pytest.mark.long
def test_r19_who_placed_a_hold_is_notified_once_before_it_ends_and_the_owner_when_the_source_is_due(
    warehouse: Warehouse, mailbox: Mailbox
) -> None:
    end = wall_clock().replace(microsecond=0) + 100 * DAY
    hold_id = place_hold(warehouse, HoldRequest("a", None, BEN, "the autumn audit", end), wall_clock()).hold.hold_id
    for held_by, source_id in (("nobody", "b"), (BEN, "of ben")):
        place_hold(warehouse, HoldRequest(source_id, None, held_by, "for good"), wall_clock())
    assert [notify(warehouse, end - days * DAY) for days in (15, 14, 13)] == [0, 2, 0]

    (notice,) = to(mailbox, ANN)
    assert f"expires on {end:%-d %b %Y}: Name of a" in notice.subject
    assert f"hold {hold_id} of {BEN} keeps it until {end:%Y-%m-%d %H:%M} UTC (the autumn audit)" in notice.text
    (mail,) = to(mailbox, BEN)
    assert mail.subject == f"1 hold of yours ends soon: {end:%-d %b %Y}"
    for text in (mail.text, mail.html):
        assert hold_id in text
        assert "the autumn audit" in text
        assert "1 source would expire then" in text
