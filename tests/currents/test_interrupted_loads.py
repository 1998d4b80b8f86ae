"""A load killed at any point, or racing with another one, neither loses nor repeats a row."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from perennial.currents import commit, finish_pending_loads, load
from perennial.errors import TerminalDataError
from perennial.operations import pending_records
from perennial.quality import LoadCounts
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests import PROJECT_ROOT
from tests.currents.interrupted_load import POINTS
from tests.currents.landing import NOW, OPEN, event, everything, land_avro, land_json, rows, totals
from tests.currents.landing import load as run_load


def land_everything(settings: Settings) -> None:
    """Files that put rows into every table, and a second delivery of some of them."""
    land_avro(settings, OPEN, [event(n, campaign_id=f"c{n % 3}") for n in range(30)])
    land_avro(settings, "users.messages.email.Bounce", [event(n) for n in range(100, 103)])
    land_json(settings, OPEN, [event(1), "{broken", event(50)])
    land_json(settings, "users.behaviors.Uninstall", [event(200)])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("undisturbed")
    settings = Settings.from_environment({"PERENNIAL_HOME": str(home), "PERENNIAL_LANDING_SETTLE_SECONDS": "0"})
    warehouse = Warehouse(settings)
    warehouse.create_tables()
    land_everything(settings)
    run_load(warehouse)
    return everything(warehouse)


@pytest.fixture
def earlier_load(settings: Settings, warehouse: Warehouse) -> Iterator[None]:
    land_everything(settings)
    yield
    assert list(pending_records(warehouse)) == []


@dataclass(frozen=True)
class Started:
    """A load in another process."""

    nursery: subprocess.Popen[str]
    pid: str

    def wait(self) -> int:
        return int(_ask(self.nursery, f"wait {self.pid}"))


def _ask(nursery: subprocess.Popen[str], line: str) -> str:
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    print(line, file=nursery.stdin, flush=True)
    return nursery.stdout.readline().split()[1]


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[[Settings, str], Started]]:
    command = [sys.executable, "-m", "tests.currents.interrupted_load"]
    with subprocess.Popen(
        command, cwd=PROJECT_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as nursery:
        yield lambda settings, point: Started(nursery, _ask(nursery, f"{point} {settings.home}"))


Start = Callable[[Settings, str], Started]


@pytest.mark.long(but="after:record$|after:commit:interactions")
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.usefixtures("earlier_load")
def test_a_load_killed_at_any_point_is_finished_by_the_next_run(
    settings: Settings, warehouse: Warehouse, undisturbed: dict[str, Any], start: Start, point: str
) -> None:
    assert start(settings, point).wait() == -signal.SIGKILL
    run_load(warehouse)
    assert run_load(warehouse).loads == 0
    assert everything(warehouse) == undisturbed


@pytest.mark.long(but="^(after:commit:loaded_events)$")
@pytest.mark.parametrize("point", ["after:commit:loaded_events", "after:commit:interactions", "before:forget:record"])
@pytest.mark.usefixtures("earlier_load")
def test_maintenance_can_finish_a_killed_load(
    settings: Settings, warehouse: Warehouse, undisturbed: dict[str, Any], start: Start, point: str
) -> None:
    start(settings, point).wait()
    assert finish_pending_loads(warehouse) == 1
    assert everything(warehouse) == undisturbed


@pytest.mark.usefixtures("earlier_load")
def test_two_loaders_in_two_processes_load_every_row_once(
    settings: Settings, warehouse: Warehouse, undisturbed: dict[str, Any], start: Start
) -> None:
    both = [start(settings, "never") for _ in range(2)]
    assert [loader.wait() for loader in both] == [0, 0]
    assert everything(warehouse) == undisturbed


@pytest.mark.long(but="^and finishes$")
@pytest.mark.parametrize("dies", [False, True], ids=["and finishes", "and is killed after its ledger commit"])
@pytest.mark.usefixtures("earlier_load")
def test_a_loader_that_comes_first_while_another_prepares_wins(
    settings: Settings, warehouse: Warehouse, undisturbed: dict[str, Any], start: Start, dies: bool
) -> None:
    overtaken = []

    def let_another_come_first(counts: list[LoadCounts]) -> None:
        if not overtaken:
            overtaken.append(counts)
            start(settings, "after:commit:loaded_events" if dies else "never").wait()

    outcome = run_load(warehouse, check=let_another_come_first)
    assert (len(overtaken), outcome.loads) == (1, 0)
    assert everything(warehouse) == undisturbed


@pytest.mark.long
@pytest.mark.usefixtures("earlier_load")
def test_a_loader_with_other_files_that_loses_the_race_loads_its_own(
    settings: Settings, warehouse: Warehouse, undisturbed: dict[str, Any], start: Start
) -> None:
    def let_another_come_first(counts: list[LoadCounts]) -> None:
        if len(counts) == 4:
            late = land_json(settings, OPEN, [event(n) for n in range(25, 60)], "late.json")
            start(settings, "never").wait()
            assert late.exists()

    run_load(warehouse, check=let_another_come_first)
    found = totals(warehouse)["interactions"]
    assert len(found) == 30 + 30
    assert set(found.values()) == {1}


@pytest.mark.usefixtures("earlier_load")
def test_a_check_that_fails_leaves_nothing_visible(settings: Settings, warehouse: Warehouse) -> None:
    def refuse(counts: list[LoadCounts]) -> None:
        raise TerminalDataError(f"{len(counts)} files look odd")

    with pytest.raises(TerminalDataError, match="4 files look odd"):
        run_load(warehouse, check=refuse)
    assert all(not counted for counted in everything(warehouse).values())


@pytest.mark.usefixtures("earlier_load")
def test_a_load_that_does_not_add_up_is_refused(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perennial.currents import prepare

    read = prepare._read_file

    def losing(connection: Any, file_no: int, *rest: Any) -> Any:
        result = read(connection, file_no, *rest)
        connection.execute("DELETE FROM records WHERE file_no = 0 AND line = 3")
        return result

    monkeypatch.setattr(prepare, "_read_file", losing)
    with pytest.raises(TerminalDataError, match="does not account for every record"):
        run_load(warehouse)
    assert all(not counted for counted in everything(warehouse).values())


def test_a_dead_load_is_not_taken_for_lost_when_history_no_longer_shows_it(
    settings: Settings, warehouse: Warehouse, start: Start
) -> None:
    land_everything(settings)
    start(settings, "after:commit:interactions").wait()
    # What an expiry of snapshots would leave when it ran without finishing pending loads first.
    for number in range(2):
        warehouse.append_rows("loaded_events", [{"event_id": f"x{number}", "occurred_at": NOW}], f"other:{number}")
    table = warehouse.table("loaded_events")
    snapshots = sorted(table.metadata.snapshots, key=lambda snapshot: snapshot.sequence_number or 0)
    table.maintenance.expire_snapshots().by_ids([snapshot.snapshot_id for snapshot in snapshots[:-1]]).commit()
    with pytest.raises(TerminalDataError, match="no longer shows whether it was committed"):
        run_load(warehouse)


def test_a_pending_record_without_its_plan_is_reported(settings: Settings, warehouse: Warehouse, start: Start) -> None:
    land_everything(settings)
    start(settings, "after:record").wait()
    (record,) = pending_records(warehouse)
    Path(record.plan_uri.removeprefix("file://")).unlink()
    with pytest.raises(TerminalDataError, match="restore the operations directory"):
        run_load(warehouse)


# --- files that are still being written -------------------------------------------------------------------------------


def test_a_file_that_changes_while_it_is_read_is_left_whole_for_the_next_run(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perennial.currents import prepare

    path = land_json(settings, OPEN, [event(1), event(2)])
    land_avro(settings, OPEN, [event(3)])
    read = prepare.read_landing_file

    def growing(file: Any, decode: bool) -> Any:
        yield from read(file, decode)
        if file.uri.endswith(".json"):
            with path.open("a") as opened:
                opened.write("{")

    monkeypatch.setattr(prepare, "read_landing_file", growing)
    outcome = run_load(warehouse)
    assert (outcome.interactions, outcome.waiting, outcome.rejected) == (1, 1, 0)
    assert rows(warehouse, "interactions", "event_id") == [("e3",)]
    monkeypatch.undo()
    land_json(settings, OPEN, [event(1), event(2)])
    outcome = run_load(warehouse)
    assert (outcome.interactions, outcome.waiting, outcome.rejected) == (2, 0, 0)


def test_a_file_that_vanishes_before_or_while_it_is_read_is_left(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = land_json(settings, OPEN, [event(1)], "gone.json")
    land_json(settings, OPEN, [event(2)], "here.json")
    list_landing = load.list_landing

    def listing(settings: Settings) -> Any:
        listed = list_landing(settings)
        path.unlink()
        return listed

    monkeypatch.setattr(load, "list_landing", listing)
    outcome = run_load(warehouse)
    assert (outcome.interactions, outcome.waiting) == (1, 1)
    assert rows(warehouse, "loaded_files", "parse_filename(file_uri)") == [("here.json",)]


def test_a_young_file_is_waited_for_and_loaded_unless_it_still_changes(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perennial.currents import landing

    growing = land_json(settings, OPEN, [event(1)], "growing.json")
    land_json(settings, OPEN, [event(2)], "finished.json")
    ahead = land_json(settings, OPEN, [event(3)], "from-the-future.json")
    os.utime(ahead, (4_000_000_000, 4_000_000_000))
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        with growing.open("a") as opened:
            opened.write("\n")

    monkeypatch.setattr(landing.time, "sleep", sleep)
    patient = Warehouse(replace(settings, landing_settle=timedelta(seconds=30)))
    outcome = run_load(patient)
    assert waits == [30]
    assert (outcome.interactions, outcome.waiting) == (2, 1)
    assert rows(warehouse, "interactions", "event_id") == [("e2",), ("e3",)]


def test_files_that_are_not_finished_by_their_names_are_left_alone(settings: Settings, warehouse: Warehouse) -> None:
    path = land_json(settings, OPEN, [event(1)])
    for name in (".part-0.json", "_part-0.json", "part-0.json.tmp", "part.avro.part", "a.json.inprogress", "a.json.crc",
                 "_SUCCESS"):  # fmt: skip
        shutil.copy(path, path.with_name(name))
    assert run_load(warehouse).files == 1


def test_an_absent_landing_place_is_an_empty_one(warehouse: Warehouse) -> None:
    assert run_load(warehouse).files == 0


def test_an_unreadable_file_does_not_stop_the_others(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perennial.currents import prepare

    for number, name in enumerate(("a.json", "b.json")):
        land_json(settings, OPEN, [event(number)], name)
    read = prepare.read_landing_file

    def refused(file: Any, decode: bool) -> Any:
        # Tests may run as root, whom no permission stops.
        if file.uri.endswith("a.json"):
            raise PermissionError("not yours")
        return read(file, decode)

    monkeypatch.setattr(prepare, "read_landing_file", refused)
    outcome = run_load(warehouse)
    assert (outcome.interactions, outcome.waiting) == (1, 1)


@pytest.mark.long(but=r"^file://\{home\}/landing/$")
@pytest.mark.parametrize("spelling", ["landing", "{home}/landing", "file://{home}/landing/"])
def test_how_the_landing_place_is_spelled_does_not_matter(
    settings: Settings, warehouse: Warehouse, spelling: str
) -> None:
    land_json(settings, OPEN, [event(1)])
    run_load(warehouse)
    again = replace(settings, landing_uri=spelling.format(home=settings.home))
    assert run_load(Warehouse(again)).loads == 0


def test_names_of_the_landing_tree_may_hold_any_character(settings: Settings, warehouse: Warehouse) -> None:
    hostile = Path(settings.landing_uri) / 'it\'s 100% "odd" 🦄\n' / f"event_type={OPEN}"
    hostile.mkdir(parents=True)
    (hostile / "part #1?.json").write_text('{"id": "e1", "user_id": "u", "time": 1, "campaign_id": "c"}\nbroken\n')
    (hostile / os.fsdecode(b"\xff.json")).write_text("{}")
    outcome = run_load(warehouse)
    assert (outcome.interactions, outcome.rejected, outcome.files) == (1, 1, 1)
    assert rows(warehouse, "rejected_events", "file_uri") == [(f"file://{hostile}/part #1?.json",)]
    assert run_load(warehouse).loads == 0


@pytest.mark.long
def test_the_pending_record_names_what_must_not_be_purged(
    settings: Settings, warehouse: Warehouse, start: Start
) -> None:
    land_everything(settings)
    start(settings, "after:record").wait()
    (record,) = pending_records(warehouse)
    assert (record.kind, len(record.file_lists)) == (commit.KIND, 6)
    from perennial.warehouse.files import read_file_list

    named = [
        data_file.file_path
        for uri in record.file_lists
        for data_file in read_file_list(warehouse.table(Path(uri).stem), uri)
    ]
    assert len(named) == 3 + 5
    assert all(Path(uri.removeprefix("file://")).exists() for uri in named)
