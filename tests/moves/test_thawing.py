"""M9: what lies in cold storage is thawed before it is restored, whoever dies meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from perennial.errors import TerminalCancelledError, TerminalRequestError, TransientError
from perennial.maintenance.purge import purge_files
from perennial.maintenance.snapshots import expire_old_snapshots
from perennial.moves import Run, expire_sources, restore_sources, thaw
from perennial.moves.cancel import cancel_restore
from perennial.moves.move_plan import read_plan
from perennial.moves.restore import check_request, plan_restore
from perennial.moves.thaw import refuse_cold, start_thaw
from perennial.moves.thaw_status import ThawStatus, find_thaw_status
from perennial.operations import OperationStore, hashed_name, pending_records, sources_under_way
from perennial.storage.s3 import s3_storage
from perennial.warehouse import Warehouse
from tests.aws import Aws, archive_uri, archived, workspace_on
from tests.rows import append_hot, interaction, multiset, visible
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
REQUEST: dict[str, Any] = {"source_ids": ["old", "older"], "notify": ["ann@example.com"]}


class KilledError(Exception):
    """The process that waited is gone."""


def kill(seconds: float) -> None:
    raise KilledError(str(seconds))


@pytest.fixture(autouse=True)
def forget_server() -> Iterator[None]:
    """A process keeps the client of the server that it asked first."""
    yield
    s3_storage.cache_clear()


@pytest.fixture
def expired(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Workspace, Counter[str]]:
    """Two sources that have expired into GLACIER, and one that is active; and every row as it was before."""
    # Tables on disk: what is looked at here is the archive.
    warehouse = workspace_on(aws, tmp_path / "home", "GLACIER", monkeypatch, local=True)
    workspace = Workspace(warehouse)
    workspace.source("old")
    workspace.source("older")
    workspace.source("running", "active")
    append_hot(warehouse, [interaction(source, number) for source in workspace.sources for number in range(30)])
    workspace.sync()
    before = multiset(warehouse, "interactions")
    expire_sources(warehouse, run("r1"))
    aws.hold_thaws(archive_uri(warehouse))
    return workspace, before


@pytest.fixture
def workspace(expired: tuple[Workspace, Counter[str]]) -> Workspace:
    return expired[0]


@pytest.fixture
def before(expired: tuple[Workspace, Counter[str]]) -> Counter[str]:
    return expired[1]


def run(name: str, now: datetime = NOW) -> Run:
    return Run(name, now, "ann")


def under_way(**_: Any) -> None:
    """What S3 answers where no faster tier can be had, which moto does not."""
    raise ClientError({"Error": {"Code": "RestoreAlreadyInProgress"}}, "RestoreObject")


def everything() -> set[str]:
    return {f"{source}#{number}" for source in ("old", "older", "running") for number in range(30)}


def seen(warehouse: Warehouse) -> Counter[str]:
    """Event ids that features may see, with how often."""
    import json

    return Counter(json.loads(row)["event_id"] for row in visible(warehouse).elements())


@pytest.mark.long
def test_r23_a_restore_that_is_cancelled_while_it_waits_for_a_thaw_leaves_nothing(
    aws: Aws, workspace: Workspace, before: Counter[str]
) -> None:
    warehouse = workspace.warehouse
    expired = multiset(warehouse, "interactions"), visible(warehouse)
    waited: list[float] = []

    def cancel_meanwhile(seconds: float) -> None:
        waited.append(seconds)
        assert str(cancel_restore(warehouse, "r2", "ann")).startswith("Cancelled. Nothing was moved")

    with pytest.raises(TerminalCancelledError, match="cancelled by ann"):
        restore_sources(warehouse, REQUEST, run("r2"), cancel_meanwhile)

    assert len(waited) == 1
    assert (multiset(warehouse, "interactions"), visible(warehouse)) == expired
    assert not list(pending_records(warehouse))
    aws.finish_thaw(*archived(warehouse))
    restore_sources(warehouse, REQUEST, run("r3"))
    assert visible(warehouse) == before


@pytest.mark.long
def test_a_restore_in_one_process_waits_and_brings_every_row_back(
    aws: Aws, workspace: Workspace, before: Counter[str]
) -> None:
    warehouse = workspace.warehouse
    first, second = archived(warehouse)
    turns = iter((first, second))
    progress = []

    def wait(_: float) -> None:
        progress.append(str(find_thaw_status(warehouse, "r2")))
        aws.finish_thaw(next(turns))

    report = restore_sources(warehouse, REQUEST, run("r2"), wait)

    assert report.state == "finished"
    assert progress == ["thawed 0 of 2 files", "thawed 1 of 2 files"]
    assert visible(warehouse) == multiset(warehouse, "interactions") == before
    thaw = find_thaw_status(warehouse, "r2")
    assert thaw is not None
    assert (thaw.file_count, thaw.thawed_count, thaw.frozen_as, thaw.ended) == (2, 2, {"GLACIER": 2}, True)
    assert datetime.fromisoformat(thaw.expected_at) - datetime.fromisoformat(thaw.asked_at) == timedelta(hours=5)


@pytest.mark.long
def test_a_restore_that_is_killed_while_it_waits_is_gone_on_with_by_another(
    aws: Aws, workspace: Workspace, before: Counter[str]
) -> None:
    warehouse = workspace.warehouse
    first, second = archived(warehouse)
    with pytest.raises(KilledError):
        restore_sources(warehouse, REQUEST, run("r2"), kill)
    assert sources_under_way(warehouse, "restore") == {"old", "older"}

    # Half of it thaws while nobody looks.
    aws.finish_thaw(first)
    restore_sources(warehouse, REQUEST, run("r3"), lambda _: aws.finish_thaw(second))

    assert visible(warehouse) == multiset(warehouse, "interactions") == before
    thaw = find_thaw_status(warehouse, "r3")
    assert thaw is not None
    assert thaw.file_count == 1


@pytest.mark.long
def test_what_is_half_thawed_is_not_half_restored(aws: Aws, workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    shown = []

    def wait(_: float) -> None:
        aws.finish_thaw(archived(warehouse)[0])
        shown.append(set(seen(warehouse)))
        if len(shown) == 2:
            aws.finish_thaw(archived(warehouse)[1])

    restore_sources(warehouse, REQUEST, run("r2"), wait)

    assert shown == [{f"running#{number}" for number in range(30)}] * 2
    assert seen(warehouse) == Counter(everything())


@pytest.mark.long
def test_days_of_waiting_neither_lose_the_hold_nor_what_maintenance_must_keep(aws: Aws, workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    touched = []

    def wait(_: float) -> None:
        (record,) = pending_records(warehouse, "restore")
        touched.append(record.touched_at)
        append_hot(warehouse, [interaction("old", 100 + len(touched))])
        later = datetime.now(UTC) + timedelta(days=9)
        expire_sources(warehouse, run(f"expiry-{len(touched)}", NOW + timedelta(days=len(touched))))
        expire_old_snapshots(warehouse, later, retain_days=1)
        purge_files(warehouse, later, retain_days=1)
        if len(touched) == 2:
            aws.finish_thaw(*archived(warehouse))

    restore_sources(warehouse, REQUEST, run("r2"), wait)

    assert touched == sorted(set(touched))
    assert seen(warehouse) == Counter(everything() | {"old#101", "old#102"})
    assert not list(pending_records(warehouse))


@pytest.mark.long
def test_what_is_cold_again_before_it_was_read_is_asked_for_again(aws: Aws, workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    first, second = archived(warehouse)
    turns: list[float] = []

    def wait(seconds: float) -> None:
        turns.append(seconds)
        if len(turns) == 1:
            aws.finish_thaw(first)
        elif len(turns) == 2:
            aws.refreeze(first)
            aws.finish_thaw(second)
        else:
            assert aws.asked_to_thaw(archive_uri(warehouse)) == {first, second}
            aws.finish_thaw(first)

    restore_sources(warehouse, REQUEST, run("r2"), wait)

    assert len(turns) == 3
    assert seen(warehouse) == Counter(everything())


@pytest.mark.long
def test_a_file_that_is_missing_from_cold_storage_costs_only_its_own_source(aws: Aws, workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    (victim,) = (live.uri for live in warehouse.live_files(warehouse.table("interactions_archive"), ["older"]))

    def wait(_: float) -> None:
        s3_storage().delete(victim)
        aws.finish_thaw(*(uri for uri in archived(warehouse) if uri != victim))

    report = restore_sources(warehouse, REQUEST, run("r2"), wait)

    assert {source.source_id: source.outcome for source in report.sources} == {"old": "restored", "older": "failed"}
    assert seen(warehouse) == Counter(f"{source}#{number}" for source in ("old", "running") for number in range(30))


@pytest.mark.long
def test_expedited_is_refused_where_one_file_lies_in_deep_archive_and_nothing_is_held_back(
    aws: Aws, workspace: Workspace
) -> None:
    warehouse = workspace.warehouse
    deep = archived(warehouse)[1]
    aws.objects(deep)[deep].set_storage_class("DEEP_ARCHIVE")

    with pytest.raises(TerminalRequestError, match="1 of the files lie in DEEP_ARCHIVE"):
        restore_sources(warehouse, {**REQUEST, "thaw_tier": "Expedited"}, run("r2"), kill)

    assert aws.asked_to_thaw(archive_uri(warehouse)) == set()
    assert not list(pending_records(warehouse))


@pytest.mark.long
@pytest.mark.parametrize(("tier", "minutes"), [("Expedited", 5), ("Standard", 5 * 60), ("Bulk", 12 * 60)])
def test_the_tier_is_passed_on_and_decides_how_long_it_takes(
    aws: Aws, workspace: Workspace, tier: str, minutes: int
) -> None:
    warehouse, run2 = workspace.warehouse, run("r2")
    plan_uris = plan_restore(warehouse, check_request(warehouse, REQUEST), run2)
    asked: list[str] = []
    events = s3_storage().client.meta.events
    events.register(
        "before-parameter-build.s3.RestoreObject", lambda params, **_: asked.append(params["RestoreRequest"])
    )

    thaw = start_thaw(warehouse, run2, plan_uris, tier)

    assert asked == [{"Days": 3, "GlacierJobParameters": {"Tier": tier}}] * 2
    assert thaw is not None
    took = datetime.fromisoformat(thaw.expected_at) - datetime.fromisoformat(thaw.asked_at)
    assert took == timedelta(minutes=minutes)


@pytest.mark.long
@pytest.mark.parametrize("refused", [False, True], ids=["faster", "as it was"])
def test_a_second_request_of_a_faster_tier_is_passed_on_and_promises_it_only_where_s3_takes_it(
    workspace: Workspace, refused: bool
) -> None:
    warehouse = workspace.warehouse
    expected = {}
    for run_id, tier in (("slow", "Bulk"), ("fast", "Expedited")):
        plan_uris = plan_restore(warehouse, check_request(warehouse, REQUEST), run(run_id))
        if refused and tier == "Expedited":
            s3_storage().client.meta.events.register("before-call.s3.RestoreObject", under_way)
        thaw = start_thaw(warehouse, run(run_id), plan_uris, tier)
        assert thaw is not None
        took = datetime.fromisoformat(thaw.expected_at) - datetime.fromisoformat(thaw.asked_at)
        expected[run_id] = (thaw.tier, thaw.expected_tier, took)

    assert expected["slow"] == ("Bulk", "Bulk", timedelta(hours=12))
    assert expected["fast"] == (
        ("Expedited", "Bulk", timedelta(hours=12)) if refused else ("Expedited", "Expedited", timedelta(minutes=5))
    )


@pytest.mark.long
def test_r10_a_run_does_not_wait_for_a_source_that_is_active_again_the_next_one_has_it(
    aws: Aws, workspace: Workspace
) -> None:
    warehouse = workspace.warehouse
    old, older = (
        next(live.uri for live in warehouse.live_files(warehouse.table("interactions_archive"), [source]))
        for source in ("old", "older")
    )
    aws.objects(older)[older].set_storage_class("STANDARD")
    workspace.source("old", "active")
    workspace.source("older", "active")
    workspace.sync()

    expire_sources(warehouse, run("r2", NOW + timedelta(days=1)))

    assert aws.asked_to_thaw(archive_uri(warehouse)) == {old}
    assert {event.partition("#")[0] for event in seen(warehouse)} == {"older", "running"}
    assert not list(pending_records(warehouse))

    aws.finish_thaw(old)
    expire_sources(warehouse, run("r3", NOW + timedelta(days=2)))

    assert seen(warehouse) == Counter(everything())


@pytest.mark.long
def test_a_move_that_cannot_wait_says_how_long_to_wait(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    plan_uris = plan_restore(warehouse, check_request(warehouse, REQUEST), run("r2"))

    with pytest.raises(TransientError, match=r"2 files that entered the archive meanwhile.*again in 5 hours"):
        refuse_cold(warehouse, plan_uris)


@pytest.mark.long
def test_of_many_files_a_listing_shows_which_can_be_cold_and_only_those_are_looked_at(
    aws: Aws, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse, run2 = workspace.warehouse, run("r2")
    warm, cold = archived(warehouse)
    aws.objects(warm)[warm].set_storage_class("STANDARD_IA")
    plan_uris = plan_restore(warehouse, check_request(warehouse, REQUEST), run2)
    looked_at: list[str] = []
    events = s3_storage().client.meta.events
    events.register("before-parameter-build.s3.HeadObject", lambda params, **_: looked_at.append(params["Key"]))

    monkeypatch.setattr(thaw, "MIN_FILES_TO_LIST", 1)
    status = start_thaw(warehouse, run2, plan_uris, "Standard")

    assert [uri for uri in (warm, cold) if f"cold/{uri.partition('/cold/')[2]}" in looked_at] == [cold]
    assert aws.asked_to_thaw(archive_uri(warehouse)) == {cold}
    assert status is not None
    assert status.file_count == 1


@pytest.mark.long
def test_of_many_files_only_the_first_are_looked_at_while_they_are_not_ready(
    aws: Aws, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = workspace.warehouse
    monkeypatch.setattr(thaw, "MAX_FILES_PER_LOOK", 1)
    first, second = (
        uri for plan_uri in plan_restore(warehouse, check_request(warehouse, REQUEST), run("r2"))
        for step in read_plan(plan_uri).steps for uri in step.originals
    )  # fmt: skip
    progress = []

    def wait(_: float) -> None:
        progress.append(str(find_thaw_status(warehouse, "r2")))
        aws.finish_thaw(*{1: [second], 2: [first]}[len(progress)])

    restore_sources(warehouse, REQUEST, run("r2"), wait)

    # The second is ready, but its turn has not come.
    assert progress == ["thawed 0 of 2 files", "thawed 0 of 2 files"]
    assert seen(warehouse) == Counter(everything())


@pytest.mark.long
def test_m7_tiny_files_leave_as_one_cold_file_that_comes_back_row_for_row(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = workspace_on(aws, tmp_path / "home", "DEEP_ARCHIVE", monkeypatch)
    tables = warehouse.table("interactions").location().rpartition("/")[0]
    workspace = Workspace(warehouse)
    workspace.source("old")
    append_hot(warehouse, *([interaction("old", number)] for number in range(8)))
    workspace.sync()
    before = multiset(warehouse, "interactions")

    expire_sources(warehouse, run("r1"))

    (merged,) = archived(warehouse)
    ((uri, key),) = aws.frozen(archive_uri(warehouse)).items()
    assert (uri, key.storage_class) == (merged, "DEEP_ARCHIVE")
    # Nothing but data files is cold: neither the plan beside them nor any metadata.
    assert len(aws.objects(archive_uri(warehouse))) > 1
    assert aws.objects(tables)
    assert not aws.frozen(tables)
    (noted,) = warehouse.read("archived_files").to_pylist()
    assert (noted["file_uri"], len(noted["original_uris"]), noted["row_count"]) == (merged, 8, 8)
    assert noted["checksum"].startswith("sha256:")

    aws.hold_thaws(archive_uri(warehouse))
    restore_sources(
        warehouse, {**REQUEST, "source_ids": ["old"], "thaw_tier": "Bulk"}, run("r2"), lambda _: aws.finish_thaw(merged)
    )

    assert visible(warehouse) == before
    assert not aws.frozen(tables)


@pytest.mark.long
def test_a_second_try_of_a_run_goes_on_counting_where_the_first_was(aws: Aws, workspace: Workspace) -> None:
    warehouse, run2 = workspace.warehouse, run("r2")
    plan_uris = plan_restore(warehouse, check_request(warehouse, REQUEST), run2)
    first = start_thaw(warehouse, run2, plan_uris, "Standard")
    aws.finish_thaw(archived(warehouse)[0])
    second = start_thaw(warehouse, run2, plan_uris, "Standard")

    assert first is not None
    assert second is not None
    assert second == replace(first, thawed_count=1, looked_at=second.looked_at)
    aws.finish_thaw(archived(warehouse)[1])
    assert start_thaw(warehouse, run2, plan_uris, "Standard") is None
    ended = find_thaw_status(warehouse, "r2")
    assert ended is not None
    assert ended.done


@pytest.mark.parametrize("notified", [False, True])
def test_a_status_that_an_earlier_version_wrote_says_whether_its_requesters_were_notified(
    local_warehouse: Warehouse, notified: bool
) -> None:
    at = NOW.isoformat()
    written = {"run_id": "r1", "tier": "Bulk", "asked_at": at, "expected_at": at, "looked_at": at, "file_count": 2}
    OperationStore.of(local_warehouse).put("thaws", {**written, "told": notified}, hashed_name("r1"))

    assert find_thaw_status(local_warehouse, "r1") == ThawStatus(**written, requesters_notified=notified)
