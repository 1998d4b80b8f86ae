"""How the warehouse of `tests/upgrade` was made: by the code of commit 9a0886b, the last one before the rebuild.

It is kept as a record, with the names of that commit, and is imported by nobody. It cannot be run on later code, and must
not be adapted to it: a warehouse that later code has made proves nothing about what that version left behind. To keep one
of another version as well, check that version out, give this script its names, and put the result beside this one. It was
run as

    python -c "import tests.conftest; from tests.upgrade.make_fixture import main; main()"

The history takes place in the first days of June 2026. Processes are really killed, by `tests.kill`:

- a load when its ledger is committed and nothing else is;
- an expiry of `due-planned` when its copies are verified and not yet committed;
- restores of `back-…`: *planned*, verified and not yet committed; *copied*, when copies lie there of which no note is
  made; *added* and *removed*, after the commit of hot and that of the archive; *frozen*, while it waits for GLACIER;
- a second expiry, of `due`, `due-tiny` (many files, which leave as one) and `due-planned` again, at four depths, each in a
  folder of its own.

Beside them there are an expiry and a restore that are done, a restore that was refused, an owner whose address is none, a
source that the previous policy deleted, one that `perennial adopt` marked, and one that vanished after it had expired.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from perennial.demo.in_process import open_dags, run_dag
from perennial.demo.mailbox import Mailbox
from perennial.features.adopting import adopt
from perennial.lifecycle import Run, expire_sources, restore_sources
from perennial.moves.records import pending_records

from perennial.currents import load_interactions
from perennial.settings import Settings
from perennial.storage.s3 import s3_storage
from perennial.warehouse import Warehouse
from tests.aws import Aws, running_aws
from tests.kill import Point, run_and_kill
from tests.rows import append_hot, interaction
from tests.upgrade.kept import ARCHIVE, EXPECTED, LANDING, environment, everything, pack, unpack, write_archive
from tests.workspace import LONG_AGO, PlatformWorkspace, received

JUNE = datetime(2026, 6, 1, 4, tzinfo=UTC)
DAY = timedelta(days=1)
# How far the last expiry came, by the name of the folder: what it had moved is finished by the next version.
DEPTHS = {
    "copied": Point("before", "perennial.moves.copying:_write_results"),
    "added": Point("after", "commit:add"),
    "recorded": Point("after", "commit:record"),
    "removed": Point("after", "commit:remove"),
}
RESTORES = {
    "planned": Point("before", "perennial.moves.copying:taken_over"),
    "copied": Point("before", "perennial.moves.copying:_write_results"),
    "added": Point("after", "commit:add"),
    "removed": Point("after", "commit:remove"),
    "frozen": Point("before", "perennial.lifecycle.thawing:thaw_looks"),
}


def main() -> None:
    """Make the warehouse and write it beside this file."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_aws() as aws,
        Mailbox(Path(folder, "mail")) as mailbox,
    ):
        home = Path(folder, "home")
        os.environ |= environment(aws.connection, aws.url, home) | {
            "AIRFLOW_CONN_SMTP_DEFAULT": mailbox.airflow_connection()
        }
        unpack(aws.client(), home, {}, cold=True)
        folders = _history(aws, home)
        path = Path(__file__).with_name(f"made_by_{commit[:7]}.tar.xz")
        write_archive(path, folders)
        print(path, path.stat().st_size, {name: len(content) for name, content in folders.items()})


def _history(aws: Aws, home: Path) -> dict[str, dict[str, bytes]]:
    # As in tests: a run in process really sleeps between tries.
    dags = open_dags()
    warehouse = Warehouse(Settings.from_environment())
    warehouse.create_tables()
    workspace = _platform(warehouse)
    full = [source_id for source_id in workspace.sources if source_id not in ("deleted", "adopted")]
    append_hot(warehouse, [interaction(source, n) for source in full for n in range(3)])
    # Many tiny files leave as one.
    append_hot(warehouse, *([interaction("tiny-archived", n), interaction("due-tiny", n)] for n in range(10, 18)))
    workspace.write()
    assert run_dag(dags["sync_sources"], at=JUNE).state == "success"
    _land(aws, 1, {"id": "e1"}, {"id": "e2"}, "no JSON")
    load_interactions(warehouse, JUNE)

    # A day whose expiry is done: in a cold class, then, by a setting that was changed, in one that can be read.
    warehouse = _stopped(workspace, "GLACIER", "back-frozen")
    expire_sources(warehouse, Run("first day", JUNE))
    archived = ["archived", "tiny-archived", "vanished", "returned", *(f"back-{name}" for name in RESTORES)]
    _stopped(workspace, "STANDARD", *archived)
    assert run_dag(dags["expire_interactions"], at=JUNE + DAY).state == "success"
    assert run_dag(dags["restore_interactions"], _request("returned"), at=JUNE + 2 * DAY).state == "success"
    assert (
        run_dag(dags["restore_interactions"], _request("unknown"), at=JUNE + 2 * DAY + timedelta(hours=1)).state
        == "failed"
    )
    del workspace.sources["vanished"]
    workspace.write()
    assert run_dag(dags["sync_sources"], at=JUNE + 3 * DAY).state == "success"
    warehouse = Warehouse(Settings.from_environment())
    adopt(warehouse, date(2024, 1, 1), datetime.now(UTC), "ann")

    # A load that is killed when it is decided; what it comes to is seen in one that is not.
    _land(aws, 2, {"id": "e2"}, {"id": "e3"}, {"id": "e4", "user_id": "u9"}, "no JSON either")
    before = pack(aws, home)
    load_interactions(warehouse, JUNE + 3 * DAY)
    for stored in aws.frozen(f"s3://{ARCHIVE}/").values():
        stored.set_storage_class("STANDARD")
    expected = everything()
    unpack(aws.client(), home, before, cold=True)
    run_and_kill(
        warehouse.settings,
        Point("after", "perennial.currents.pending:_commit_ledger"),
        load_interactions,
        JUNE + 3 * DAY,
    )

    # An expiry that has planned, then restores that come as far as they come, then another expiry.
    warehouse = _stopped(workspace, "STANDARD", "due-planned")
    run_and_kill(warehouse.settings, RESTORES["planned"], expire_sources, Run("fourth day", JUNE + 4 * DAY))
    aws.hold_thaws(f"s3://{ARCHIVE}/")
    runs = {}
    for number, (name, point) in enumerate(RESTORES.items()):
        at = JUNE + 5 * DAY + timedelta(hours=number)
        run = Run(f"manual__{at.isoformat()}", at, "ann", "Needed again", at)
        run_and_kill(warehouse.settings, point, restore_sources, _request(f"back-{name}"), run)
        runs[name] = {"run_id": run.run_id, **_addresses(warehouse, f"back-{name}")}
    warehouse = _stopped(workspace, "STANDARD", "due", "due-tiny")
    wreck = pack(aws, home)
    folders = {}
    for name, point in DEPTHS.items():
        unpack(aws.client(), home, wreck, cold=True)
        run_and_kill(warehouse.settings, point, expire_sources, Run("sixth day", JUNE + 6 * DAY))
        folders[name] = pack(aws, home)
    kept = {"made_by": "9a0886b", "restores": runs, **expected}
    return {**folders, "kept": {EXPECTED: json.dumps(kept).encode()}}


def _platform(warehouse: Warehouse) -> PlatformWorkspace:
    """Everything is active at first; each step of the history stops some."""
    workspace = PlatformWorkspace(warehouse)
    names = ["archived", "tiny-archived", "vanished", "returned", "due-planned", "due", "due-tiny", "kept", "running"]
    for source_id in (*names, *(f"back-{name}" for name in RESTORES)):
        workspace.source(source_id, "active", "spring", owner_email="owner@example.com")
    workspace.sources["archived"]["owner_email"] = "no address"
    workspace.source("deleted", interaction_data_deleted_at=datetime(2023, 5, 1, tzinfo=UTC))
    long_ago = {"created_at": datetime(2019, 1, 1, tzinfo=UTC), "last_sent_at": datetime(2020, 5, 1, tzinfo=UTC)}
    workspace.source("adopted", **long_ago)
    workspace.audience("campaign:running", received("kept"))
    return workspace


def _stopped(workspace: PlatformWorkspace, storage_class: str, *source_ids: str) -> Warehouse:
    """Stop some sources long ago, and say where the archive's files go from now on."""
    for source_id in source_ids:
        workspace.sources[source_id] |= {"status": "stopped", "stopped_at": LONG_AGO}
    workspace.sync(datetime.now(UTC))
    os.environ["PERENNIAL_ARCHIVE_STORAGE_CLASS"] = storage_class
    return Warehouse(Settings.from_environment())


def _land(aws: Aws, number: int, *records: dict[str, Any] | str) -> None:
    """Put a file into the landing place: opens of a campaign that runs, and lines that nobody can read."""
    common = {"user_id": "u1", "time": 1_769_900_400, "campaign_id": "running"}
    lines = [json.dumps(common | record) if isinstance(record, dict) else record for record in records]
    key = f"currents/event_type=users.messages.email.Open/date=2026-01-31-23/part-{number}.json"
    aws.client().put_object(Bucket=LANDING, Key=key, Body="\n".join(lines).encode())


def _request(source_id: str) -> dict[str, Any]:
    return {"source_ids": [source_id], "notify": ["ann@example.com"], "reason": "Needed again"}


def _addresses(warehouse: Warehouse, source_id: str) -> dict[str, Any]:
    """Where the request of a killed restore and its plans lie, as Airflow would have them from the tasks before."""
    plans = [record.plan_uri for record in pending_records(warehouse, "restore") if source_id in record.source_ids]
    storage, prefix = s3_storage(), f"{warehouse.operations_uri()}/requests"
    requests = {stored.uri: storage.read(stored.uri).decode() for stored in storage.list_files(prefix)}
    (request_uri,) = (uri for uri, text in requests.items() if f'"{source_id}"' in text)
    return {"request_uri": request_uri, "plan_uris": plans}
