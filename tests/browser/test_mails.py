"""Mails as a real browser draws them, on a phone and on a desk, by day and by night: all fits, and no word is torn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser

from perennial.cost import Fact
from perennial.notify import (
    Message,
    archive_message,
    expiry_digest,
    export_message,
    late_restore_message,
    restore_message,
    thaw_message,
)
from perennial.reports import (
    DELETED,
    ArchiveReport,
    DamagedFile,
    ExpiredSource,
    ExpiryReport,
    ExportReport,
    RestoreDrill,
    RestoreReport,
    SourceOutcome,
    ThawReport,
)
from tests.browser.conftest import SCREENSHOTS

AT = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
# Names and ids as people and platforms give them.
NAMED = {
    "cmp-1": "Spring sale 2026: newsletter for returning customers",
    "0b7e6a58-3f0b-4f4e-9a2e-5f1c2d3e4f50": "مرحبا بالعالم",
    "x" * 500: "Donaudampfschifffahrtsgesellschaftskapitän " * 4,
    "y" * 500: "",
    "cmp-2": "✨" * 60,
}
OUTCOMES = ("restored", "failed", "already available", "never had data", DELETED)
REQUEST: dict[str, Any] = {
    "run_id": "manual__2026-11-24T04:00:00.123456+00:00",
    "requested_by": "ada",
    "reason": "w" * 300,
}
PAGE = {"page_url": "https://airflow.example.com/perennial", "run_url": "https://airflow.example.com/dags/" + "r" * 200}
NOTIFY = ("ada@example.com", f"{'long' * 16}@{'example.' * 20}com")

# What does not fit, drawn beyond what holds it; and words that are short enough for any line, but are torn.
FLAWS = r"""() => {
  const flaws = [];
  for (const element of document.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    if (box.left < -0.5 || box.right > innerWidth + 0.5) flaws.push(`${element.tagName} is wider than the screen`);
  }
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    for (const word of text.data.matchAll(/\S+/g)) {
      const range = document.createRange();
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      const lines = [...range.getClientRects()];
      if (lines.length === 0) continue; // the preview, which only a list of mails shows
      const holder = text.parentElement.closest("td, div, p, h1, h2").getBoundingClientRect();
      if (lines.some((line) => line.right > holder.right + 1)) flaws.push(`${word[0]} stands beyond its box`);
      const short = word[0].length <= 20 && /^[\p{L}\p{N}.,:]+$/u.test(word[0]);
      if (short && new Set(lines.map((line) => Math.round(line.top))).size > 1) flaws.push(`${word[0]} is torn`);
    }
  }
  return flaws;
}"""


def outcome(number: int, source_id: str, name: str) -> SourceOutcome:
    of = OUTCOMES[number % len(OUTCOMES)]
    moved = {"row_count": 1_000_000, "total_bytes": 98_765_432, "expires_at": AT} if of == "restored" else {}
    detail = "Archived file s3://archive/interactions/" + "f" * 120 + ".parquet is missing." if of == "failed" else ""
    return SourceOutcome(source_id=source_id, name=name, kind="campaign", outcome=of, detail=detail, **moved)  # type: ignore[arg-type]


def restored(count: int, **changed: Any) -> Message:
    named = [*NAMED.items(), *((f"cmp-{n}", f"Campaign {n}") for n in range(10, 10 + count))]
    sources = tuple(outcome(number, *source) for number, source in enumerate(named))
    whole = {
        "requested_at": AT,
        "finished_at": AT + timedelta(seconds=83),
        "state": "finished in part",
        "notify": NOTIFY,
    }
    return restore_message(RestoreReport(**{**REQUEST, **whole, "sources": sources, "error": "e" * 200, **changed}))


def expired(count: int, **changed: Any) -> Message:
    named = [*NAMED.items(), *((f"cmp-{n}", f"Campaign {n}") for n in range(10, 10 + count))]
    sources = tuple(
        ExpiredSource(source_id=source_id, name=name, kind="canvas", owner_email=NOTIFY[0], row_count=1_234_567,
                      total_bytes=1_500_000, reason="Inactive since 1 May 2026; nothing active uses it.")
        for source_id, name in named
    )  # fmt: skip
    costs = [
        Fact("Saves", "0.02 USD a month"),
        Fact("Minimum stay", "A source that comes back within 90 days costs more."),
    ]
    return expiry_digest(ExpiryReport(run_id=REQUEST["run_id"], as_of=AT, sources=sources, **changed), costs)


def late(**changed: Any) -> Message:
    conf = {"source_ids": list(NAMED), "tags": ["t" * 200], "reason": "w" * 300}
    run = {"dag_run_id": REQUEST["run_id"], "queued_at": AT.isoformat(), "state": "running", "conf": conf}
    return late_restore_message(run, AT + timedelta(minutes=15), changed.get("run_url"), changed.get("page_url"))


def thawing(**changed: Any) -> Message:
    given: dict[str, Any] = {
        "requested_at": AT, "asked_at": AT, "expected_at": AT + timedelta(hours=12), "tier": "Standard",
        "asked_tier": "Expedited", "frozen_as": {"GLACIER": 12, "DEEP_ARCHIVE": 1}, "total_bytes": 10**12, "sources": NAMED,
    }  # fmt: skip
    return thaw_message(ThawReport(**REQUEST, **given, **changed))


def exported(**changed: Any) -> Message:
    asked = {"run_id": REQUEST["run_id"], "requested_by": "ada", "source_id": "x" * 500, "name": NAMED["cmp-1"]}
    return export_message(ExportReport(**{**asked, "notify": NOTIFY, "kind": "campaign", **changed}))


def checked(**changed: Any) -> Message:
    damaged = tuple(
        DamagedFile(file_uri="s3://b/f", source_id=source_id, source_name=name, owner_email="", outcome="damaged",
                    detail=f"s3://archive/{'f' * 300}.parquet: its sha256 is not what it was when it was archived")
        for source_id, name in NAMED.items()
    )  # fmt: skip
    drill = RestoreDrill(source_id="x" * 500, file_count=1, row_count=1, total_bytes=1, error="w" * 300)
    counts = {"archived_count": 10**6, "checked_count": 1, "read_count": 1, "cold_count": 0}
    return archive_message(
        ArchiveReport(
            run_id=REQUEST["run_id"], checked_at=AT, damaged=damaged, drill=drill, **counts, **changed
        )
    )  # fmt: skip


MAILS = {
    "restore": restored(0, **PAGE),
    "restore without a page": restored(0),
    "restore of hundreds": restored(400, **PAGE),
    "refused": restored(0, state="failed", sources=(), source_ids=tuple(NAMED), tags=("t" * 200,), **PAGE),
    "digest": expired(0, **PAGE),
    "digest without a page": expired(0),
    "digest of hundreds": expired(400, **PAGE),
    "late": late(**PAGE),
    "thaw": thawing(**PAGE),
    "archive": checked(**PAGE),
    "export": exported(file_uri="s3://exports/" + "f" * 300 + ".csv", user_count=1_234_567, file_bytes=10**9, **PAGE),
    "export failed": exported(error="1 expired interaction", missing="expired", **PAGE),
    "export failed without a page": exported(error="1 expired interaction", missing="expired"),
}


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1_000])
def test_every_mail_fits_a_phone_and_a_desk(browser: Browser, width: int, scheme: Literal["light", "dark"]) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    flaws: dict[str, list[str]] = {}
    for name, message in MAILS.items():
        page.set_content(message.html)
        root = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        found = page.evaluate(FLAWS) + ([f"scrolls sideways: {root}"] if root[0] > root[1] else [])
        if found:
            flaws[name] = found[:5]
        page.screenshot(path=SCREENSHOTS / f"mail-{name.replace(' ', '-')}-{width}-{scheme}.png", full_page=True)
    page.close()
    assert not flaws
