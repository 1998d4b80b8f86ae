"""The User data file of a campaign or Canvas: who is in it, what its cells hold, and that it is whole or not there."""

from __future__ import annotations

import csv
import os
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perennial.audiences.completeness import TerminalIncompleteError
from perennial.errors import TerminalRequestError
from perennial.exports.user_data import UserDataRequest, check_request, write_user_data
from perennial.moves import Run, expire_sources, restore_sources
from perennial.warehouse import Warehouse
from tests.kill import Point, run_and_kill
from tests.rows import EPOCH, append_hot, interaction
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
NOBODY = {"invalid_phone": False, "feature_flags": []}
ANN = {
    "user_id": "u-ann", "external_user_id": "e-1", "email": "ann@example.com", "phone": "+33 1 23", "first_name": "Ann",
    "last_name": "O'Hara", "country": "FR", "language": "fr", "time_zone": "Europe/Paris", **NOBODY,
}  # fmt: skip
HOSTILE = [
    "=1+1", "+33", "-5", "@SUM(A1)", "'=1", "a,b", 'say "hi"', "one\ntwo", "one\r\ntwo", "\r", '"', ",", " lead",
    "trail ", "مرحبا بالعالم", "🏴‍☠️ été", "\ufeffbom", "nul\0nul", "\u2028", "\\", "NULL", "null", "\\N", "#", "\ttab", "x" * 3000,
]  # fmt: skip


@pytest.fixture
def workspace(warehouse: Warehouse) -> Workspace:
    workspace = Workspace(warehouse)
    workspace.source("cmp", "stopped")
    workspace.source("cnv", "active", kind="canvas")
    workspace.sync()
    return workspace


def at(minutes: int) -> datetime:
    return EPOCH + timedelta(minutes=minutes)


def did(source_id: str, number: int, user_id: str, what: str, **fields: Any) -> dict[str, Any]:
    """One interaction, `number` minutes after the start."""
    kind = "canvas" if source_id.startswith("cnv") else "campaign"
    return interaction(source_id, number, user_id=user_id, interaction=what, source_kind=kind, **fields)


def request(source_id: str, all_recipients: bool = False) -> UserDataRequest:
    return UserDataRequest(source_id=source_id, notify=("ann@example.com",), all_recipients=all_recipients)


def export(warehouse: Warehouse, source_id: str, all_recipients: bool = False) -> list[dict[str, str]]:
    """Write the file and read it as a spreadsheet does: one dictionary a user."""
    written = write_user_data(warehouse, request(source_id, all_recipients), "run-1", NOW)
    rows = read(Path(written.file_uri))
    assert written.user_count == len(rows)
    assert written.file_bytes == Path(written.file_uri).stat().st_size
    return rows


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_campaigns_file_has_one_line_a_user_in_order_with_what_they_did(workspace: Workspace) -> None:
    workspace.replace("users", [ANN, {"user_id": "u-bob", **NOBODY}, {"user_id": "u-never", **NOBODY}])
    variants = [("v-1", "Red", False), ("v-2", "Blue", False), ("v-c", "Control", True)]
    workspace.replace(
        "source_variants",
        [{"variant_id": id, "source_id": "cmp", "name": name, "is_control": control} for id, name, control in variants],
    )
    append_hot(
        workspace.warehouse,
        [
            did("cmp", 1, "u-ann", "received", variant_id="v-1"),
            did("cmp", 2, "u-ann", "received", variant_id="v-2"),
            did("cmp", 3, "u-ann", "opened", machine_open=True),
            did("cmp", 4, "u-ann", "opened", machine_open=False),
            did("cmp", 5, "u-ann", "clicked"),
            did("cmp", 6, "u-ann", "converted", channel=None, conversion_index=0),
            did("cmp", 7, "u-bob", "control", channel=None, variant_id="v-c"),
            did("cmp", 8, "u-bob", "opened", machine_open=True),
            did("cmp", 9, "u-bob", "opened", channel="push"),
            did("cmp", 10, "u-bob", "clicked", channel="in_app_message"),
            did("cmp", 11, "u-bob", "replied", channel="sms"),
            did("cmp", 12, "u-bob", "converted", channel=None, conversion_index=1),
            did("cmp", 13, "u-gone", "received", variant_id="v-1"),
            did("cnv", 14, "u-ann", "received"),
        ],
    )

    assert export(workspace.warehouse, "cmp") == [
        {
            "user_id": "u-ann", "external_id": "e-1", "email": "ann@example.com", "phone": "'+33 1 23",
            "first_name": "Ann", "last_name": "O'Hara", "country": "FR", "language": "fr", "time_zone": "Europe/Paris",
            "variation_name": "Blue", "in_control": "false",
            "first_received_at": "2026-01-01T00:01:00Z", "last_received_at": "2026-01-01T00:02:00Z",
            "received_count": "2", "opened_email": "true", "machine_opened_email": "true", "opened_push": "false",
            "clicked_email": "true", "clicked_in_app_message": "false", "replied": "false", "converted": "true",
            "last_interaction_at": "2026-01-01T00:06:00Z",
        },
        {
            "user_id": "u-bob", "external_id": "", "email": "", "phone": "", "first_name": "", "last_name": "",
            "country": "", "language": "", "time_zone": "", "variation_name": "Control", "in_control": "true",
            "first_received_at": "", "last_received_at": "", "received_count": "0", "opened_email": "false",
            "machine_opened_email": "true", "opened_push": "true", "clicked_email": "false",
            "clicked_in_app_message": "true", "replied": "true", "converted": "false",
            "last_interaction_at": "2026-01-01T00:12:00Z",
        },
    ]  # fmt: skip


def test_a_canvases_file_says_also_when_users_entered_and_how_far_they_came(workspace: Workspace) -> None:
    workspace.replace("users", [ANN])
    workspace.replace("canvas_steps", [{"step_id": "s-2", "source_id": "cnv", "name": "Second"}])
    append_hot(
        workspace.warehouse,
        [
            did("cnv", 1, "u-ann", "entered", channel=None, variant_id="v-unknown"),
            did("cnv", 2, "u-ann", "received", canvas_step_id="s-1"),
            did("cnv", 3, "u-ann", "entered", channel=None),
            # Of two at the same moment, the ids decide: the same file each time.
            did("cnv", 4, "u-ann", "received", canvas_step_id="s-1"),
            did("cnv", 4, "u-ann", "received", canvas_step_id="s-2"),
        ],
    )

    assert export(workspace.warehouse, "cnv") == [
        {
            "user_id": "u-ann", "external_id": "e-1", "email": "ann@example.com", "phone": "'+33 1 23",
            "first_name": "Ann", "last_name": "O'Hara", "country": "FR", "language": "fr", "time_zone": "Europe/Paris",
            "variation_name": "v-unknown", "in_control": "false",
            "first_received_at": "2026-01-01T00:02:00Z", "last_received_at": "2026-01-01T00:04:00Z",
            "received_count": "3", "opened_email": "false", "machine_opened_email": "false", "opened_push": "false",
            "clicked_email": "false", "clicked_in_app_message": "false", "replied": "false", "converted": "false",
            "last_interaction_at": "2026-01-01T00:04:00Z",
            "last_entered_at": "2026-01-01T00:03:00Z", "entered_count": "2", "last_step_name": "Second",
        }
    ]  # fmt: skip


def test_all_recipients_are_also_those_whose_profile_is_gone(workspace: Workspace) -> None:
    workspace.replace("users", [ANN])
    append_hot(workspace.warehouse, [did("cmp", 1, user, "received") for user in ("u-gone", "u-ann")])

    assert [row["user_id"] for row in export(workspace.warehouse, "cmp")] == ["u-ann"]
    ann, gone = export(workspace.warehouse, "cmp", all_recipients=True)
    assert (ann["user_id"], ann["email"]) == ("u-ann", "ann@example.com")
    profile = (
        "user_id",
        "external_id",
        "email",
        "phone",
        "first_name",
        "last_name",
        "country",
        "language",
        "time_zone",
    )
    assert [gone[column] for column in profile] == ["u-gone", *[""] * 8]


def test_a_source_without_interactions_gives_a_file_of_a_header(workspace: Workspace) -> None:
    assert export(workspace.warehouse, "cmp") == []


def test_every_text_survives_and_none_is_a_formula(workspace: Workspace) -> None:
    texts = ("external_user_id", "email", "phone", "first_name", "last_name", "country", "language", "time_zone")
    workspace.replace("users", [{"user_id": text, **dict.fromkeys(texts, text), **NOBODY} for text in HOSTILE])
    variant = {"source_id": "cnv", "is_control": False}
    workspace.replace("source_variants", [{"variant_id": text, "name": text, **variant} for text in HOSTILE])
    workspace.replace("canvas_steps", [{"step_id": text, "source_id": "cnv", "name": text} for text in HOSTILE])
    append_hot(
        workspace.warehouse,
        [did("cnv", n, text, "received", variant_id=text, canvas_step_id=text) for n, text in enumerate(HOSTILE)],
    )

    rows = export(workspace.warehouse, "cnv")

    cells = [f"'{text}" if text[0] in "-=+@" else text for text in sorted(HOSTILE, key=str.encode)]
    columns = ("user_id", "external_id", *texts[1:], "variation_name", "last_step_name")
    for column in columns:
        assert [row[column] for row in rows] == cells


def test_lines_end_as_rfc_4180_has_it(workspace: Workspace) -> None:
    append_hot(workspace.warehouse, [did("cmp", 1, "u", "received")])
    written = write_user_data(workspace.warehouse, request("cmp", True), "run-1", NOW)
    assert Path(written.file_uri).read_bytes().count(b"\r\n") == Path(written.file_uri).read_bytes().count(b"\n") == 2


def test_only_the_files_of_its_source_are_read(workspace: Workspace) -> None:
    append_hot(workspace.warehouse, [did(source, 1, "u", "received") for source in ("cmp", "cnv")])
    (other,) = workspace.warehouse.live_files(workspace.warehouse.table("interactions"), ["cnv"])
    Path(other.uri.removeprefix("file://")).unlink()

    assert len(export(workspace.warehouse, "cmp", all_recipients=True)) == 1


def test_r14_r17_an_expired_source_is_refused_and_after_its_restore_the_file_is_the_same(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    workspace.replace("users", [{"user_id": f"user-{number}", **NOBODY} for number in range(5)])
    append_hot(warehouse, [did("cmp", number, f"user-{number % 7}", "received") for number in range(60)])
    before = Path(write_user_data(warehouse, request("cmp", True), "before", NOW).file_uri)
    expire_sources(warehouse, Run("r1", NOW))

    for refused in (
        lambda: check_request(warehouse, {"source_id": "cmp", "notify": ["ann@example.com"]}),
        lambda: write_user_data(warehouse, request("cmp"), "while", NOW),
    ):
        with pytest.raises(TerminalIncompleteError) as error:
            refused()
        assert "60 expired interactions of campaign 'cmp' (since 2026-06-01)" in str(error.value)
        assert "perennial restore cmp --notify" in str(error.value)
    assert files_below(warehouse.settings.home / "exports") == [before]

    restore_sources(warehouse, {"source_ids": ["cmp"], "notify": ["ann@example.com"]}, Run("r2", NOW))
    after = Path(write_user_data(warehouse, request("cmp", True), "after", NOW).file_uri)
    assert after.read_bytes() == before.read_bytes()
    assert len(read(after)) == 7


@pytest.mark.parametrize("status", ["stopped", "active"])
def test_r18_a_deleted_source_is_refused_even_when_it_is_active_again(workspace: Workspace, status: str) -> None:
    workspace.source("gone", status, interaction_data_deleted_at=datetime(2023, 5, 1, tzinfo=UTC))
    workspace.sync()
    append_hot(workspace.warehouse, [did("gone", 1, "u", "received")])

    with pytest.raises(TerminalIncompleteError, match="deleted under the previous policy: campaign 'gone'") as error:
        check_request(workspace.warehouse, {"source_id": "gone", "notify": ["ann@example.com"]})

    assert "airflow" not in str(error.value)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"source_id": "<nobody>"}, "'<nobody>' is not a known source"),
        ({"source_id": ""}, "source_id is ''"),
        ({"source_id": None}, "source_id is None"),
        ({"source_id": ["cmp"]}, "source_id is ['cmp']"),
        ({"notify": []}, "notify is []"),
        ({"notify": "ann@example.com"}, "notify is 'ann@example.com'"),
        (
            {"notify": ["ann@example.com", "bob", 3]},
            "notify is ['ann@example.com', 'bob', 3]; give a list of e-mail addresses.",
        ),
        ({"all_recipients": "yes"}, "all_recipients is 'yes'"),
        ({"source_ids": ["cmp"]}, "'source_ids' is not a param; did you mean 'source_id'?"),
    ],
)
def test_a_request_that_cannot_be_done_is_refused_before_anything_is_written(
    workspace: Workspace, params: dict[str, Any], said: str
) -> None:
    with pytest.raises(TerminalRequestError) as error:
        check_request(workspace.warehouse, {"source_id": "cmp", "notify": ["ann@example.com"], **params})
    assert said in str(error.value)
    assert not (workspace.warehouse.settings.home / "exports").exists()


def test_a_param_that_is_null_means_its_default() -> None:
    asked = {"source_id": "cmp", "notify": ["ann@example.com"]}
    assert UserDataRequest.from_params({**asked, "all_recipients": None}) == UserDataRequest.from_params(asked)


def test_a_run_writes_one_name_whatever_the_id_and_replaces_what_it_wrote(workspace: Workspace) -> None:
    ids = ["../../etc/passwd", "🦄/" * 50, "a b", "a/b", "%2F\n'\";--"]
    for source_id in ids:
        workspace.source(source_id)
    workspace.sync()
    warehouse, folder = workspace.warehouse, workspace.warehouse.settings.home / "exports"

    for run_id in ("run-1", "run-1", "run-2"):
        for source_id in ids:
            write_user_data(warehouse, request(source_id), run_id, NOW)

    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 2 * len(ids)
    for name in names:
        assert name.startswith("user-data-")
        assert "-20260601T040000Z-" in name
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
        assert len(name) < 120


def test_a_run_writes_where_the_setting_says(tmp_path: Path, warehouse: Warehouse) -> None:
    from perennial.settings import Settings

    environ = {
        "PERENNIAL_HOME": str(warehouse.settings.home),
        "PERENNIAL_EXPORTS_URI": f"file://{tmp_path}/else/where/",
    }
    elsewhere = Warehouse(Settings.from_environment(environ))
    workspace = Workspace(elsewhere)
    workspace.source("cmp")
    workspace.sync()

    written = write_user_data(elsewhere, request("cmp"), "run-1", NOW)

    assert files_below(tmp_path / "else") == [Path(written.file_uri)]


# --- killed ------------------------------------------------------------------------------------------------------


def export_killed_while_copying(warehouse: Warehouse) -> None:
    def kill() -> None:
        # The header comes first, and alone.
        copied = warehouse.settings.home.glob
        while not any(path.stat().st_size > 1_000 for path in copied("exporting/*/user-data.csv")):
            time.sleep(0.0002)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    write_user_data(warehouse, request("cmp", True), "run-1", NOW)


def export_once(warehouse: Warehouse) -> None:
    write_user_data(warehouse, request("cmp", True), "run-1", NOW)


@pytest.mark.long(but="^(while-copying)$")
@pytest.mark.parametrize(
    ("work", "point"),
    [
        (export_killed_while_copying, Point("before", "perennial.exports.user_data:storage_for")),
        (export_once, Point("before", "perennial.exports.user_data:storage_for")),
        (export_once, Point("before", "perennial.storage.local:_flush")),
        (export_once, Point("after", "perennial.storage.local:_flush", 2)),
    ],
    ids=["while-copying", "before-the-upload", "in-the-upload", "after-the-upload"],
)
def test_a_killed_export_leaves_all_or_nothing_at_the_address_and_its_next_try_writes_it_whole(
    workspace: Workspace, work: Any, point: Point
) -> None:
    warehouse = workspace.warehouse
    users = [f"u-{number:05}{'x' * 1_000}" for number in range(20_000)]
    append_hot(warehouse, [did("cmp", 1, user, "received") for user in users])

    run_and_kill(warehouse.settings, point, work)

    exports, scratch = warehouse.settings.home / "exports", warehouse.settings.home / "exporting"
    left = [path for path in files_below(exports) if path.suffix == ".csv"]
    assert [len(read(path)) for path in left] == ([20_000] if point.when == "after" else [])
    assert files_below(scratch)

    rows = export(warehouse, "cmp", all_recipients=True)

    assert [row["user_id"] for row in rows] == users
    assert len([path for path in files_below(exports) if path.suffix == ".csv"]) == 1
    assert files_below(scratch) == []
