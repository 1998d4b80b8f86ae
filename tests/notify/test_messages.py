from __future__ import annotations

import csv
import io
import re
import shlex
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.notify import (
    Message,
    archive_message,
    digests_by_owner,
    expiry_digest,
    export_message,
    late_restore_message,
    restore_message,
    run_url,
    sources_without_owner,
    thaw_message,
)
from perennial.notify.erasure_message import concerns_message, found_message, receipts_message
from perennial.notify.erasure_report import Concern, ConcernsReport, FoundReport, PlaceCount, Receipt
from perennial.notify.messages import BODY_ROWS
from perennial.reports import (
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
        assert "perennial restore cmp-1 cmp-x --tag sprnig --notify ada@example.com" in part


def test_a_restore_in_part_offers_to_repeat_only_what_failed() -> None:
    report = restore(state="finished in part", sources=(source(1), source(2, "failed", detail="Damaged file.")),
                     source_ids=("cmp-1", "cmp-2", "cmp-3"), error="1 source failed.")  # fmt: skip
    message = restore_message(report)
    assert message.subject == "Restored in part: 1 of 3 sources, 1,000,001 interactions"
    assert "perennial restore cmp-2 cmp-3 --notify ada@example.com" in message.text
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


def test_five_thousand_failures_come_with_the_command_that_repeats_them() -> None:
    report = restore(state="failed", sources=tuple(source(number, "failed") for number in range(5000)), error="x")
    command = next(a for a in restore_message(report).attachments if a.filename == "restore-command.txt")
    words = shlex.split(command.content.decode())
    assert words[:2] == ["perennial", "restore"]
    assert set(words[2:-2]) == {f"cmp-{number}" for number in range(5000)}
    assert words[-2:] == ["--notify", "ada@example.com"]


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
        archive_message(checked(text, source_name=text, detail=text, run_id=text, error=text)),
        receipts_message([erased(text)]),
        receipts_message([erased(text)] * 30),
        found_message(FoundReport(request_ids=("r1",), person_count=1, found=(PlaceCount(place="users", row_count=1),),
                                  cold_file_count=1, cold_bytes=1, cost=text, retrieve_at=ASKED, run_id=text)),
        concerns_message(ConcernsReport(concerns=(Concern(request_id="r1", due_at=ASKED, what=text, remedy=text),),
                                        run_id=text)),
    ]  # fmt: skip


def test_r22_an_erasure_that_needs_attention_is_linked() -> None:
    concern = Concern(request_id="r1", due_at=ASKED, what="It waits.", remedy="Approve it.")
    messages = [
        concerns_message(ConcernsReport(concerns=(concern,), run_id="r", page_url=page_url))
        for page_url in ("https://airflow.example.com/perennial", None)
    ]
    link = "https://airflow.example.com/perennial/erasure?id=r1"
    assert [(link in message.text, f'href="{link}"' in message.html) for message in messages] == [
        (True, True),
        (False, False),
    ]


def test_a_channel_shows_neither_who_asked_nor_why_nor_the_id_of_an_erasure() -> None:
    who, conf = "ann@example.com", {"source_ids": ["cmp-1"], "notify": ["ann@example.com"], "reason": "ann@example.com"}
    found = FoundReport(request_ids=("r1",), person_count=1, found=(), cold_file_count=1, cold_bytes=1, cost="",
                        retrieve_at=ASKED, run_id="run")  # fmt: skip
    concern = Concern(request_id="r1", due_at=ASKED, what="It waits.", remedy="Approve it.")
    messages = [
        restore_message(restore(sources=(source(1),), requested_by=who, reason=who, notify=(who,))),
        restore_message(restore(state="failed", error=who, reason=who, notify=(who,))),
        expiry_digest(expiry(expired(1, owner=who))),
        late_restore_message({"dag_run_id": "run", "conf": conf}, ASKED),
        receipts_message([erased(who)]),
        receipts_message([erased(who)] * 2),
        found_message(found),
        concerns_message(ConcernsReport(concerns=(concern,), run_id="run")),
    ]
    for message in messages:
        shown = f"{message.title}\n{message.summary}"
        assert who not in shown
        assert message.title
        assert message.summary
    assert all("r1" in message.text and "r1" not in f"{message.title}{message.summary}" for message in messages[4:])


def erased(text: str) -> Receipt:
    return Receipt(request_id="r1", requested_by=text, approved_by=text, reason=text, requested_at=ASKED, due_at=ASKED,
                   verified_at=ASKED, person_count=1, checked=(text,), to_let_go=(text,), airflow=(text,), run_id=text)  # fmt: skip


def checked(source_id: str, source_name: str = "Spring", detail: str = "s3://b/f is missing", run_id: str = "r/1",
            error: str = "", **fields: Any) -> ArchiveReport:  # fmt: skip
    damaged = DamagedFile(file_uri="s3://b/f", source_id=source_id, source_name=source_name, owner_email="",
                          outcome="missing", detail=detail)  # fmt: skip
    drill = RestoreDrill(source_id=source_id, file_count=1, row_count=1, total_bytes=1, error=error) if error else None
    given: dict[str, Any] = {"archived_count": 200, "checked_count": 83, "read_count": 10, "cold_count": 0,
                             "damaged": (damaged,), "drill": drill}  # fmt: skip
    return ArchiveReport(run_id=run_id, checked_at=ASKED, **{**given, **fields})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "Checked 41 % of archived files in 90 days, 0 damaged, 1 missing."),
        ({"checked_count": 200, "damaged": ()}, "Checked 100 % of archived files in 90 days, 0 damaged."),
        ({"checked_count": 199, "damaged": ()}, "Checked 99 % of archived files in 90 days, 0 damaged."),
        ({"checked_count": 1, "damaged": ()}, "Checked less than 1 % of archived files in 90 days, 0 damaged."),
        ({"checked_count": 0, "damaged": ()}, "Checked 0 % of archived files in 90 days, 0 damaged."),
    ],
)
def test_the_share_that_is_proven_is_never_overstated(fields: dict[str, Any], sentence: str) -> None:
    assert checked("cmp-1", **fields).sentence == sentence


def test_a_failed_drill_alone_is_news_too() -> None:
    message = archive_message(checked("cmp-1", error="Not the same rows.", damaged=()))
    assert message.subject == "The restore of cmp-1 failed in a drill"
    for part in both_parts(message):
        assert "Not the same rows." in part


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


@pytest.mark.parametrize("text", [*HOSTILE[:8], *HOSTILE[9:], "it's", "$(rm -rf ~) `x` $HOME", "-rf", "\\", "\\'\n"],
                         ids=lambda text: ascii(text)[:30])  # fmt: skip
def test_the_command_that_brings_a_source_back_names_exactly_that_source(text: str) -> None:
    message = expiry_digest(expiry(expired(1, source_id=text)))
    command = next(line for line in message.text.splitlines() if line.startswith("perennial restore"))
    # As a shell reads it: a function in place of the program hands back its words.
    script = f"export LC_ALL=C.UTF-8\nperennial() {{ printf '%s\\0' \"$@\"; }}\n{command}\n"
    words = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout.decode().split("\0")[:-1]
    assert words in (
        ["restore", text, "--notify", "ada@example.com"],
        ["restore", "--notify", "ada@example.com", "--", text],
    )
    assert words.index("--") < words.index(text) if text.startswith("-") else "--" not in words
    assert command in Page(message.html).seen


def test_a_digest_names_each_source_why_rows_size_and_how_to_bring_it_back() -> None:
    message = expiry_digest(expiry(expired(1), expired(2), report_uri="s3://archive/report.html"))
    assert message.subject == "Interaction data moved to the archive: 2 sources"
    for part in both_parts(message):
        for figure in ("Campaign 1", "cmp-2", "Inactive since 1 May", "Inactive since 2 May", "501", "502", "1,003",
                       "3.0 MB", "Nothing was deleted", "3 months",
                       "perennial restore cmp-2 cmp-1 --notify ada@example.com", "s3://archive/report.html"):  # fmt: skip
            assert figure in part


def test_a_digest_of_thousands_attaches_the_list_and_the_command() -> None:
    message = expiry_digest(expiry(*(expired(number) for number in range(5000))))
    table, command = message.attachments
    assert len(table.content.decode("utf-8-sig").splitlines()) == 5001
    assert len(shlex.split(command.content.decode())) == 2 + 5000 + 2
    assert len(message.html.encode()) < 102_000
    assert "perennial restore" not in message.text


# --- links ------------------------------------------------------------------------------------------------------------

PAGE = "https://airflow.example.com/perennial"


def links(message: Message) -> list[str]:
    return [str(value) for name, value in Page(message.html).attributes if name == "href"]


def about_sources(source_id: str, page: str | None = PAGE) -> list[Message]:
    """Every kind of mail, each about one source."""
    run = {"dag_run_id": "r/1", "state": "running", "conf": {"source_ids": [source_id]}}
    thaw = ThawReport(run_id="r/1", requested_by="ada", reason="", requested_at=ASKED, asked_at=ASKED, expected_at=ASKED,
                      tier="Standard", frozen_as={"GLACIER": 1}, sources={source_id: "Spring"}, page_url=page)  # fmt: skip
    export = ExportReport(run_id="r/1", requested_by="ada", source_id=source_id, name="Spring", missing="expired",
                          error="1 interaction is expired.", page_url=page)  # fmt: skip
    return [
        restore_message(restore(sources=(source(1, source_id=source_id),), page_url=page)),
        restore_message(restore(state="failed", sources=(source(1, "failed", source_id=source_id),), page_url=page)),
        expiry_digest(expiry(expired(1, source_id=source_id), page_url=page)),
        late_restore_message(run, ASKED, None, page),
        thaw_message(thaw),
        export_message(export),
        archive_message(checked(source_id, page_url=page)),
    ]


@pytest.mark.parametrize("source_id", ["cmp-1", "a/b&c=d #é 🏴 مرحبا", "x" * 500])
def test_every_name_in_a_mail_leads_to_the_page_of_its_source(source_id: str) -> None:
    for message in about_sources(source_id):
        [link] = {link for link in links(message) if link.startswith(f"{PAGE}/source?")}
        assert parse_qs(urlsplit(link).query) == {"id": [source_id]}


def test_what_is_expired_or_failed_is_brought_back_on_the_page_with_the_sources_ticked() -> None:
    failed, digest, export = (about_sources("a/b&c")[number] for number in (1, 2, 5))
    for message in (failed, digest, export):
        [link] = {link for link in links(message) if link.startswith(f"{PAGE}/restore?")}
        assert parse_qs(urlsplit(link).query) == {"id": ["a/b&c"]}
        assert link in message.text
        assert "{" not in message.text, "nobody has to type JSON"
        for part in both_parts(message):
            assert "airflow dags trigger restore" not in part
            assert "perennial restore" not in part


def test_a_refused_request_by_tag_is_made_again_on_the_page_by_that_tag() -> None:
    report = restore(state="failed", source_ids=("cmp-x",), tags=("spring sale",), error="Unknown.", page_url=PAGE)
    [link] = {link for link in links(restore_message(report)) if link.startswith(f"{PAGE}/restore?")}
    assert parse_qs(urlsplit(link).query) == {"tags": ["spring sale"], "id": ["cmp-x"]}


def test_a_digest_of_hundreds_ticks_as_many_as_an_address_holds_and_says_how_many_that_are() -> None:
    message = expiry_digest(expiry(*(expired(number) for number in range(400)), page_url=PAGE))
    [link] = {link for link in links(message) if link.startswith(f"{PAGE}/restore?")}
    ticked = parse_qs(urlsplit(link).query)["id"]
    assert 100 < len(ticked) < 400
    assert len(link) <= 2_000
    assert ticked == [f"cmp-{number}" for number in range(399, 399 - len(ticked), -1)], "the largest first"
    assert f"{PAGE}/sources?state=expired&sort=state&order=desc" in links(message)
    for part in both_parts(message):
        assert f"{len(ticked)} of these 400 sources are already selected there" in part.replace("\n", " ")
    assert [attachment.filename for attachment in message.attachments] == ["expired-sources.csv", "restore-command.txt"]
    assert len(message.html.encode()) < 102_000


def test_a_few_ids_that_are_too_long_for_one_address_come_with_the_command_that_names_all() -> None:
    message = expiry_digest(expiry(*(expired(n, source_id=f"{n}" + "x" * 499) for n in range(5)), page_url=PAGE))
    assert "3 of these 5 sources are already selected there" in message.text
    [command] = message.attachments
    assert command.filename == "restore-command.txt"
    assert len(shlex.split(command.content.decode())) == 2 + 5 + 2


@pytest.mark.parametrize("uri", ["file:///srv/warehouse/report.html", "/srv/warehouse/report.html"])
def test_no_mail_holds_the_address_of_a_file_on_the_machine_that_runs_airflow(uri: str) -> None:
    mails = [
        restore_message(restore(sources=(source(1),), report_uri=uri)),
        expiry_digest(expiry(expired(1), report_uri=uri)),
    ]
    for message in mails:
        for part in both_parts(message):
            assert "/srv/warehouse" not in part
            assert "Comparison" not in part
    # Where the file is that somebody has asked for is what they want to know.
    for part in both_parts(export_message(ExportReport(run_id="r", requested_by="ada", source_id="s", file_uri=uri))):
        assert "On the machine that runs Airflow:" in part
        assert "/srv/warehouse/report.html" in part
        assert "file:" not in part


def test_one_is_said_of_one_and_everybody_learns_why_they_get_the_mail() -> None:
    one = expiry_digest(expiry(expired(1, row_count=1)))
    for part in both_parts(one):
        for words in (
            "Your source was inactive",
            "nothing active uses it",
            "1 interaction",
            "owner of this source",
        ):
            assert words in part.replace("\n", " ")
        assert "1 interactions" not in part.replace("\n", " ")
    for message in about_sources("cmp-1"):
        for part in both_parts(message):
            assert "You are receiving this e-mail because" in part


def test_news_that_differ_have_references_that_differ() -> None:
    messages = [
        restore(state="failed", sources=(source(1, "failed"),), error="File 7 is missing."),
        restore(state="failed", sources=(source(1, "failed"),), error="File 8 is missing."),
        restore(state="finished in part", sources=(source(1, "failed"), source(2))),
        restore(sources=(source(1), source(2))),
    ]
    references = [restore_message(report).reference for report in messages]
    assert len(set(references)) == len(messages)
    later = replace(messages[0], finished_at=ASKED + timedelta(hours=1))
    assert restore_message(later).reference == references[0]


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
        for figure in (
            "It has been running for 15 minutes.",
            "cmp-1",
            "cmp-2",
            "spring",
            "Christmas",
            "Nothing is lost",
            "manual__1",
        ):
            assert figure in part
    assert "https://airflow.example.com/run" in message.html


@pytest.mark.parametrize("conf", [None, {}, {"source_ids": "cmp-1", "tags": 7}], ids=["null", "empty", "wrong types"])
def test_a_late_restore_is_announced_whatever_its_conf_holds(conf: object) -> None:
    message = late_restore_message({"dag_run_id": "r", "queued_at": None, "run_after": None, "conf": conf}, ASKED)
    assert message.subject == "Restore is late: no sources"
    assert "more than 15 minutes" in message.text


def test_the_address_of_a_run_holds_any_id() -> None:
    url = run_url("http://127.0.0.1:8080/", "restore_interactions", "manual__2026-11-24T04:00:00+00:00 /?#")
    assert re.fullmatch(r"http://127\.0\.0\.1:8080/dags/restore_interactions/runs/[^/?# ]+", url)
