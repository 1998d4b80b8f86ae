"""What every storage keeps to; one suite over all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from perennial.storage import storage_for


@pytest.fixture(params=["path", "file-address"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An address of each storage, below which nothing is yet."""
    return {"path": f"{tmp_path}/stored", "file-address": f"file://{tmp_path}/stored"}[request.param]


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    path = tmp_path / "finished.csv"
    path.write_bytes(b"a,b\r\n" * 100_000)
    return path


def test_an_uploaded_file_is_there_whole_also_when_the_local_one_is_gone(place: str, finished: Path) -> None:
    uri = f"{place}/deep/down.csv"
    storage_for(uri).upload(finished, uri)
    finished.unlink()

    assert storage_for(uri).read(uri) == b"a,b\r\n" * 100_000
    assert [stored.uri for stored in storage_for(uri).list_files(place)] == [uri]


def test_an_upload_replaces_what_is_at_the_address(place: str, finished: Path) -> None:
    uri = f"{place}/same.csv"
    storage_for(uri).write(uri, b"earlier")
    with storage_for(uri).open(uri) as earlier:
        storage_for(uri).upload(finished, uri)
        assert earlier.read() == b"earlier"

    assert storage_for(uri).read(uri) == finished.read_bytes()
    assert [stored.uri for stored in storage_for(uri).list_files(place)] == [uri]


def test_uploading_the_same_file_again_leaves_one(place: str, finished: Path) -> None:
    uri = f"{place}/same.csv"
    for _ in range(2):
        storage_for(uri).upload(finished, uri)

    assert [stored.uri for stored in storage_for(uri).list_files(place)] == [uri]


def test_an_absent_file_is_not_uploaded_and_leaves_what_was_there(place: str, tmp_path: Path) -> None:
    uri = f"{place}/same.csv"
    storage_for(uri).write(uri, b"earlier")
    with pytest.raises(FileNotFoundError):
        storage_for(uri).upload(tmp_path / "absent.csv", uri)

    assert storage_for(uri).read(uri) == b"earlier"
    assert [stored.uri for stored in storage_for(uri).list_files(place)] == [uri]
