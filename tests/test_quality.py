from __future__ import annotations

import dataclasses
import json
import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from perennial.quality import NAMED_ROWS, LoadCounts, Reconciliation, check_load, check_move


def moved(number: int | str, **changed: Any) -> Reconciliation:
    agreed = {
        "source_id": f"cmp-{number}", "planned_files": 3, "copied_files": 3, "planned_rows": 1_000, "copied_rows": 1_000,
        "planned_bytes": 5_000_000_000, "copied_bytes": 5_000_000_000, "checksum_mismatches": 0,
    }  # fmt: skip
    return Reconciliation(**{**agreed, **changed})


def loaded(number: int, **changed: Any) -> LoadCounts:
    agreed = {
        "file_uri": f"s3://landing/{number}.avro", "read": 10, "interactions": 3, "summary_only": 3, "duplicates": 1,
        "ignored": 1, "rejected": 1, "erased": 1,
    }  # fmt: skip
    return LoadCounts(**{**agreed, **changed})


def test_a_move_whose_copies_agree_with_the_plan_passes() -> None:
    report = check_move([moved(number) for number in range(30)])
    assert report.success
    assert report.failures == ()
    assert json.loads(report.json)["success"] is True
    assert "Passed" in report.html


@pytest.mark.long(but="^(no id|bytes|rows)$")
@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"copied_files": 2}, "'cmp-7': 3 files planned, 2 copied."),
        ({"copied_rows": 999}, "'cmp-7': 1,000 rows planned, 999 copied."),
        ({"copied_bytes": 4_999_999_999}, "'cmp-7': 5,000,000,000 bytes planned, 4,999,999,999 copied."),
        ({"checksum_mismatches": 2}, "'cmp-7': 2 of its copies differ from their original."),
        ({"rewritten": True, "copied_rows": 999}, "'cmp-7': 1,000 rows planned, 999 copied."),
        ({"rewritten": True, "checksum_mismatches": 1}, "'cmp-7': 1 of its copies differ from their original."),
        ({"planned_files": -3, "copied_files": -3}, "'cmp-7': planned_files is -3, copied_files is -3, below zero."),
        ({"source_id": "cmp-8"}, "'cmp-8' is in more than one row."),
        ({"source_id": None}, "A row has no source_id."),
    ],
    ids=["files", "rows", "bytes", "content", "rewritten rows", "rewritten content", "negative", "twice", "no id"],
)
def test_a_source_that_does_not_agree_is_named_with_its_figures(changed: dict[str, Any], sentence: str) -> None:
    report = check_move([moved(number, **(changed if number == 7 else {})) for number in range(20)])
    assert not report.success
    assert sentence in report.failures
    assert not [failure for failure in report.failures if "cmp-7" not in failure and failure != sentence]
    assert sentence in json.loads(report.json)["failures"]


def test_merged_files_may_differ_in_number_and_bytes() -> None:
    assert check_move([moved(1, rewritten=True, copied_files=1, copied_bytes=7)]).success


def test_a_load_accounts_for_every_record() -> None:
    assert check_load([loaded(number) for number in range(10)]).success
    report = check_load([loaded(1), loaded(2, rejected=0), loaded(3, ignored=-1, rejected=3)])
    assert report.failures == (
        "'s3://landing/2.avro': 10 records read, 9 accounted for.",
        "'s3://landing/3.avro': ignored is -1, below zero.",
    )


@pytest.mark.parametrize("check", [check_move, check_load], ids=["move", "load"])
def test_nothing_to_check_passes(check: Any) -> None:
    assert check([]).success


def test_thousands_of_failures_are_counted_and_the_first_are_named() -> None:
    report = check_move([moved(number, copied_rows=0) for number in range(2_000)])
    assert len(report.failures) == NAMED_ROWS + 1
    assert "1,950 more rows" in report.failures[-1]
    assert len(report.html) < 100_000


HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "$planned ${x} $$",
    "{{ 7 * 7 }}",
    "a\nb\u202e",
]


def test_a_hostile_id_is_text_in_the_report() -> None:
    report = check_move([moved(0, source_id=source_id, copied_rows=1) for source_id in HOSTILE * 2])
    for source_id in HOSTILE:
        assert f"{source_id!r} is in more than one row." in report.failures
        assert f"{source_id!r}: 1,000 rows planned, 1 copied." in report.failures
    assert not re.search(r"<(script|img)", report.html)
    assert "\u202e" not in report.html


def test_the_report_needs_nothing_from_anywhere_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    report = check_move([moved(1, copied_rows=1)])
    assert list(tmp_path.iterdir()) == []
    assert not re.search(r"https?://|src=|<link|<script|<a ", report.html)
    assert "default-src 'none'" in report.html


def test_every_figure_of_a_row_is_checked() -> None:
    names = [field.name for field in dataclasses.fields(Reconciliation) if field.type == "int"]
    report = check_move([moved(name, **{name: -1}) for name in names])
    assert {f"'cmp-{name}': {name} is -1, below zero." for name in names} <= set(report.failures)


def test_progress_bars_stay_off(capfd: pytest.CaptureFixture[str]) -> None:
    check_move([moved(1)])
    assert capfd.readouterr().err == ""
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"
