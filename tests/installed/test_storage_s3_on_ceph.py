"""What S3 has and a disk has not, on Ceph's S3 gateway.

It has no keys and no regions here, keeps no checksum but the ETag, and of cold classes only their names.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from perennial.errors import TerminalSettingError
from perennial.storage.s3 import S3Storage
from tests.aws import Aws
from tests.installed.ceph import Ceph
from tests.lake import ARCHIVE
from tests.test_storage_s3 import (
    CONTENT,
    Connect,
    connect,
    finished,
    storage,
    test_a_bucket_that_is_missing_is_named_whatever_is_tried,
    test_a_copy_names_the_bucket_that_is_missing_of_the_two,
    test_a_damaged_copy_is_told_by_its_checksum,
    test_a_large_object_is_copied_in_parts_whole_with_its_class,
    test_a_large_object_without_a_checksum_that_survives_is_not_put_where_it_could_not_be_compared,
    test_a_noted_checksum_that_nobody_can_compute_any_more_is_refused_with_a_way_out,
    test_an_unknown_storage_class_names_the_setting,
    test_copies_and_uploads_get_the_class_that_is_asked_for_and_nothing_else_does,
    test_on_bad_days_every_step_is_repeated_until_it_succeeds,
    test_the_etag_of_an_object_of_several_parts_is_no_md5_so_the_object_is_read,
    test_what_is_denied_is_said_to_be_so_and_nothing_is_gone,
    test_where_a_cold_class_is_only_a_name_nothing_has_to_be_thawed,
    test_wrong_credentials_are_said_to_be_so_whatever_is_tried,
)


@pytest.fixture
def aws(ceph: Aws) -> Aws:
    return ceph


@pytest.fixture
def lake(ceph: Aws) -> Aws:
    ceph.client().create_bucket(Bucket=ARCHIVE)
    return ceph


@pytest.mark.parametrize("text", [b"", CONTENT], ids=["nothing", "something"])
def test_over_tls_checksums_must_not_follow_the_content(
    ceph: Ceph,
    connect: Connect,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: bytes,
) -> None:
    uri = f"s3://{ceph.bucket()}/file"
    (tmp_path / "file").write_bytes(text)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(ceph.certificate))
    storage = connect(ceph.tls)
    for write in (lambda: storage.write(uri, text), lambda: storage.upload(tmp_path / "file", uri)):
        with pytest.raises(TerminalSettingError, match="AWS_REQUEST_CHECKSUM_CALCULATION=when_required"):
            write()
    assert storage.stat(uri) is None

    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    storage = connect(ceph.tls)
    storage.write(uri, text)
    storage.upload(tmp_path / "file", f"{uri}-uploaded")
    copies = [storage.copy(str(tmp_path / "file"), f"{uri}-copied"), storage.copy(uri, f"{uri}-again")]
    assert all(copy.original_checksum == copy.copied_checksum for copy in copies)
    assert {storage.read(f"{uri}{name}") for name in ("", "-uploaded", "-copied", "-again")} == {text}


def test_what_its_buckets_are_set_to_do_by_themselves_is_found(ceph: Aws, storage: S3Storage) -> None:
    bucket, client = ceph.bucket(), ceph.client()
    uri = f"s3://{bucket}/data"
    assert (storage.keeps_deleted(uri), storage.lifecycle_rules(uri)) == ("", [])

    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    rule = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "data/"}, "Expiration": {"Days": 3}}
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})

    assert "keeps versions" in storage.keeps_deleted(uri)
    assert [found["ID"] for found in storage.lifecycle_rules(uri)] == ["old"]
