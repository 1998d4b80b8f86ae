"""What can break under a move: archived files damaged or gone, disks full or closed. Found before anything is removed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from perennial.errors import TerminalDataError, TerminalSettingError, TransientError
from perennial.moves import Run, expire_sources, restore_sources
from perennial.moves.copy import _unwritable
from perennial.moves.move_plan import CopyStep
from perennial.settings import Settings
from perennial.storage import storage_for
from perennial.warehouse import Warehouse
from tests.moves.places import everywhere, on_s3
from tests.rows import append_hot, hot_and_archive, interaction, multiset, visible
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
REQUEST = {"source_ids": ["a", "b"], "notify": ["ann@example.com"]}


def fill(warehouse: Warehouse) -> Workspace:
    workspace = Workspace(warehouse)
    workspace.source("a")
    workspace.source("b")
    append_hot(warehouse, [interaction(source, number) for source in ("a", "b") for number in range(30)])
    workspace.sync()
    return workspace


def archived_file(warehouse: Warehouse, source_id: str) -> str:
    (live,) = warehouse.live_files(warehouse.table("interactions_archive"), [source_id])
    return live.uri


def remove(uri: str) -> None:
    storage_for(uri).delete(uri)


def flip_a_bit(uri: str) -> None:
    content = bytearray(storage_for(uri).read(uri))
    content[len(content) // 2] ^= 1
    storage_for(uri).write(uri, bytes(content))


def cut_short(uri: str) -> None:
    storage_for(uri).write(uri, storage_for(uri).read(uri)[:-10])


@pytest.mark.long(but="^one bit flipped-local$")
@everywhere
@pytest.mark.parametrize(
    ("damage", "said"),
    [(remove, "is missing"), (flip_a_bit, "is corrupted"), (cut_short, "bytes, the table says")],
    ids=["missing", "one bit flipped", "cut short"],
)
def test_a_damaged_archive_file_is_named_its_source_stays_and_the_others_come_back(
    warehouse: Warehouse, damage: object, said: str
) -> None:
    fill(warehouse)
    before = multiset(warehouse, "interactions")
    expire_sources(warehouse, Run("r1", NOW))
    victim = archived_file(warehouse, "a")
    assert callable(damage)
    damage(victim)

    report = restore_sources(warehouse, REQUEST, Run("r2", NOW + timedelta(days=1)))

    outcomes = {source.source_id: (source.outcome, source.detail) for source in report.sources}
    assert report.state == "finished in part"
    assert outcomes["b"] == ("restored", "")
    assert outcomes["a"][0] == "failed"
    assert victim in outcomes["a"][1]
    assert said in outcomes["a"][1]
    assert visible(warehouse) == multiset(warehouse, "interactions") == {r: n for r, n in before.items() if "b#" in r}
    assert warehouse.source_totals("interactions_archive").keys() == {"a"}


@pytest.mark.long
@on_s3
def test_a_restore_of_nothing_but_damaged_files_fails_and_names_them_all(warehouse: Warehouse) -> None:
    fill(warehouse)
    expire_sources(warehouse, Run("r1", NOW))
    victims = [archived_file(warehouse, source) for source in ("a", "b")]
    for victim in victims:
        flip_a_bit(victim)

    with pytest.raises(TerminalDataError) as error:
        restore_sources(warehouse, REQUEST, Run("r2", NOW + timedelta(days=1)))

    for victim in victims:
        assert victim in str(error.value)
    assert multiset(warehouse, "interactions") == {}
    assert warehouse.source_totals("interactions_archive").keys() == {"a", "b"}


@pytest.mark.long
@on_s3
def test_a_repaired_file_can_be_restored_after_all(warehouse: Warehouse) -> None:
    fill(warehouse)
    before = multiset(warehouse, "interactions")
    expire_sources(warehouse, Run("r1", NOW))
    victim = archived_file(warehouse, "a")
    whole = storage_for(victim).read(victim)
    cut_short(victim)
    restore_sources(warehouse, REQUEST, Run("r2", NOW + timedelta(days=1)))

    storage_for(victim).write(victim, whole)
    restore_sources(warehouse, REQUEST, Run("r3", NOW + timedelta(days=1)))

    assert visible(warehouse) == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, where this process may mount one; elsewhere a quota of the same size on file sizes."""
    mount = tmp_path / "small"
    mount.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", mount], capture_output=True)
    yield mount if mounted.returncode == 0 else tmp_path / "unmounted"
    if mounted.returncode == 0:
        subprocess.run(["umount", mount], check=True)


FILL_AND_EXPIRE = """
import resource, signal, sys
from datetime import UTC, datetime
from perennial.moves import Run, expire_sources
from perennial.settings import Settings
from perennial.warehouse import Warehouse
home, archive, quota = sys.argv[1:]
warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": home, "PERENNIAL_ARCHIVE_URI": archive}))
if quota == "quota":
    # A hard link needs no room: make the copy a real one, into a process that may write no large file.
    import os, errno
    def refuse(*_): raise OSError(errno.EXDEV, "cross-device link")
    os.link = refuse
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    expire_sources(warehouse, Run("r1", datetime(2026, 6, 1, 4, tzinfo=UTC)))
except Exception as error:
    print(type(error).__name__, error)
    sys.exit(3)
"""


@pytest.mark.long
def test_a_full_disk_stops_the_expiry_before_anything_is_removed(settings: object, small_disk: Path) -> None:
    from perennial.settings import Settings

    assert isinstance(settings, Settings)
    archive = small_disk if small_disk.is_mount() else settings.home / "archive"
    warehouse = Warehouse(replace(settings, archive_uri=str(archive)))
    warehouse.create_tables()
    workspace = fill(warehouse)
    append_hot(warehouse, [interaction("a", n, link_alias=os.urandom(200).hex()) for n in range(1000, 2000)])
    workspace.sync()
    before = multiset(warehouse, "interactions")
    quota = "disk" if small_disk.is_mount() else "quota"

    ended = subprocess.run(
        [sys.executable, "-c", FILL_AND_EXPIRE, settings.home, archive, quota],
        capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip

    assert ended.returncode == 3, ended.stderr
    assert "Cannot write" in ended.stdout
    assert "nothing was removed" in ended.stdout
    assert multiset(warehouse, "interactions") == before
    assert multiset(warehouse, "interactions_archive") == {}

    # With room again the same run goes through.
    roomy = Warehouse(replace(settings, archive_uri=str(settings.home / "roomy")))
    roomy.create_tables()
    expire_sources(roomy, Run("r2", NOW))
    assert multiset(roomy, "interactions") == {}
    assert hot_and_archive(roomy) == before


@pytest.mark.parametrize(
    ("number", "kind", "remedy"),
    [
        (28, TransientError, "Make room"),
        (13, TerminalSettingError, "PERENNIAL_ARCHIVE_URI"),
        (30, TerminalSettingError, "PERENNIAL_ARCHIVE_URI"),
        (2, TerminalDataError, "vanished"),
        (5, TransientError, "Run again"),
    ],
    ids=["no space", "permission denied", "read-only", "vanished", "input/output error"],
)
def test_what_the_system_refuses_is_said_with_its_remedy(number: int, kind: type[Exception], remedy: str) -> None:
    step = CopyStep("a", "file:///archive/copy", ("file:///hot/original",), (), False, 0, 1, 1)
    error = _unwritable(step, OSError(number, os.strerror(number)))
    assert isinstance(error, kind)
    assert remedy in str(error)


def test_an_archive_that_cannot_be_written_stops_the_expiry_before_anything_is_removed(settings: Settings) -> None:
    warehouse = Warehouse(settings)
    warehouse.create_tables()
    fill(warehouse)
    before = multiset(warehouse, "interactions")
    # A file where the directory should be: refused even to root.
    (warehouse.settings.home / "archive").write_text("in the way")

    with pytest.raises((TransientError, TerminalSettingError), match="nothing was removed"):
        expire_sources(warehouse, Run("r1", NOW))

    assert multiset(warehouse, "interactions") == before
    assert multiset(warehouse, "interactions_archive") == {}
