"""A request from its opening to its receipt: every step can be killed, and nothing that stays names the person (R22)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from perennial.cli import app
from perennial.engines.duckdb import open_connection
from perennial.erase import run as steps
from perennial.erase.digests import digested_files
from perennial.erase.external_ids import search_interactions
from perennial.erase.inline import work_off
from perennial.erase.locate import locate_rows
from perennial.erase.open_requests import request_states
from perennial.erase.opening import open_erasure, read_erasure
from perennial.erase.receipts import find_receipt
from perennial.erase.tables import conditions
from perennial.erasures import read_request
from perennial.erasures.hashes import make_key
from perennial.erasures.suppression import forget_lost_key, suppressed
from perennial.moves import Run, expire_sources
from perennial.notify.erasure_message import receipt_text
from perennial.text import moment
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox
from tests.aws import Aws, archive_uri, workspace_on
from tests.conftest import MadeOnce
from tests.erase.persons import NOW, PERSON, append, contents, populated, rejected, without
from tests.rows import append_hot, interaction, multiset
from tests.workspace import Workspace

DPO = "privacy@example.com"
OTHER = "user-5"


@pytest.fixture
def world(made_once: MadeOnce) -> Warehouse:
    warehouse = made_once(populated).warehouse
    make_key(warehouse.settings)
    return warehouse


def run(number: int = 0) -> Run:
    return Run(f"run {number}", datetime.now(UTC), "ann")


def request(warehouse: Warehouse, *persons: str, **params: Any) -> str:
    asked = {"user_ids": list(persons), "notify": [DPO], "reason": "ticket 4711", **params}
    return open_erasure(warehouse, read_erasure(warehouse, asked, "ann"))


def state_of(warehouse: Warehouse, request_id: str) -> str:
    (state,) = request_states(warehouse, [request_id])
    return state.state


def removed_rows(before: dict[str, Counter[str]], after: dict[str, Counter[str]]) -> dict[str, int]:
    counts = {name: before[name].total() - after[name].total() for name in before}
    return {name: count for name, count in counts.items() if count}


def files_naming(folder: Path, *texts: str) -> list[str]:
    """Every file below a folder whose bytes hold one of some texts, but for the mails that the tests catch."""
    wanted = [text.encode() for text in texts]
    found = [path for path in folder.resolve().rglob("*") if path.is_file()]
    return [path.name for path in found if any(text in path.read_bytes() for text in wanted)]


def test_r22_runs_that_die_after_any_step_are_finished_by_a_later_one(
    world: Warehouse, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(world)
    request_id = request(world, PERSON)
    # Each of these runs dies one step later than the one before; what was done already is done again.
    done: list[str] = []
    for number, again in enumerate(((steps.locate,), (steps.locate, steps.remove, steps.remove), (steps.purge,))):
        batch_uri = steps.begin(world, {}, run(number))
        for step in again:
            step(world, batch_uri)
        done.append(state_of(world, request_id))
    assert done == ["located", "removed", "removed"]

    # The last one dies when the document is to be deleted.
    batch_uri = steps.begin(world, {}, run(9))
    for step in (steps.locate, steps.remove, steps.purge, steps.verify):
        step(world, batch_uri)
    with monkeypatch.context() as patch:
        patch.setattr(steps, "remove_request", lambda *_: exit(1))
        with pytest.raises(SystemExit):
            steps.send_receipts(world, batch_uri, run(9))
    assert (state_of(world, request_id), mailbox.messages()) == ("verified", [])
    assert read_request(world, request_id) is not None

    assert work_off(world, {}, run(10)) == 0
    assert work_off(world, {}, run(11)) == 0
    assert read_request(world, request_id) is None
    assert contents(world) == without(before, PERSON)
    receipt = find_receipt(world, request_id)
    assert receipt is not None
    counted = {place.place: place.row_count for place in receipt.found}
    assert counted.items() <= removed_rows(before, contents(world)).items()
    (mail,) = mailbox.messages()
    assert mail.recipients == (DPO,)
    assert mail.attachments[f"erasure-receipt-{request_id}.txt"].decode() == receipt_text(receipt)
    for part in (mail.text, mail.html, receipt_text(receipt)):
        assert PERSON not in part
        assert "ticket 4711" in part
    assert not files_naming(world.settings.home / "archive", PERSON)


@pytest.mark.long
def test_r22_two_requests_for_one_person_are_worked_off_together_and_nobody_found_is_a_receipt_too(
    world: Warehouse, mailbox: Mailbox
) -> None:
    before = contents(world)
    world.settings = replace(world.settings, erasure_notify=("Boss@example.com",))
    asked = {"user_ids": [PERSON], "notify": [DPO], "dry_run": True}
    report = steps.find_only(world, asked, run())
    assert {count.place: count.row_count for count in report.found} == removed_rows(before, without(before, PERSON))
    assert (contents(world), request_states(world)) == (before, [])

    first, second = request(world, PERSON), request(world, PERSON, OTHER, notify=["ben@example.com"])
    nobody = request(world, "nobody at all")

    assert work_off(world, {}, run()) == 0
    again = request(world, PERSON)
    assert work_off(world, {"request_id": again}, run(1)) == 0

    assert contents(world) == without(before, PERSON, OTHER)
    receipts = [find_receipt(world, request_id) for request_id in (first, second, nobody, again)]
    found = [{count.place: count for count in receipt.found} if receipt else {} for receipt in receipts]
    assert found[0]["users"].row_count + 1 == found[1]["users"].row_count
    # Which request a rejected record was about is not known.
    assert found[2].keys() == {"rejected_events"}
    assert found[2]["rejected_events"].request_count == 3
    assert found[3] == {}
    boss, ben = "Boss@example.com", "ben@example.com"
    mailed = [(to, mail.subject) for mail in mailbox.messages() for to in mail.recipients]
    assert sorted(mailed) == sorted(
        [
            (boss, "Erasure completed: 3 requests"),
            (DPO, "Erasure completed: 2 requests"),
            (ben, f"Erasure completed: request {second}"),
            *((to, f"Erasure completed: request {again}") for to in (boss, DPO)),
        ]
    )
    assert "The warehouse held nothing" in mailbox.messages()[-1].text


@pytest.mark.long
def test_r22_what_arrives_while_a_request_is_worked_off_fails_its_verification_and_goes_with_the_next_run(
    world: Warehouse, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = request(world, PERSON)
    purge = steps.purge_everywhere

    def purge_while_somebody_writes(*given: Any) -> Any:
        purged = purge(*given)
        append_hot(world, [interaction("running", 999, user_id=PERSON)])
        return purged

    with monkeypatch.context() as patch:
        patch.setattr(steps, "purge_everywhere", purge_while_somebody_writes)
        assert work_off(world, {}, run()) == 1
    assert (state_of(world, request_id), find_receipt(world, request_id)) == ("purged", None)
    assert work_off(world, {}, run(1)) == 0
    receipt = find_receipt(world, request_id)
    assert receipt is not None
    assert {count.place: count.row_count for count in receipt.found}["interactions"] == 8 + 1


@pytest.mark.long
def test_r22_rejected_records_of_people_whom_only_their_external_id_is_known_of_go_too(
    world: Warehouse, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, external_id in enumerate(("ext 1", "ext 2", "ext 3")):
        payload = f'{{"external_user_id": "{external_id}"}}'
        append(world, "rejected_events", [{**rejected("", number), "payload": payload}])
    append_hot(world, [interaction("running", 900 + n, user_id=f"x{n}", external_user_id=f"ext {n}") for n in (4, 5)])
    before, searched = contents(world), []

    def search(warehouse: Warehouse, external_ids: set[str]) -> dict[str, set[str]]:
        searched.append(external_ids)
        return search_interactions(warehouse, external_ids)

    monkeypatch.setattr(steps, "search_interactions", search)
    for external_ids in (["ext 1"], ["ext 2", "ext 4"]):
        request(world, external_user_ids=external_ids)

    assert work_off(world, {}, run()) == 0

    # One pass over all interactions, however many requests there are.
    assert searched == [{"ext 1", "ext 2", "ext 4"}]
    gone = {name: before[name] - rows for name, rows in contents(world).items()}
    assert {name: rows.total() for name, rows in gone.items() if rows} == {"interactions": 1, "rejected_events": 2}
    assert not any("ext 3" in row or "ext 5" in row for rows in gone.values() for row in rows)
    assert {state.state for state in request_states(world)} == {"verified"}


@pytest.mark.long
def test_r22_requests_that_are_open_when_the_key_is_lost_come_to_their_end(world: Warehouse, mailbox: Mailbox) -> None:
    before, begun, waiting = contents(world), request(world, PERSON), request(world, OTHER)
    steps.locate(world, steps.begin(world, {"request_id": begun}, run()))
    world.settings = replace(world.settings, erasure_key="f" * 32)
    assert forget_lost_key(world, "ann") == 2

    assert work_off(world, {}, run(1)) == 0

    assert contents(world) == without(before, PERSON, OTHER)
    assert (state_of(world, begun), state_of(world, waiting)) == ("verified", "verified")
    assert len(suppressed(world).hashes) == 2


@pytest.mark.long
def test_r22_cold_files_of_several_requests_are_retrieved_once_and_their_cost_is_stated_before(
    aws: Aws, tmp_path: Path, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = workspace_on(aws, tmp_path / "home", "GLACIER", monkeypatch, local=True)
    world.settings = replace(world.settings, erasure_key="0123456789abcdef0123456789abcdef")
    workspace = Workspace(world)
    for source, status in (("old", "stopped"), ("running", "active")):
        workspace.source(source, status)
        append_hot(world, [interaction(source, number) for number in range(14)])
    workspace.sync()
    # An earlier request has read each file once, so that their digests are known.
    locate_rows(world, ["nobody"])
    expire_sources(world, Run("expiry", NOW))
    hot, archive = multiset(world, "interactions"), archive_uri(world)
    aws.hold_thaws(archive)
    first, second = request(world, PERSON), request(world, OTHER)
    append_hot(world, [interaction("running", 900, user_id="only hot")])
    hot_alone = request(world, "only hot")

    # What can be read goes at once; half of the time is left for others to join.
    assert work_off(world, {}, run()) == 0
    # Whoever is in none of the cold files does not wait for them.
    assert state_of(world, hot_alone) == "verified"
    assert find_receipt(world, hot_alone) is not None
    assert (state_of(world, first), state_of(world, second)) == ("waiting", "waiting")
    assert aws.asked_to_thaw(archive) == set()
    others = {row: 1 for row in hot if not any(f'"{one}"' in row for one in (PERSON, OTHER))}
    assert (multiset(world, "interactions"), len(others)) == (others, 10)
    told, _ = mailbox.messages()
    assert "2 people waits for 1 file in cold storage" in told.subject
    for text in (told.text, told.html):
        assert "About less than USD 0.01 for requests and retrieval in tier Bulk" in " ".join(text.split())
        assert moment(read_request(world, first).requested_at + timedelta(days=15)) in text  # type: ignore[union-attr]

    assert work_off(world, {}, run(1)) == 0
    assert len(mailbox.messages()) == 2
    assert work_off(world, {"retrieve": True}, run(2)) == 0
    assert len(aws.asked_to_thaw(archive)) == 1
    assert "have been requested" in mailbox.messages()[2].text
    aws.finish_thaw(*aws.asked_to_thaw(archive))

    assert work_off(world, {}, run(3)) == 0
    assert (state_of(world, first), state_of(world, second)) == ("verified", "verified")
    assert world.source_totals("interactions_archive")["old"].row_count == 10
    receipt = find_receipt(world, first)
    assert receipt is not None
    assert {place.place: place.row_count for place in receipt.found} == {"interactions": 2, "interactions_archive": 2}


def test_r22_the_command_works_a_request_off_here_and_its_receipt_speaks_of_no_params(
    world: Warehouse, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERENNIAL_HOME", str(world.settings.home))
    given = ["erase", "--here", "--user-ids-from", "-", "--notify", DPO, "--reason", "ticket 4711", "--by", "ann"]

    said = CliRunner().invoke(app, given, input=f"{PERSON}\n")

    assert said.exit_code == 0, said.output
    assert ": verified, due by" in said.output
    assert PERSON not in said.output
    (mail,) = mailbox.messages()
    assert "params of the DAG" not in mail.text
    assert files_naming(world.settings.home, PERSON) == []


def test_r22_a_daily_run_digests_what_may_be_cold_when_somebody_asks(world: Warehouse) -> None:
    def digested() -> set[str]:
        with open_connection() as connection:
            conditions(["nobody"], None)["interactions"](connection)
            return digested_files(connection, world)[0]

    work_off(world, {}, run(1))
    assert digested() == set()

    work_off(Warehouse(replace(world.settings, archive_storage_class="GLACIER")), {}, run(2))

    facts = ("interactions", "interactions_archive")
    assert digested() == {live.uri for name in facts for live in world.live_files(world.table(name))} != set()
