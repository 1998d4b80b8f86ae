"""The message that a restore has to wait for cold storage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perennial.notify import thaw_message
from perennial.reports import THAW_TIMES, ThawReport, longest_thaw
from perennial.text import span

ASKED = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)


def report(**fields: Any) -> ThawReport:
    given: dict[str, Any] = {
        "run_id": "run",
        "requested_by": "ann",
        "reason": "relaunch",
        "requested_at": ASKED,
        "asked_at": ASKED,
        "expected_at": ASKED + timedelta(hours=5),
        "tier": "Standard",
        "frozen_as": {"GLACIER": 120},
        "total_bytes": 1_500_000,
        "sources": {"cmp-1": "Spring"},
        "notify": ("ann@example.com",),
        **fields,
    }
    return ThawReport(**given)


@pytest.mark.parametrize(
    ("name", "tier", "said"),
    [
        ("GLACIER", "Expedited", "1 to 5 minutes"),
        ("GLACIER", "Standard", "3 to 5 hours"),
        ("GLACIER", "Bulk", "5 to 12 hours"),
        ("DEEP_ARCHIVE", "Standard", "up to 12 hours"),
        ("DEEP_ARCHIVE", "Bulk", "up to 48 hours"),
    ],
)
def test_how_long_it_takes_is_what_the_service_documents(name: str, tier: str, said: str) -> None:
    message = thaw_message(report(tier=tier, frozen_as={name: 120}))

    assert span(*THAW_TIMES[name, tier]) == said
    assert message.subject == f"Restore is thawing: Spring, {said}"
    for part in (message.text, message.html):
        for words in (said, tier, name, "120 files", "1.5 MB", "24 Nov 2026, 09:00 UTC", "ann", "relaunch"):
            assert words in part


def test_a_slower_tier_than_was_asked_for_is_explained() -> None:
    message = thaw_message(report(tier="Bulk", asked_tier="Expedited"))

    assert message.subject == "Restore is thawing: Spring, 5 to 12 hours"
    for part in (message.text, message.html):
        assert "requested in tier Expedited" in part
    assert "requested in tier" not in thaw_message(report(asked_tier="Standard")).text


def test_of_several_classes_the_slowest_decides_and_each_is_named() -> None:
    frozen_as = {"GLACIER": 1, "DEEP_ARCHIVE": 2_000}
    message = thaw_message(report(frozen_as=frozen_as, sources={"cmp-1": "Spring", "cmp-2": "Autumn"}))

    assert longest_thaw(frozen_as, "Standard") == timedelta(hours=12)
    assert message.subject == "Restore is thawing: 2 sources, up to 12 hours"
    for part in (message.text, message.html):
        for words in ("3 to 5 hours", "1 file", "2,000 files", "Spring", "Autumn"):
            assert words in part


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "a\r\nBcc: evil@example.com", "مرحبا", "{{ 7 * 7 }}", "x" * 500]
)
def test_other_peoples_text_stays_text(text: str) -> None:
    message = thaw_message(report(sources={"1": text, "2": "b"}, reason=text, run_id=text, requested_by=text))

    assert "<script>" not in message.html
    assert "\r" not in message.text
    assert "\n" not in thaw_message(report(sources={"1": text})).subject


def test_a_mail_that_is_sent_again_is_the_same_mail() -> None:
    assert thaw_message(report()).reference == thaw_message(report(total_bytes=1)).reference == "thaw:run"


def test_of_many_sources_some_are_named() -> None:
    message = thaw_message(report(sources={str(number): f"Source {number}" for number in range(1_020)}))

    for part in (message.text, message.html):
        assert "Source 19" in part
        assert "Source 20" not in part
        assert "and 1,000 more" in part
