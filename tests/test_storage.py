"""What every storage keeps to; one suite over all of them."""

from __future__ import annotations

import errno
import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from perennial.errors import TerminalSettingError
from perennial.storage import Storage, Temperature, algorithm_of, list_together, storage_for
from perennial.storage.s3 import s3_storage
from tests.aws import Aws
from tests.lake import ARCHIVE, Lake

STORAGES = ("path", "file-address", "seaweedfs", "moto")
HOSTILE = (
    "two words", "it's", 'say "so"', "100%", "a%20b", "a#b", "a?b=c", "a+b", "été", "📦", "ملف", "a&b;c", "a=b", "~",
    "[x]", "{y}", "$z", "a:b", "..x",
)  # fmt: skip
# SeaweedFS takes the first for a slash, moto finds no route for the other.
HOSTILE_ON_DISKS = ("back\\slash", "tab\tand\nline")
CONTENT = b"a,b\r\n" * 1_000


@pytest.fixture(params=STORAGES)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address of each storage, below which nothing is yet."""
    if request.param in ("path", "file-address"):
        yield {"path": f"{tmp_path}/stored", "file-address": f"file://{tmp_path}/stored"}[request.param]
        return
    server: Lake | Aws = request.getfixturevalue("lake" if request.param == "seaweedfs" else "aws")
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", server.connection)
    s3_storage.cache_clear()
    bucket = ARCHIVE if isinstance(server, Lake) else server.bucket()
    yield f"s3://{bucket}/{uuid.uuid4().hex}"
    s3_storage.cache_clear()


@pytest.fixture
def storage(place: str) -> Storage:
    return storage_for(place)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    path = tmp_path / "finished.csv"
    path.write_bytes(b"a,b\r\n" * 100_000)
    return path


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def listed(place: str) -> list[str]:
    return sorted(stored.uri for stored in storage_for(place).list_files(place))


def test_an_uploaded_file_is_there_whole_also_when_the_local_one_is_gone(place: str, finished: Path) -> None:
    uri = f"{place}/deep/down.csv"
    storage_for(uri).upload(finished, uri)
    finished.unlink()

    assert storage_for(uri).read(uri) == b"a,b\r\n" * 100_000
    assert listed(place) == [uri]


def test_an_upload_replaces_what_is_at_the_address(place: str, finished: Path) -> None:
    uri = f"{place}/same.csv"
    storage_for(uri).write(uri, b"earlier")
    with storage_for(uri).open(uri) as earlier:
        storage_for(uri).upload(finished, uri)
        assert earlier.read() == b"earlier"

    assert storage_for(uri).read(uri) == finished.read_bytes()
    assert listed(place) == [uri]


def test_uploading_the_same_file_again_leaves_one(place: str, finished: Path) -> None:
    uri = f"{place}/same.csv"
    for _ in range(2):
        storage_for(uri).upload(finished, uri)

    assert listed(place) == [uri]


def test_an_absent_file_is_not_uploaded_and_leaves_what_was_there(place: str, tmp_path: Path) -> None:
    uri = f"{place}/same.csv"
    storage_for(uri).write(uri, b"earlier")
    with pytest.raises(FileNotFoundError):
        storage_for(uri).upload(tmp_path / "absent.csv", uri)

    assert storage_for(uri).read(uri) == b"earlier"
    assert listed(place) == [uri]


@pytest.mark.long(but="path|file|seaweed")
def test_an_address_is_literal_whatever_characters_it_holds(place: str, storage: Storage) -> None:
    names = HOSTILE if place.startswith("s3:") else HOSTILE + HOSTILE_ON_DISKS
    uris = {name: f"{place}/{name}/{name}.bin" for name in names}
    for name, uri in uris.items():
        storage.write(uri, name.encode())
    for name, uri in uris.items():
        (found,) = storage.list_files(f"{place}/{name}")
        assert found.uri == uri
        assert storage.stat(uri) == found

        copy = storage.copy(uri, f"{place}/copies/{name}", listed=found)

        assert storage.read(uri) == storage.read(f"{place}/copies/{name}") == name.encode()
        assert copy.original_checksum == copy.copied_checksum
        assert copy.copied_checksum == storage.checksum(uri, algorithm_of(copy.copied_checksum))
        storage.delete(uri)
    assert listed(place) == sorted(f"{place}/copies/{name}" for name in names)


def test_a_directory_does_not_list_its_siblings(place: str, storage: Storage) -> None:
    names = ["a/b/1", "a/b/c/2", "a/bc", "a/bc/3", "a/b.json"]
    for name in names:
        if name != "a/bc":
            storage.write(f"{place}/{name}", b"x")

    assert listed(f"{place}/a/b") == listed(f"{place}/a/b/") == [f"{place}/a/b/1", f"{place}/a/b/c/2"]
    assert listed(f"{place}/a") == sorted(f"{place}/{name}" for name in names if name != "a/bc")
    assert listed(f"{place}/absent") == []


def test_what_is_absent_is_said_to_be_so(place: str, storage: Storage) -> None:
    uri = f"{place}/absent"

    assert storage.stat(uri) is None
    for ask in (storage.read, storage.open, storage.checksum):
        with pytest.raises(FileNotFoundError):
            ask(uri)
    with pytest.raises(FileNotFoundError):
        storage.copy(uri, f"{place}/copy")
    storage.delete(uri)
    assert listed(place) == []


def test_an_empty_file_is_a_file(place: str, storage: Storage) -> None:
    uri = f"{place}/empty"
    storage.write(uri, b"")
    copy = storage.copy(uri, f"{place}/copy")

    assert storage.read(uri) == storage.read(f"{place}/copy") == b""
    assert (copy.original_bytes, copy.copied_bytes) == (0, 0)
    assert copy.original_checksum == copy.copied_checksum


def test_a_checksum_is_that_of_the_content(place: str, storage: Storage) -> None:
    uri = f"{place}/file"
    storage.write(uri, CONTENT)

    assert storage.checksum(uri, "sha256") == sha256(CONTENT)
    assert storage.checksum(uri, "md5") == f"md5:{hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}"


def test_a_file_goes_from_a_disk_to_any_storage_and_back(place: str, storage: Storage, tmp_path: Path) -> None:
    origin, uri, back = tmp_path / "here", f"{place}/there", str(tmp_path / "back")
    origin.write_bytes(CONTENT)

    out = storage.copy(str(origin), uri)
    home = storage_for(back).copy(uri, back)

    assert storage.read(uri) == Path(back).read_bytes() == CONTENT
    for copy in (out, home):
        assert (copy.original_bytes, copy.copied_bytes) == (len(CONTENT), len(CONTENT))
        assert copy.original_checksum == copy.copied_checksum == sha256(CONTENT)


def test_a_copy_replaces_what_is_at_the_address(place: str, storage: Storage) -> None:
    storage.write(f"{place}/one", CONTENT)
    storage.write(f"{place}/two", b"earlier")
    storage.copy(f"{place}/one", f"{place}/two")

    assert storage.read(f"{place}/two") == CONTENT
    storage.make_durable([f"{place}/two"])


@pytest.mark.parametrize("place", ["seaweedfs"], indirect=True)
def test_more_files_than_a_page_holds_are_all_listed(place: str, storage: Storage) -> None:
    uris = sorted(f"{place}/{number:04d}" for number in range(1_050))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda uri: storage.write(uri, b"x"), uris))

    assert listed(place) == uris


def test_what_lies_in_no_cold_class_can_be_read_at_once(place: str, storage: Storage) -> None:
    uri = f"{place}/file"
    storage.write(uri, CONTENT)

    for state in (storage.look_cold(uri), storage.thaw(uri, "Standard")):
        assert (state.temperature, state.frozen_as) == (Temperature.READABLE, "")
    assert storage.read(uri) == CONTENT


def test_without_the_extra_an_address_on_s3_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("perennial.storage.version", version)
    with pytest.raises(TerminalSettingError, match=r"not installed; run pip install 'perennial-airflow\[s3\]'"):
        storage_for("s3://bucket/key")


# --- disks ------------------------------------------------------------------------------------------------------------


def test_copies_on_one_disk_share_their_bytes_and_are_flushed_once_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    for name in ("fsync", "fdatasync"):
        really = getattr(os, name)

        def noted(descriptor: int, name: str = name, really: Callable[[int], None] = really) -> None:
            flushed.append(f"{name} {Path(f'/proc/self/fd/{descriptor}').readlink()}")
            really(descriptor)

        monkeypatch.setattr(os, name, noted)
    storage, copies = storage_for(str(tmp_path)), [f"{tmp_path}/to/{number}" for number in range(3)]
    (tmp_path / "from").mkdir()
    for number, copy in enumerate(copies):
        (tmp_path / f"from/{number}").write_bytes(CONTENT)
        os.utime(tmp_path / f"from/{number}", (0, 0))
        storage.copy(f"{tmp_path}/from/{number}", copy)
        # Other engines remove as orphans what no table lists and looks old.
        assert time.time() - Path(copy).stat().st_mtime < 86_400
        assert Path(copy).samefile(tmp_path / f"from/{number}")
    # The originals may be another program's, which has not flushed them.
    assert flushed == [f"fdatasync {copy}" for copy in copies]

    storage.make_durable(copies)
    assert flushed[len(copies) :] == [f"fsync {tmp_path}/to"]


def test_a_copy_that_is_made_again_counts_as_new(tmp_path: Path) -> None:
    """Maintenance deletes what is old and in no table: the copy of a dead move, which the next move makes again."""
    storage, copy = storage_for(str(tmp_path)), f"{tmp_path}/copy"
    (tmp_path / "file").write_bytes(CONTENT)
    storage.copy(f"{tmp_path}/file", copy)
    first = storage.stat(copy)
    time.sleep(0.05)
    storage.copy(f"{tmp_path}/file", copy)
    again = storage.stat(copy)

    assert first is not None
    assert again is not None
    assert again.modified_at > first.modified_at
    assert listed(str(tmp_path)) == [copy, f"{tmp_path}/file"]


def test_where_no_link_can_be_made_the_bytes_are_copied_and_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", link)
    storage = storage_for(str(tmp_path))
    (tmp_path / "file").write_bytes(CONTENT)
    copy = storage.copy(f"{tmp_path}/file", f"{tmp_path}/deep/copy")
    (tmp_path / "file").write_bytes(b"later")

    assert storage.read(f"{tmp_path}/deep/copy") == CONTENT
    assert copy.original_checksum == copy.copied_checksum == sha256(CONTENT)


# --- listings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["seaweedfs", "moto"], indirect=True)
def test_files_are_listed_together_only_where_that_takes_fewer_requests(place: str, storage: Storage) -> None:
    uris = [f"{place}/data/{name}" for name in ("a/1", "a/2", "b/1")]
    for uri in (*uris, f"{place}/data/other"):
        storage.write(uri, CONTENT)

    assert list_together(uris, 4).keys() == set(uris)
    assert list_together([*uris, f"{place}/data/absent"], 4).keys() == set(uris)
    assert list_together(uris, storage.listed_at_once * len(uris)) == {}
    assert list_together(uris, None) == list_together([], 0) == {}
    assert list_together([uris[0], "s3://another-bucket/data/a"], 4) == {}
