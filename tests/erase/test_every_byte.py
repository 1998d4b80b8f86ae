"""R22: after `verified` no byte below HOME names the person, whether compressed, encoded, or in the statistics of a file."""

from __future__ import annotations

import gzip
import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import pyarrow.parquet as pq
import pytest

from perennial.currents import load_interactions
from perennial.drills.inline import check_archive
from perennial.erase.inline import work_off
from perennial.erase.open_requests import request_states
from perennial.erasures.hashes import make_key
from perennial.exports.user_data import UserDataRequest, write_user_data
from perennial.maintenance.last_copies import find_lost_sources
from perennial.moves import Run, expire_sources, recovery, restore_sources
from perennial.warehouse import Warehouse
from perennial.warehouse.heads import find_losses
from tests.currents.landing import NOW as LOADED_AT
from tests.currents.landing import OPEN, event, land_avro, land_json, load
from tests.kill import Point, run_and_kill
from tests.rows import hot_and_archive
from tests.workspace import PlatformWorkspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
PERSON, EXTERNAL, ADDRESS, PHONE = "zq9-person-000000001", "zq9-ext-1", "zq9@example.org", "+15550199"
# Statistics are cut after 16 characters, and the largest value then ends in another one.
NEEDLES = tuple(text.encode() for text in (PERSON[:15], EXTERNAL, ADDRESS, PHONE))
REQUEST: dict[str, Any] = {"source_ids": ["gone"], "notify": ["ann@example.com"]}


def naming(warehouse: Warehouse) -> set[str]:
    """Every file below HOME that names the person, but the platform's own."""
    home = warehouse.settings.below_home().resolve()
    files = {path.relative_to(home).as_posix(): path for path in home.rglob("*") if path.is_file()}
    return {
        name
        for name, path in files.items()
        if name != "platform.db" and any(needle in text for text in _contents(path) for needle in NEEDLES)
    }


def _contents(path: Path) -> Iterator[bytes]:
    content = path.read_bytes()
    yield content
    if content.startswith(b"\x1f\x8b"):
        yield gzip.decompress(content)
    elif content.startswith(b"PAR1"):
        yield from _texts(pq.read_table(path, partitioning=None).to_pylist())
    elif content.startswith(b"Obj\x01"):
        yield from _texts(list(fastavro.reader(io.BytesIO(content))))


def _texts(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        yield from _texts(list(value.values()))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    else:
        yield value if isinstance(value, bytes) else str(value).encode()


def land(warehouse: Warehouse, source: str, first: int) -> None:
    """Ten records of the person and ten of others."""
    people = [(PERSON, EXTERNAL), ("u1", "x1")]
    records = [
        event(first + n, campaign_id=source, user_id=people[n % 2][0], external_user_id=people[n % 2][1])
        for n in range(20)
    ]
    land_avro(warehouse.settings, OPEN, records, f"{source}-{first}.avro")


def populate(warehouse: Warehouse) -> PlatformWorkspace:
    make_key(warehouse.settings)
    workspace = PlatformWorkspace(warehouse)
    for source in ("old", "gone"):
        workspace.source(source)
    workspace.source("running", "active")
    workspace.write()
    with closing(sqlite3.connect(warehouse.settings.below_home("platform.db"))) as database, database:
        database.executemany(
            "INSERT INTO users (user_id, external_user_id, email, phone, invalid_phone, feature_flags) "
            "VALUES (?, ?, ?, ?, 0, '[]')",
            [(PERSON, EXTERNAL, ADDRESS, PHONE), ("u1", "x1", "u1@example.com", None)],
        )
    workspace.sync()
    for number, source in enumerate(("old", "gone", "running")):
        land(warehouse, source, 100 * number)
        load(warehouse)
    broken = [
        {"external_user_id": EXTERNAL, "id": "b1"},
        {"user_id": PERSON, "id": "b2", "time": "never"},
        {"user_id": "u1", "id": "b3", "time": "never"},
        f'{{"user_id": "{PERSON}", "id": ',
        f"mail to {ADDRESS} failed",
    ]
    land_json(warehouse.settings, OPEN, [*broken, event(400, campaign_id="running", user_id=PERSON)], "j.json.gz")
    load(warehouse)
    return workspace


def restore(warehouse: Warehouse) -> None:
    restore_sources(warehouse, REQUEST, Run("restore", NOW + timedelta(days=1)))


def expire(warehouse: Warehouse) -> None:
    expire_sources(warehouse, Run("second expiry", NOW + timedelta(days=2)))


def erase(warehouse: Warehouse, **params: Any) -> str:
    assert work_off(warehouse, params, Run(f"erasure {len(params)}", datetime.now(UTC), "ann")) == 0
    (state,) = request_states(warehouse)
    return state.state


@pytest.mark.long
def test_r22_no_byte_names_the_person_although_a_load_an_expiry_and_a_restore_had_died(
    local_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = local_warehouse
    workspace = populate(world)
    expire_sources(world, Run("expiry", NOW))
    write_user_data(world, UserDataRequest(source_id="running"), "export", NOW)
    check_archive(world, Run("check", NOW), 100)
    run_and_kill(world.settings, Point("before", "commit:remove"), restore)
    workspace.source("third")
    workspace.sync()
    land(world, "third", 500)
    load(world)
    run_and_kill(world.settings, Point("before", "commit:add"), expire)
    land(world, "running", 600)
    run_and_kill(world.settings, Point("after", "perennial.currents.load:record_load"), load_interactions, LOADED_AT)
    land(world, "running", 700)

    # What the dead have left is not touched before they are over: a restore after 15 minutes, an expiry after a day.
    assert erase(world, user_ids=[PERSON], reason="ticket 4711") == "located"
    assert {name.partition("/")[0] for name in naming(world)} >= {"archive", "warehouse"}
    monkeypatch.setattr(recovery, "RESTORE_SILENT_SECONDS", 0)
    monkeypatch.setattr(recovery, "ABANDONED_SECONDS", -1)
    restore_sources(world, REQUEST, Run("restore again", NOW + timedelta(days=3)))
    expire_sources(world, Run("third expiry", NOW + timedelta(days=4)))
    assert erase(world) == "verified"

    assert naming(world) == set()
    rows = hot_and_archive(world)
    assert (rows.total(), len(rows)) == (10 * 6, 10 * 6)
    assert all('"user_id":"u1"' in row for row in rows)
    assert world.read("rejected_events")["payload"].to_pylist() == ['{"user_id": "u1", "id": "b3", "time": "never"}']
    assert (find_lost_sources(world), list(find_losses(world))) == ([], [])
    report = check_archive(world, Run("check again", NOW + timedelta(days=5)), 100)
    assert (report.damaged, report.checked_count) == ((), report.archived_count)
    # What arrives later is in the landing files alone, whose rule deletes them.
    workspace.sync()
    land(world, "running", 800)
    assert load(world).erased == 10
    assert {name.partition("/")[0] for name in naming(world)} == {"landing"}
