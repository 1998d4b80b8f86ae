from __future__ import annotations

import csv
import io
import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.notify import (
    Message,
    digests_by_owner,
    expiry_digest,
    late_restore_message,
    restore_message,
    run_url,
    sources_without_owner,
)
from perennial.notify.messages import BODY_ROWS
from perennial.outcomes import ExpiredSource, ExpiryReport, RestoreReport, SourceOutcome

ASKED = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a\r\nBcc: evil@example.com",
    "'; DROP TABLE users; --",
    "{{ 7 * 7 }}{% raw %}",
    "\u202eexe.gpj \u2066x\u2069",
    "مرحبا بالعالم",
    "🏴‍☠️ été 👩‍👩‍👧",
    "\ud800 lone surrogate \0 nul",
    "x" * 500,
    "a/b\\c d",
    "a\u2028b\u00a0c",
]


def source(number: int, outcome: str = "restored", **changed: Any) -> SourceOutcome:
    given_values = {
        "source_id": f"cmp-{number}", "name": f"Campaign {number}", "kind": "campaign", "outcome": outcome,
        "row_count": 1_000_000 + number if outcome == "restored" else 0,
        "total_bytes": 98_765_432 if outcome == "restored" else 0, "file_count": 3,
        "expires_at": datetime(2027, 2, 24, tzinfo=UTC) if outcome == "restored" else None,
    }  # fmt: skip
    return SourceOutcome(**{**given_values, **changed})


def restore(**changed: Any) -> RestoreReport:
    given_values = {
        "run_id": "manual__1", "requested_by": "ada", "reason": "Christmas", "requested_at": ASKED,
        "finished_at": ASKED + timedelta(seconds=83), "state": "finished", "notify": ("ada@example.com",),
        "run_url": "http://127.0.0.1:8080/dags/restore_interactions/runs/manual__1",
        "report_uri": "https://reports.example.com/r.html",
    }  # fmt: skip
    return RestoreReport(**{**given_values, **changed})


def expired(number: int, owner: str | None = "ada@example.com", **changed: Any) -> ExpiredSource:
    given_values = {
        "source_id": f"cmp-{number}", "name": f"Campaign {number}", "kind": "campaign", "owner_email": owner,
        "reason": f"Inactive since {number} May", "row_count": 500 + number, "total_bytes": 1_500_000, "file_count": 1,
    }  # fmt: skip
    return ExpiredSource(**{**given_values, **changed})


def expiry(*sources: ExpiredSource, **changed: Any) -> ExpiryReport:
    return ExpiryReport(**{"run_id": "scheduled__1", "as_of": ASKED, "sources": sources, **changed})


class Page(HTMLParser):
    """What a reader sees of an HTML message, and the tags and addresses it is made of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.seen = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.seen += data


def both_parts(message: Message) -> tuple[str, str]:
    return message.text, Page(message.html).seen


def test_a_finished_restore_names_every_source_its_outcome_rows_size_time_and_next_expiry() -> None:
    sources = (source(1), source(2, "already available"), source(3, "never had data"),
               source(4, "deleted under the previous policy", detail="Deleted on 3 May 2023."))  # fmt: skip
    message = restore_message(restore(sources=sources, tags=("spring",)))
    assert message.subject == "Restored: Campaign 1, 1,000,001 interactions"
    for part in both_parts(message):
        for each in sources:
            assert each.name in part
            assert each.source_id in part
            assert each.outcome in part
        for figure in ("1,000,001", "98.8 MB", "98,765,432 bytes", "1 min 23 s", "24 Feb 2027", "spring", "Christmas",
                       "ada", "Deleted on 3 May 2023.", "manual__1"):  # fmt: skip
            assert figure in part
    links = [value for name, value in Page(message.html).attributes if name == "href"]
    assert links == [restore().run_url, restore().report_uri]
    assert restore().run_url in message.text
    assert restore().report_uri in message.text
    assert "WHAT TO DO" not in message.text


def test_a_failed_restore_says_what_went_wrong_that_nothing_was_lost_and_what_to_do() -> None:
    report = restore(state="failed", sources=(source(1, "failed"),), error="Archived file 7 is missing.\nPut it back.")
    message = restore_message(report)
    assert message.subject == "Restore failed: Campaign 1"
    for part in both_parts(message):
        assert "Archived file 7 is missing." in part
        assert "Put it back." in part
        assert "Nothing was lost" in part
        assert "clear the failed task in Airflow" in part.replace("\n", " ")


def test_a_refused_request_names_the_requested_ids_and_how_to_ask_again() -> None:
    report = restore(state="failed", source_ids=("cmp-1", "cmp-x"), tags=("sprnig",), error="Unknown ids: cmp-x.")
    for part in both_parts(restore_message(report)):
        assert "cmp-1" in part
        assert "cmp-x" in part
        assert "Nothing was moved." in part
        assert '"tags": ["sprnig"]' in part


def test_a_restore_in_part_offers_to_repeat_only_what_failed() -> None:
    report = restore(state="finished in part", sources=(source(1), source(2, "failed", detail="Damaged file.")),
                     source_ids=("cmp-1", "cmp-2", "cmp-3"), error="1 source failed.")  # fmt: skip
    message = restore_message(report)
    assert message.subject == "Restored in part: 1 of 3 sources, 1,000,001 interactions"
    assert '"source_ids": ["cmp-2", "cmp-3"]' in message.text
    for part in both_parts(message):
        assert "Damaged file." in part
        assert "The run ended before its turn." in part


def test_a_restore_in_part_of_nothing_does_not_claim_that_there_was_nothing() -> None:
    message = restore_message(restore(state="finished in part", sources=(source(1, "failed"),)))
    for part in both_parts(message):
        assert "0 of 1 source came back" in part
        assert "nothing to restore" not in part.lower()


def test_a_dry_run_never_says_that_something_came_back() -> None:
    message = restore_message(restore(dry_run=True, sources=(source(1), source(2))))
    assert message.subject.startswith("Dry run: ")
    for part in both_parts(message):
        assert "nothing was moved" in part
        assert "would be restored" in part
        assert "are back" not in part


def test_a_request_that_comes_to_no_source_still_gets_a_mail() -> None:
    message = restore_message(restore(tags=("empty",)))
    assert message.subject == "Nothing to restore: 1 tag"
    for part in both_parts(message):
        assert "There was nothing to restore" in part
        assert "empty" in part


def test_five_thousand_sources_stay_readable_and_every_one_is_named_in_the_attachment() -> None:
    sources = tuple(source(number) for number in range(5000))
    message = restore_message(restore(sources=sources))
    assert len(message.html.encode()) < 102_000, "mail readers cut a longer message off"
    assert f"{5000 - BODY_ROWS:,} more sources" in message.text
    [attachment] = message.attachments
    rows = list(csv.DictReader(io.StringIO(attachment.content.decode("utf-8-sig"))))
    assert [(r["source_id"], r["outcome"], int(r["row_count"])) for r in rows] == sorted(
        ((s.source_id, s.outcome, s.row_count) for s in sources), key=lambda r: f"Campaign {r[0].removeprefix('cmp-')}"
    )


def test_five_thousand_failures_come_with_the_request_that_repeats_them() -> None:
    report = restore(state="failed", sources=tuple(source(number, "failed") for number in range(5000)), error="x")
    params = next(a for a in restore_message(report).attachments if a.filename == "restore-params.json")
    assert set(json.loads(params.content)["source_ids"]) == {f"cmp-{number}" for number in range(5000)}


def test_a_spreadsheet_does_not_run_what_a_name_holds() -> None:
    sources = tuple(source(number, name="=HYPERLINK(1)") for number in range(BODY_ROWS + 1))
    [attachment] = restore_message(restore(sources=sources)).attachments
    assert {row[1] for row in csv.reader(io.StringIO(attachment.content.decode("utf-8-sig")))} == {
        "name",
        "'=HYPERLINK(1)",
    }


def messages_about(text: str) -> list[Message]:
    return [
        restore_message(restore(sources=(source(1, source_id=text, name=text, detail=text),), reason=text, tags=(text,),
                                requested_by=text, run_id=text, report_uri=text)),
        restore_message(restore(state="failed", source_ids=(text,), error=text, reason=text)),
        expiry_digest(expiry(expired(1, source_id=text, name=text, reason=text), run_id=text, report_uri=text)),
        late_restore_message({"dag_run_id": text, "conf": {"source_ids": [text], "tags": [text], "reason": text}}, ASKED),
        late_restore_message({"dag_run_id": text, "conf": {"source_ids": [text]}}, ASKED),
    ]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:30])
def test_hostile_text_is_shown_as_text(text: str) -> None:
    for message in messages_about(text):
        assert_harmless(message)
        assert "{{" not in text or text in message.text


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1))
def test_any_text_is_shown_as_text(text: str) -> None:
    for message in messages_about(text):
        assert_harmless(message)


def assert_harmless(message: Message) -> None:
    page = Page(message.html)
    assert page.tags <= {"html", "head", "meta", "title", "style", "body", "div", "table", "tr", "td", "th", "span", "h1",
                         "h2", "p", "strong", "em", "br", "bdi", "a"}  # fmt: skip
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert all(str(value).startswith(("http://", "https://")) for name, value in page.attributes if name == "href")
    assert len(message.subject) < 160
    for part in (message.subject, message.text, message.html):
        part.encode()
        assert not set(part) & set("\r\0\u202e\u2066\u2028")
    assert "\n" not in message.subject


@pytest.mark.parametrize("text", [*HOSTILE, "it's", "$(rm -rf ~) `x` $HOME"], ids=lambda text: ascii(text)[:30])
def test_the_command_that_brings_a_source_back_names_exactly_that_source(text: str) -> None:
    message = expiry_digest(expiry(expired(1, source_id=text)))
    command = next(line for line in message.text.splitlines() if line.startswith("airflow dags trigger"))
    *words, conf = shlex.split(command)
    assert words == ["airflow", "dags", "trigger", "restore_interactions", "--conf"]
    assert json.loads(conf)["source_ids"] == [text]
    assert json.loads(conf)["notify"] == ["ada@example.com"]
    assert conf in Page(message.html).seen


def test_a_digest_names_each_source_why_rows_size_and_how_to_bring_it_back() -> None:
    message = expiry_digest(expiry(expired(1), expired(2), report_uri="s3://archive/report.html"))
    assert message.subject == "Interaction data moved to the archive: 2 sources"
    for part in both_parts(message):
        for figure in ("Campaign 1", "cmp-2", "Inactive since 1 May", "Inactive since 2 May", "501", "502", "1,003",
                       "3.0 MB", "Nothing was deleted", "3 months", '"source_ids": ["cmp-2", "cmp-1"]',
                       "s3://archive/report.html"):  # fmt: skip
            assert figure in part


def test_a_digest_of_thousands_attaches_the_list_and_the_request() -> None:
    message = expiry_digest(expiry(*(expired(number) for number in range(5000))))
    table, params = message.attachments
    assert len(table.content.decode("utf-8-sig").splitlines()) == 5001
    assert len(json.loads(params.content)["source_ids"]) == 5000
    assert len(message.html.encode()) < 102_000
    assert "airflow dags trigger" not in message.text


def test_each_owner_gets_one_digest_of_their_own_sources() -> None:
    report = expiry(expired(1, "ada@example.com"), expired(2, "bob@example.com"), expired(3, "Ada@Example.com "),
                    expired(4, None), expired(5, "nobody@"))  # fmt: skip
    digests = digests_by_owner(report)
    assert {owner: [s.source_id for s in each.sources] for owner, each in digests.items()} == {
        "ada@example.com": ["cmp-1", "cmp-3"],
        "bob@example.com": ["cmp-2"],
    }
    assert [s.source_id for s in sources_without_owner(report)] == ["cmp-4", "cmp-5"]
    for owner, each in digests.items():
        text = expiry_digest(each).text
        assert {f"cmp-{n}" for n in range(1, 6) if f"cmp-{n})" in text} == {s.source_id for s in each.sources}, owner


def test_a_late_restore_says_how_long_what_was_asked_and_what_to_do() -> None:
    run = {"dag_run_id": "manual__1", "queued_at": "2026-11-24T04:00:00Z", "state": "running",
           "conf": {"source_ids": ["cmp-1", "cmp-2"], "tags": ["spring"], "reason": "Christmas"}}  # fmt: skip
    message = late_restore_message(run, ASKED + timedelta(minutes=15, seconds=2), "https://airflow.example.com/run")
    assert message.subject == "Restore is late: 2 sources and 1 tag"
    for part in both_parts(message):
        for figure in ("15 min 2 s", "cmp-1", "cmp-2", "spring", "Christmas", "Nothing is lost", "manual__1"):
            assert figure in part
    assert "https://airflow.example.com/run" in message.html


@pytest.mark.parametrize("conf", [None, {}, {"source_ids": "cmp-1", "tags": 7}], ids=["null", "empty", "wrong types"])
def test_a_late_restore_is_told_of_whatever_its_conf_holds(conf: object) -> None:
    message = late_restore_message({"dag_run_id": "r", "queued_at": None, "run_after": None, "conf": conf}, ASKED)
    assert message.subject == "Restore is late: no sources"
    assert "more than 15 minutes" in message.text


def test_the_address_of_a_run_holds_any_id() -> None:
    url = run_url("http://127.0.0.1:8080/", "restore_interactions", "manual__2026-11-24T04:00:00+00:00 /?#")
    assert re.fullmatch(r"http://127\.0\.0\.1:8080/dags/restore_interactions/runs/[^/?# ]+", url)
