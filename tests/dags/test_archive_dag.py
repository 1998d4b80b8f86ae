"""The weekly drill through Airflow: what it records, whom it mails, and that a damaged archive fails its run."""

from __future__ import annotations

import pytest

from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox
from tests.airflow import RunDag
from tests.conftest import MadeOnce
from tests.drills.archives import archived, delete, three


@pytest.fixture
def warehouse(made_once: MadeOnce) -> Warehouse:
    return made_once(three).warehouse


def test_a_run_records_what_it_has_checked_and_mails_nobody_while_all_is_well(
    warehouse: Warehouse,
    run_dag: RunDag,
    mailbox: Mailbox,
) -> None:
    run = run_dag("check_archive", {"sample_percent": 60, "notify": ["oli@example.com"]})

    assert run.state == "success"
    rows = warehouse.read("archive_checks").to_pylist()
    assert [(row["outcome"], row["run_id"], row["detail"]) for row in rows] == [("sound", run.run_id, None)] * 2
    assert mailbox.messages() == []


@pytest.mark.long
def test_a_run_that_finds_damage_fails_and_mails_the_owner_and_who_is_to_be_notified(
    warehouse: Warehouse,
    run_dag: RunDag,
    mailbox: Mailbox,
) -> None:
    for source in ("a", "b"):
        delete(warehouse, archived(warehouse, source))

    run = run_dag("check_archive", {"sample_percent": 100, "notify": ["oli@example.com", ""]})

    assert run.state == "failed"
    mails = {to: mail for mail in mailbox.messages() for to in mail.recipients}
    assert mails.keys() == {"a@example.com", "b@example.com", "oli@example.com"}
    whole, part = mails["oli@example.com"], mails["a@example.com"]
    assert whole.subject == "2 archived files of 2 sources cannot be restored"
    assert part.subject == "1 archived file of Name of a cannot be restored"
    for source in ("a", "b"):
        assert f"{archived(warehouse, source).uri} is missing" in " ".join(whole.text.split())
    assert archived(warehouse, "b").uri not in part.text
    for mail in (whole, part):
        assert "Checked 100 % of archived files in 90 days, 0 damaged, 2 missing." in " ".join(whole.text.split())
        assert "docs/runbooks/damaged-archive.md" in mail.text
        assert "docs/runbooks/damaged-archive.md" in mail.html
