"""What the requester of a User data file is told."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime
from typing import Any

import pytest

from perennial.notify import Message, export_message
from perennial.reports import ExportReport

WRITTEN: dict[str, Any] = {
    "file_uri": "/exports/user-data-cmp-1.csv", "user_count": 1_234_567, "file_bytes": 98_765_432,
    "as_of": datetime(2026, 11, 24, 4, tzinfo=UTC),
}  # fmt: skip
HOSTILE = [
    "<script>alert(1)</script>",
    "a\r\nBcc: evil@example.com",
    "{{ 7 * 7 }}",
    "\u202eexe",
    'it\'s "so"',
    "x" * 500,
]


def report(**changed: Any) -> ExportReport:
    given = {"run_id": "manual__1", "requested_by": "ada", "source_id": "cmp-1", "name": "Spring", "kind": "campaign"}
    return ExportReport(**{**given, "notify": ("ada@example.com",), **changed})


def commands(message: Message) -> list[dict[str, Any]]:
    """The params of every command of the text part, as the shell hands them over."""
    lines = [line for line in message.text.splitlines() if line.startswith("airflow dags trigger")]
    return [{"dag": words[3], **json.loads(words[5])} for words in map(shlex.split, lines)]


def test_a_written_file_is_announced_with_its_place_users_size_moment_and_that_it_is_personal() -> None:
    message = export_message(report(**WRITTEN, run_url="http://127.0.0.1:8080/runs/1"))
    assert message.subject == "User data: Spring, 1,234,567 users"
    for part in (message.text, message.html):
        for figure in ("Spring", "cmp-1", "campaign", "/exports/user-data-cmp-1.csv", "1,234,567", "98.8 MB", "98,765,432",
                       "24 Nov 2026, 04:00 UTC", "personal data", "those who have a profile now", "ada", "manual__1"):  # fmt: skip
            assert figure in part
    assert not commands(message)


def test_of_an_expired_source_the_restore_comes_first_and_then_the_same_request_again() -> None:
    message = export_message(report(error="Left out: 60 interactions.", missing="expired", all_recipients=True))
    assert message.subject == "User data export failed: Spring"
    (again,) = commands(message)
    restore = "perennial restore cmp-1 --notify ada@example.com"
    assert message.text.index(restore) < message.text.index("airflow dags trigger export_user_data")
    assert again == {
        "dag": "export_user_data", "source_id": "cmp-1", "notify": ["ada@example.com"], "all_recipients": True,
    }  # fmt: skip
    for part in (message.text, message.html):
        assert "No file was written" in part
        assert "Left out: 60 interactions." in part
        assert "personal data" not in part


def test_r18_of_a_deleted_source_nothing_is_offered_that_cannot_help() -> None:
    message = export_message(report(error="Left out: it.", missing="deleted"))
    for part in (message.text, message.html):
        assert "deleted under the previous policy" in part
        assert "airflow dags trigger" not in part
        assert "perennial restore" not in part


def test_after_another_failure_only_the_same_request_is_offered() -> None:
    (again,) = commands(export_message(report(error="The disk is full.")))
    assert again == {"dag": "export_user_data", "source_id": "cmp-1", "notify": ["ada@example.com"]}


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("written", [True, False], ids=["written", "failed"])
def test_other_peoples_text_stays_text(text: str, written: bool) -> None:
    ours = {"source_id": text, "name": text, "requested_by": text, "run_id": text}
    message = export_message(report(**ours, **(WRITTEN if written else {"error": text, "missing": "expired"})))
    assert "\n" not in message.subject
    assert "\r" not in message.text + message.subject
    assert "\u202e" not in message.text + message.html + message.subject
    assert "<script" not in message.html
    assert "49" not in message.text
    assert [params["source_id"] for params in commands(message)] == ([] if written else [text])
