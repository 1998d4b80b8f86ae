"""How dates of other texts are put in front of a reader."""

from __future__ import annotations

import pytest

from perennial.text import dated


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stopped on 2026-05-04: ended.", "stopped on 4 May 2026: ended."),
        ("synced on 2026-11-24 04:00 UTC, 30 hours ago", "synced on 24 Nov 2026, 04:00 UTC, 30 hours ago"),
        ("2026-05", "May 2026"),
        ("2026", "2026"),
        ("cmp-2026-05-04 and 2026-05-04-b, '2026-05-04', v2026-05-04", "cmp-2026-05-04 and 2026-05-04-b, '2026-05-04', v2026-05-04"),
        ("2026-13-40", "2026-13-40"),
        ("due already", "due already"),
    ],
)  # fmt: skip
def test_dates_have_one_form_and_ids_stay_as_they_are(text: str, said: str) -> None:
    assert dated(text) == said
