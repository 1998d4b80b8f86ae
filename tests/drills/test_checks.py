"""R8, R17: what is in the archive is proven readable; every kind of damage is found before somebody needs the data."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from perennial.drills import check as checks
from perennial.drills.check import check_chunk, plan_check, read_check, request_cold
from perennial.drills.check_file import Finding, check_file
from perennial.drills.inline import check_archive
from perennial.drills.rehearsal import rehearse_restore
from perennial.drills.report import latest_report
from perennial.errors import TerminalRequestError
from perennial.moves import Run, restore_sources
from perennial.operations import wall_clock
from perennial.storage import storage_for
from perennial.warehouse import LiveFile, Warehouse
from tests.aws import Aws, archive_uri, forget_client, workspace_on
from tests.conftest import MadeOnce
from tests.drills import archives
from tests.drills.archives import NOW, archive_of, archived, check, three
from tests.moves.places import everywhere
from tests.rows import append_hot, hot_and_archive, interaction
from tests.workspace import Workspace

Damage = Callable[[Warehouse, LiveFile], None]
DAMAGES: dict[str, tuple[Damage, str, str]] = {
    "sound": (lambda *_: None, "sound", ""),
    "deleted": (archives.delete, "missing", "is missing"),
    "flipped": (archives.flip_a_bit, "damaged", "is not what it was when it was archived"),
    "truncated": (archives.truncate, "damaged", "bytes, the table says"),
    "replaced": (archives.replace_by_other_rows, "damaged", "is not what it was when it was archived"),
    "miscounted": (archives.list_wrong_row_count, "damaged", "it has 30 rows, the table says 31"),
    "misrecorded": (archives.record_wrong_row_count, "damaged", "it has 30 rows, 31 were recorded"),
    "swapped": (
        archives.list_for_another_source,
        "damaged",
        "it has rows of 'other', the table lists it for 'swapped'",
    ),
    "narrower": (archives.drop_a_column, "damaged", "it lacks 1 column that it had: link_alias"),
    "narrow": (archives.drop_a_required_column, "damaged", "it lacks 1 column that it had: user_id"),
    "zeroed": (archives.cut_the_pages, "damaged", "cannot be read as Parquet"),
}


@pytest.mark.long(but="^(local)$")
@everywhere
def test_a_check_finds_every_kind_of_damage_and_names_the_file(warehouse: Warehouse) -> None:
    archive_of(warehouse, *DAMAGES)
    for source, (damage, _, _) in DAMAGES.items():
        damage(warehouse, archived(warehouse, source))
    before = {source: archived(warehouse, source) for source in DAMAGES}

    found = {row["source_id"]: row for row in check(warehouse, "c1", 100)}

    assert {source: row["outcome"] for source, row in found.items()} == {
        source: outcome for source, (_, outcome, _) in DAMAGES.items()
    }
    for source, (_, _, said) in DAMAGES.items():
        detail = found[source]["detail"] or ""
        assert said in detail
        assert (before[source].uri in detail) == bool(said)
        assert found[source]["file_uri"] == before[source].uri
    # Nothing was changed: what is damaged stays where it is.
    assert {source: archived(warehouse, source).uri for source in DAMAGES} == {
        source: live.uri for source, live in before.items()
    }


def test_the_longest_unchecked_file_comes_first_and_one_that_nobody_has_checked_before_it(made_once: MadeOnce) -> None:
    warehouse = made_once(three).warehouse

    rounds = [[row["source_id"] for row in check(warehouse, f"c{number}", 30)] for number in range(4)]

    assert [len(sources) for sources in rounds] == [1] * 4
    assert {source for sources in rounds[:3] for source in sources} == {"a", "b", "it's/ü"}
    assert rounds[3] == rounds[0]
    append_hot(warehouse, [interaction("new", 1)], table="interactions_archive")
    assert [row["source_id"] for row in check(warehouse, "c5", 25)] == ["new"]
    assert [row["source_id"] for row in check(warehouse, "c6", 25)] == rounds[1]


@pytest.mark.long
def test_what_is_damaged_is_checked_in_every_run_until_it_is_repaired(made_once: MadeOnce) -> None:
    warehouse = made_once(three).warehouse
    victim = archived(warehouse, "b")
    whole = storage_for(victim.uri).read(victim.uri)
    archives.flip_a_bit(warehouse, victim)
    while not any(row["source_id"] == "b" for row in check(warehouse, "before", 30)):
        pass

    report = check_archive(warehouse, Run("c1", NOW), 30)

    assert [(file.source_id, file.outcome, file.owner_email) for file in report.damaged] == [
        ("b", "damaged", "b@example.com")
    ]
    assert report.read_count == 2
    assert report.drill is not None
    assert (report.drill.source_id == "b", report.drill.error) == (False, "")
    assert ", 1 damaged." in report.sentence
    storage_for(victim.uri).write(victim.uri, whole)
    repaired = check_archive(warehouse, Run("c2", NOW), 30)
    assert (repaired.is_sound, repaired.sentence) == (True, "Checked 100 % of archived files in 90 days, 0 damaged.")
    assert latest_report(warehouse) == repaired


@pytest.mark.long
def test_the_share_counts_what_the_archive_lists_now_and_only_the_last_days(
    made_once: MadeOnce, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = made_once(three).warehouse
    monkeypatch.setattr(checks, "wall_clock", lambda: wall_clock() - timedelta(days=91))
    check(warehouse, "long ago", 100)
    monkeypatch.undo()
    assert (
        check_archive(warehouse, Run("c1", NOW), 1).sentence == "Checked 33 % of archived files in 90 days, 0 damaged."
    )
    (checked,) = [row["source_id"] for row in warehouse.read("archive_checks").to_pylist() if row["run_id"] == "c1"]

    restore_sources(warehouse, {"source_ids": [checked], "notify": ["ann@example.com"]}, Run("back", NOW))

    assert (
        check_archive(warehouse, Run("c2", NOW), 1).sentence == "Checked 50 % of archived files in 90 days, 0 damaged."
    )


@pytest.mark.long(but="^before its chunk is read$")
@pytest.mark.parametrize("when", ["before its chunk is read", "while it is read"])
def test_a_file_that_a_restore_has_taken_away_is_not_missing(
    made_once: MadeOnce, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    warehouse = made_once(three).warehouse
    before = hot_and_archive(warehouse)
    victim = archived(warehouse, "a")
    plan = plan_check(warehouse, 100)

    def taken_away() -> None:
        if storage_for(victim.uri).stat(victim.uri):
            restore_sources(warehouse, {"source_ids": ["a"], "notify": ["ann@example.com"]}, Run("back", NOW))
            storage_for(victim.uri).delete(victim.uri)

    def checked(table: object, live: LiveFile, recorded: object) -> Finding:
        taken_away()
        return check_file(table, live, recorded)  # type: ignore[arg-type]

    if when == "while it is read":
        monkeypatch.setattr(checks, "check_file", checked)
    else:
        taken_away()

    assert check_chunk(warehouse, Run("c1", NOW), plan, 0) == {"sound": 2}
    assert {row["source_id"] for row in warehouse.read("archive_checks").to_pylist()} == {"b", "it's/ü"}
    # Its rehearsal likewise: there is nothing left to rehearse.
    assert rehearse_restore(warehouse, Run("c1", NOW), "a") is None
    assert hot_and_archive(warehouse) == before


def test_a_chunk_that_is_checked_again_records_nothing_twice(made_once: MadeOnce) -> None:
    warehouse = made_once(three).warehouse
    plan = plan_check(warehouse, 100)
    for _ in range(2):
        check_chunk(warehouse, Run("c1", NOW), read_check(plan.uri), 0)
    assert warehouse.read("archive_checks").num_rows == 3


@pytest.mark.parametrize("percent", [0, -1, 100.5, float("nan")])
def test_a_sample_that_is_no_share_is_refused(local_warehouse: Warehouse, percent: float) -> None:
    with pytest.raises(TerminalRequestError, match=r"sample_percent is .*; give a number above 0"):
        plan_check(local_warehouse, percent)


def test_an_empty_archive_has_nothing_to_check(local_warehouse: Warehouse) -> None:
    report = check_archive(local_warehouse, Run("c1", NOW))
    assert (report.is_sound, report.sentence) == (True, "The archive is empty, so there is nothing to check.")


# Sockets that an earlier test's S3 client has left are found when garbage is collected, which may be here.
@pytest.mark.long
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.filterwarnings("ignore:.*<socket:pytest.PytestUnraisableExceptionWarning")
def test_cold_files_are_counted_and_thawed_only_if_asked(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = workspace_on(aws, tmp_path / "home", "GLACIER", monkeypatch, local=True)
    workspace: Workspace = archive_of(warehouse, "old", "older")
    aws.hold_thaws(archive_uri(warehouse))
    try:
        report = check_archive(warehouse, Run("c1", NOW), 100)
        assert (report.cold_count, report.read_count, report.drill, report.is_sound) == (2, 0, None, True)
        assert report.sentence == "Checked 0 % of archived files in 90 days, 0 damaged."
        assert not aws.asked_to_thaw(archive_uri(warehouse))

        plan = plan_check(warehouse, 100, check_cold=True)
        thawing = request_cold(warehouse, Run("c2", NOW), plan)
        assert thawing is not None
        assert (thawing.file_count, thawing.tier) == (2, "Bulk")
        aws.finish_thaw(*aws.asked_to_thaw(archive_uri(warehouse)))
        assert request_cold(warehouse, Run("c2", NOW), plan) is None
        assert check_chunk(warehouse, Run("c2", NOW), plan, 0) == {"sound": 2}
        drill = rehearse_restore(warehouse, Run("c2", NOW), plan.rehearsed_source)
        assert drill is not None
        assert (drill.error, drill.row_count) == ("", 30)
        # The scratch copies were of no class that is paid for by the month.
        assert {key.storage_class for key in aws.objects(archive_uri(warehouse)).values()} <= {"GLACIER", "STANDARD"}
    finally:
        forget_client()
    assert workspace.sources.keys() == {"old", "older", "running"}
