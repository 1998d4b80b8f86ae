"""What S3 has and a disk has not: storage classes, checksums that vanish, keys, regions, cold objects, refusals."""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from perennial.errors import TerminalDataError, TerminalSettingError, TransientError
from perennial.storage import ColdState, Temperature, s3
from perennial.storage.s3 import S3Storage, s3_storage
from perennial.storage.s3_errors import s3_errors
from perennial_sample.ports import free_port
from tests.aws import Aws
from tests.faults import faulty
from tests.lake import ARCHIVE, Lake

CONTENT = bytes(range(256)) * 50_000
SMALL = CONTENT[:10_000]
MEBIBYTE = 2**20
Connect = Callable[..., S3Storage]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """Return the storage of a server, as a process has it that is configured for it."""

    def connected(server: Aws | Lake | str, **changed: str) -> S3Storage:
        connection = json.loads(server if isinstance(server, str) else server.connection)
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({**connection, **changed}))
        s3_storage.cache_clear()
        return s3_storage()

    yield connected
    s3_storage.cache_clear()


@pytest.fixture
def storage(aws: Aws, connect: Connect) -> S3Storage:
    return connect(aws)


def head(aws: Aws, uri: str) -> dict[str, Any]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    found: dict[str, Any] = aws.client().head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    return found


def put(aws: Aws, uri: str, content: bytes = CONTENT, **extra: Any) -> None:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    aws.client().put_object(Bucket=bucket, Key=key, Body=content, **extra)


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}"


# --- storage classes --------------------------------------------------------------------------------------------------


def test_copies_and_uploads_get_the_class_that_is_asked_for_and_nothing_else_does(
    aws: Aws, storage: S3Storage, tmp_path: Path
) -> None:
    place = f"s3://{aws.bucket()}"
    (tmp_path / "local").write_bytes(CONTENT)
    storage.write(f"{place}/written", CONTENT)
    storage.upload(tmp_path / "local", f"{place}/uploaded")
    storage.upload(tmp_path / "local", f"{place}/uploaded-cold", "GLACIER")
    storage.copy(f"{place}/written", f"{place}/copied")
    storage.copy(f"{place}/written", f"{place}/copied-cold", "DEEP_ARCHIVE")
    storage.copy(str(tmp_path / "local"), f"{place}/from-disk-cold", "GLACIER_IR")

    found = {stored.uri.removeprefix(f"{place}/"): stored.storage_class for stored in storage.list_files(place)}
    assert found == {
        "written": "STANDARD",
        "uploaded": "STANDARD",
        "uploaded-cold": "GLACIER",
        "copied": "STANDARD",
        "copied-cold": "DEEP_ARCHIVE",
        "from-disk-cold": "GLACIER_IR",
    }
    for name, storage_class in found.items():
        looked_at = storage.stat(f"{place}/{name}")
        assert looked_at is not None
        assert looked_at.storage_class == storage_class


def test_a_thawed_file_comes_back_in_the_standard_class(aws: Aws, storage: S3Storage) -> None:
    place = f"s3://{aws.bucket()}"
    put(aws, f"{place}/cold", StorageClass="GLACIER")
    storage.thaw(f"{place}/cold", "Standard")

    copy = storage.copy(f"{place}/cold", f"{place}/hot")

    assert copy.original_checksum == copy.copied_checksum == md5(CONTENT)
    assert storage.read(f"{place}/hot") == CONTENT
    assert "StorageClass" not in head(aws, f"{place}/hot")


# --- checksums --------------------------------------------------------------------------------------------------------


def test_a_checksum_that_came_with_the_object_is_taken_without_reading_it(aws: Aws, storage: S3Storage) -> None:
    place = f"s3://{aws.bucket()}"
    # What is cold cannot be read.
    put(aws, f"{place}/noted", ChecksumAlgorithm="SHA256", StorageClass="GLACIER")
    put(aws, f"{place}/plain", StorageClass="GLACIER")

    assert storage.checksum(f"{place}/noted") == sha256(CONTENT)
    assert storage.checksum(f"{place}/plain") == md5(CONTENT)
    assert storage.checksum(f"{place}/noted", "md5") == md5(CONTENT)
    with pytest.raises(TransientError, match="cold storage class"):
        storage.checksum(f"{place}/plain", "sha256")


def test_the_etag_of_an_object_of_several_parts_is_no_md5_so_the_object_is_read(aws: Aws, storage: S3Storage) -> None:
    uri = f"s3://{aws.bucket()}/parts"
    in_parts(aws, uri)

    assert "-" in head(aws, uri)["ETag"]
    assert storage.checksum(uri) == sha256(CONTENT)
    copy = storage.copy(uri, f"{uri}-copy", "GLACIER")
    assert copy.original_checksum == copy.copied_checksum == sha256(CONTENT)


def test_the_etag_of_an_encrypted_object_is_not_trusted(aws: Aws, storage: S3Storage) -> None:
    uri = f"s3://{aws.bucket()}/encrypted"
    put(aws, uri, ServerSideEncryption="aws:kms")
    # moto's is an MD5 all the same.
    assert f'"{md5(CONTENT).removeprefix("md5:")}"' == head(aws, uri)["ETag"]

    assert storage.checksum(uri) == sha256(CONTENT)


def test_a_copy_whose_etag_is_no_md5_any_more_is_compared_by_another_checksum_and_made_once(
    aws: Aws, storage: S3Storage
) -> None:
    origin, bucket = f"s3://{aws.bucket()}/plain", aws.bucket()
    put(aws, origin)
    encrypt(aws, bucket, "aws:kms")

    copy = storage.copy(origin, f"s3://{bucket}/copy", "GLACIER")

    assert copy.original_checksum == copy.copied_checksum == sha256(CONTENT)
    versions = aws.client().list_object_versions(Bucket=bucket)["Versions"]
    assert len(versions) == 1


def test_a_checksum_that_was_noted_is_kept_to_although_the_copy_lost_it(aws: Aws, storage: S3Storage) -> None:
    origin, bucket = f"s3://{aws.bucket()}/plain", aws.bucket()
    put(aws, origin)
    encrypt(aws, bucket, "aws:kms")

    copy = storage.copy(origin, f"s3://{bucket}/copy", algorithm="md5")

    assert copy.original_checksum == copy.copied_checksum == md5(CONTENT)


def test_a_noted_checksum_that_nobody_can_compute_any_more_is_refused_with_a_way_out(
    aws: Aws, storage: S3Storage
) -> None:
    uri = f"s3://{aws.bucket()}/plain"
    put(aws, uri)

    with pytest.raises(TerminalDataError, match="ChecksumAlgorithm=CRC64NVME"):
        storage.copy(uri, f"{uri}-copy", algorithm="crc64nvme")


def test_a_damaged_copy_is_recognized_by_its_checksum(aws: Aws, storage: S3Storage) -> None:
    uri = f"s3://{aws.bucket()}/plain"
    put(aws, uri)
    before = storage.checksum(uri)
    put(aws, uri, CONTENT[:-1] + b"!")

    assert storage.checksum(uri) != before


def test_where_the_environment_says_so_no_checksum_goes_with_the_content(
    aws: Aws, connect: Connect, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    storage, uri = connect(aws), f"s3://{aws.bucket()}/plain"
    storage.upload(finished, uri)

    assert not [name for name in head(aws, uri) if name.startswith("ChecksumSHA")]
    assert storage.checksum(uri) == md5(finished.read_bytes())


# --- copies in parts --------------------------------------------------------------------------------------------------


def test_a_large_object_is_copied_in_parts_whole_with_its_class(aws: Aws, connect: Connect) -> None:
    storage = S3Storage(connect(aws).client, multipart_bytes=6 * MEBIBYTE, part_bytes=5 * MEBIBYTE)
    place = f"s3://{aws.bucket()}"
    put(aws, f"{place}/large")

    copy = storage.copy(f"{place}/large", f"{place}/copy", "STANDARD_IA")

    assert copy.original_bytes == copy.copied_bytes == len(CONTENT)
    assert copy.original_checksum == copy.copied_checksum
    assert storage.read(f"{place}/copy") == CONTENT
    assert head(aws, f"{place}/copy")["StorageClass"] == "STANDARD_IA"
    assert head(aws, f"{place}/copy")["ETag"].endswith('-3"')


def test_a_large_object_without_a_checksum_that_survives_is_not_put_where_it_could_not_be_compared(
    aws: Aws, connect: Connect
) -> None:
    storage = S3Storage(connect(aws).client, multipart_bytes=6 * MEBIBYTE, part_bytes=5 * MEBIBYTE)
    place = f"s3://{aws.bucket()}"
    put(aws, f"{place}/large")

    with pytest.raises(TerminalDataError, match="CRC64NVME"):
        storage.copy(f"{place}/large", f"{place}/copy", "DEEP_ARCHIVE")

    copy = storage.copy(f"{place}/large", f"{place}/copy")
    assert copy.original_checksum == copy.copied_checksum == md5(CONTENT)
    assert [stored.uri for stored in storage.list_files(place)] == [f"{place}/copy", f"{place}/large"]


# --- encryption and regions -------------------------------------------------------------------------------------------


def test_the_key_of_an_encrypted_object_is_kept(aws: Aws, storage: S3Storage) -> None:
    place = f"s3://{aws.bucket()}"
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    put(aws, f"{place}/encrypted", ServerSideEncryption="aws:kms", SSEKMSKeyId=key, BucketKeyEnabled=True)

    for bucket in (place, f"s3://{aws.bucket()}"):
        copy = storage.copy(f"{place}/encrypted", f"{bucket}/copy", "GLACIER")
        found = head(aws, f"{bucket}/copy")
        assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", key)
        assert found["BucketKeyEnabled"] is True
        assert found["StorageClass"] == "GLACIER"
        assert copy.original_checksum == copy.copied_checksum == sha256(CONTENT)


def test_in_another_region_the_settings_of_the_bucket_hold_for_a_key_belongs_to_its_region(
    aws: Aws, storage: S3Storage
) -> None:
    origin, bucket = f"s3://{aws.bucket()}/encrypted", aws.bucket("eu-west-1")
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    put(aws, origin, ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    encrypt(aws, bucket, "AES256")

    copy = storage.copy(origin, f"s3://{bucket}/copy", "GLACIER")

    assert head(aws, f"s3://{bucket}/copy")["ServerSideEncryption"] == "AES256"
    assert copy.original_checksum == copy.copied_checksum == sha256(CONTENT)


# --- cold objects -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_a_cold_object_is_frozen_then_thawing_then_readable(aws: Aws, storage: S3Storage, storage_class: str) -> None:
    uri = f"s3://{aws.bucket()}/cold"
    put(aws, uri, StorageClass=storage_class)
    aws.hold_thaws(uri)

    assert storage.look_cold(uri) == ColdState(Temperature.FROZEN, storage_class)
    with pytest.raises(TransientError, match="task `thaw`"):
        storage.read(uri)
    with pytest.raises(TransientError, match="task `thaw`"):
        storage.copy(uri, f"{uri}-copy")
    assert aws.asked_to_thaw(uri) == set()

    assert storage.thaw(uri, "Bulk") == ColdState(Temperature.THAWING, storage_class, "Bulk")
    assert storage.look_cold(uri) == ColdState(Temperature.THAWING, storage_class)
    assert storage.thaw(uri, "Bulk") == ColdState(Temperature.THAWING, storage_class, "Bulk")

    aws.finish_thaw(uri)
    assert storage.look_cold(uri) == storage.thaw(uri, "Bulk") == ColdState(Temperature.READABLE, storage_class)
    assert storage.read(uri) == CONTENT


@pytest.mark.parametrize(
    "storage_class", ["STANDARD", "STANDARD_IA", "ONEZONE_IA", "GLACIER_IR", "INTELLIGENT_TIERING"]
)
def test_of_other_classes_nothing_has_to_be_thawed(aws: Aws, storage: S3Storage, storage_class: str) -> None:
    uri = f"s3://{aws.bucket()}/file"
    put(aws, uri, StorageClass=storage_class)

    assert storage.thaw(uri, "Standard") == ColdState(Temperature.READABLE)
    assert storage.read(uri) == CONTENT
    assert aws.asked_to_thaw(uri) == set()


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_where_a_cold_class_is_only_a_name_nothing_has_to_be_thawed(
    lake: Lake, connect: Connect, storage_class: str
) -> None:
    """SeaweedFS knows no RestoreObject, and neither does Ceph."""
    storage, uri = connect(lake), f"s3://{ARCHIVE}/{uuid.uuid4().hex}/cold"
    storage.write(f"{uri}-origin", SMALL)
    storage.copy(f"{uri}-origin", uri, storage_class)

    found = storage.stat(uri)
    assert found is not None
    assert found.storage_class == storage_class
    assert storage.look_cold(uri) == storage.thaw(uri, "Standard") == ColdState(Temperature.READABLE)


def test_of_a_bucket_that_freezes_one_object_is_tried(aws: Aws, storage: S3Storage) -> None:
    sent: list[str] = []
    storage.client.meta.events.register("before-send.s3.GetObject", lambda **_: sent.append("GetObject"))
    for bucket in (aws.bucket(), aws.bucket()):
        for name in ("one", "two"):
            put(aws, f"s3://{bucket}/{name}", SMALL, StorageClass="GLACIER")
            assert storage.look_cold(f"s3://{bucket}/{name}").temperature is Temperature.FROZEN
    assert len(sent) == 2


def thawed(storage_class: str, hours: int) -> dict[str, str]:
    """What S3 says of a copy that can be read for so many hours from now."""
    until = format_datetime(datetime.now(UTC) + timedelta(hours=hours), usegmt=True)
    return {"x-amz-storage-class": storage_class, "x-amz-restore": f'ongoing-request="false", expiry-date="{until}"'}


@pytest.mark.parametrize(("storage_class", "tier"), [("GLACIER", "Bulk"), ("DEEP_ARCHIVE", "Expedited")])
def test_a_thawed_object_that_is_about_to_be_cold_again_is_prolonged_whatever_tier_was_chosen(
    connect: Connect, storage_class: str, tier: str
) -> None:
    with scripted(thawed(storage_class, hours=2)) as (server, asked):
        assert connect(server).thaw("s3://cold/key", tier) == ColdState(Temperature.READABLE, storage_class)
    (request,) = asked
    assert b"<Tier>Standard</Tier>" in request


def test_a_thawed_object_that_can_be_read_for_long_is_left_alone(connect: Connect) -> None:
    with scripted(thawed("GLACIER", hours=40)) as (server, asked):
        assert connect(server).thaw("s3://cold/key", "Bulk") == ColdState(Temperature.READABLE, "GLACIER")
    assert not asked


@pytest.mark.parametrize(("tier", "asked_in"), [("Bulk", b"Bulk"), ("Expedited", b"Standard")])
def test_a_thawed_object_whose_date_has_passed_is_frozen(connect: Connect, tier: str, asked_in: bytes) -> None:
    with scripted(thawed("DEEP_ARCHIVE", hours=-2)) as (server, asked):
        assert connect(server).look_cold("s3://cold/key") == ColdState(Temperature.FROZEN, "DEEP_ARCHIVE")
        assert connect(server).thaw("s3://cold/key", tier).temperature is Temperature.THAWING
    (request,) = asked
    assert b"<Tier>" + asked_in + b"</Tier>" in request


@pytest.mark.parametrize(
    ("tier", "frozen_as"), [("ARCHIVE_ACCESS", "GLACIER"), ("DEEP_ARCHIVE_ACCESS", "DEEP_ARCHIVE")]
)
def test_the_archive_tiers_of_intelligent_tiering_are_thawed_for_good(
    connect: Connect, tier: str, frozen_as: str
) -> None:
    headers = {"x-amz-storage-class": "INTELLIGENT_TIERING", "x-amz-archive-status": tier}
    with scripted(headers) as (server, asked):
        assert connect(server).look_cold("s3://cold/key") == ColdState(Temperature.FROZEN, frozen_as)
        assert connect(server).thaw("s3://cold/key", "Bulk") == ColdState(Temperature.THAWING, frozen_as, "Bulk")
    (request,) = asked
    assert b"<Tier>Bulk</Tier>" in request
    assert b"Days" not in request


def test_asking_for_what_somebody_else_has_asked_for_a_moment_before_is_no_error(connect: Connect) -> None:
    with scripted({"x-amz-storage-class": "GLACIER"}, (409, "RestoreAlreadyInProgress")) as (server, asked):
        state = connect(server).thaw("s3://cold/key", "Standard")
    assert state == ColdState(Temperature.THAWING, "GLACIER")
    assert b"<Days>3</Days>" in asked[0]


@pytest.mark.long
@pytest.mark.parametrize(
    ("storage_class", "tier", "answer", "known_tier"),
    [
        ("GLACIER", "Expedited", (202, ""), "Expedited"),
        ("DEEP_ARCHIVE", "Expedited", (202, ""), "Standard"),
        # S3 does not tell in which tier it is under way.
        ("GLACIER", "Standard", (409, "RestoreAlreadyInProgress"), ""),
        ("GLACIER", "Expedited", (400, "GlacierExpeditedRetrievalNotAvailable"), ""),
    ],
)
def test_what_is_thawing_already_is_asked_for_in_a_faster_tier_and_goes_on_if_it_is_refused(
    connect: Connect, storage_class: str, tier: str, answer: tuple[int, str], known_tier: str
) -> None:
    headers = {"x-amz-storage-class": storage_class, "x-amz-restore": 'ongoing-request="true"'}
    with scripted(headers, answer) as (server, asked):
        assert connect(server).thaw("s3://cold/key", tier).tier == ""
        assert not asked
        state = connect(server).thaw("s3://cold/key", tier, faster=True)
    assert state == ColdState(Temperature.THAWING, storage_class, known_tier)
    assert b"<Days>3</Days>" in asked[0]
    assert f"<Tier>{known_tier or tier}</Tier>".encode() in asked[0]


def test_without_capacity_for_expedited_another_tier_is_named(connect: Connect) -> None:
    with (
        scripted({"x-amz-storage-class": "GLACIER"}, (400, "GlacierExpeditedRetrievalNotAvailable")) as (server, _),
        pytest.raises(TransientError, match="thaw_tier Standard"),
    ):
        connect(server).thaw("s3://cold/key", "Expedited")


# --- what goes wrong --------------------------------------------------------------------------------------------------


def everything(storage: S3Storage, place: str, path: Path) -> dict[str, Callable[[], object]]:
    uri = f"{place}/some/key"
    return {
        "list": lambda: list(storage.list_files(place)),
        "stat": lambda: storage.stat(uri),
        "read": lambda: storage.read(uri),
        "open": lambda: storage.open(uri),
        "write": lambda: storage.write(uri, b"x"),
        "upload": lambda: storage.upload(path, uri),
        "delete": lambda: storage.delete(uri),
        "checksum": lambda: storage.checksum(uri),
        "copy": lambda: storage.copy(str(path), uri),
        "thaw": lambda: storage.thaw(uri, "Standard"),
    }


@pytest.mark.parametrize("server", ["seaweedfs", "moto"])
def test_a_bucket_that_is_missing_is_named_whatever_is_tried(
    server: str, connect: Connect, request: pytest.FixtureRequest, finished: Path
) -> None:
    storage = connect(request.getfixturevalue("lake" if server == "seaweedfs" else "aws"))
    bucket = f"missing{uuid.uuid4().hex}"
    for name, step in everything(storage, f"s3://{bucket}", finished).items():
        text = refusal(TerminalSettingError, name, step)
        assert f"{bucket!r}" in text
        assert "Create it" in text


def test_a_copy_names_the_bucket_that_is_missing_of_the_two(aws: Aws, storage: S3Storage) -> None:
    origin, missing = f"s3://{aws.bucket()}/here", f"missing{uuid.uuid4().hex}"
    put(aws, origin)

    for one, other in ((origin, f"s3://{missing}/copy"), (f"s3://{missing}/origin", f"{origin}-copy")):
        with pytest.raises(TerminalSettingError, match=f"no bucket '{missing}'"):
            storage.copy(one, other)


@pytest.mark.parametrize("wrong", [{"login": "nobody"}, {"password": "wrong"}], ids=["key", "secret"])
def test_wrong_credentials_are_said_to_be_so_whatever_is_tried(
    lake: Lake, connect: Connect, finished: Path, wrong: dict[str, str]
) -> None:
    for name, step in everything(connect(lake, **wrong), f"s3://{ARCHIVE}/wrong", finished).items():
        text = refusal(TerminalSettingError, name, step)
        for said in (ARCHIVE, "'aws_default'", "docs/iam.md"):
            assert said in text


def test_what_is_denied_is_said_to_be_so_and_nothing_is_gone(aws: Aws, connect: Connect) -> None:
    bucket = aws.bucket()
    put(aws, f"s3://{bucket}/kept")
    with scripted({}, (403, "AccessDenied")) as (server, _):
        denied = connect(server)
        with pytest.raises(
            TerminalSettingError, match=f"Cannot delete s3://{bucket}/kept.*rights on bucket '{bucket}'"
        ):
            denied.delete(f"s3://{bucket}/kept")
    assert connect(aws).read(f"s3://{bucket}/kept") == CONTENT


def test_an_unknown_storage_class_names_the_setting(aws: Aws, storage: S3Storage) -> None:
    uri = f"s3://{aws.bucket()}/here"
    put(aws, uri)

    with pytest.raises(TerminalSettingError, match="PERENNIAL_ARCHIVE_STORAGE_CLASS"):
        storage.copy(uri, f"{uri}-copy", "FREEZER")


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        # Ceph's of an unknown storage class, and of what a service does not have.
        *((code, "PERENNIAL_ARCHIVE_STORAGE_CLASS") for code in ("InvalidArgument", "InvalidRequest", "405")),
        # Ceph's of a checksum behind the content.
        ("MissingContentLength", "AWS_REQUEST_CHECKSUM_CALCULATION=when_required"),
        *((code, "run it again") for code in ("OperationAborted", "RequestTimeout", "SlowDown", "500")),
    ],
)
def test_only_what_may_succeed_later_is_tried_again(code: str, remedy: str) -> None:
    kind = TransientError if remedy == "run it again" else TerminalSettingError
    with pytest.raises(kind, match=remedy), s3_errors("s3://cold/key", "write"):
        raise ClientError({"Error": {"Code": code}}, "PutObject")


def test_a_server_that_is_down_can_be_tried_again(
    connect: Connect, aws: Aws, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"region_name": "us-east-1", "endpoint_url": f"http://127.0.0.1:{free_port()}"}
    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    storage = connect(json.dumps({**json.loads(aws.connection), "extra": extra}))
    for name, step in everything(storage, "s3://bucket-of-a-dead-server", finished).items():
        text = refusal(TransientError, name, step)
        for said in ("'bucket-of-a-dead-server'", "endpoint_url"):
            assert said in text


def test_without_any_credentials_it_is_said_where_they_belong(
    aws: Aws, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    connection = json.loads(aws.connection)
    storage = connect(json.dumps({"conn_type": "aws", "extra": connection["extra"]}))

    with pytest.raises(TerminalSettingError, match="Give the Airflow connection 'aws_default' a key"):
        storage.read("s3://some-bucket/some-key")


def test_a_bucket_name_that_cannot_be_names_the_setting(storage: S3Storage) -> None:
    with pytest.raises(TerminalSettingError, match="names bucket 'no such, surely'"):
        storage.write("s3://no such, surely/key", b"x")


@pytest.mark.long
def test_on_bad_days_every_step_is_repeated_until_it_succeeds(aws: Aws, connect: Connect, finished: Path) -> None:
    bucket = aws.bucket()
    with faulty(aws.url) as faults:
        storage = connect(Aws(faults.url))
        faults.share = 0.2
        for turn in range(6):
            uri = f"s3://{bucket}/{turn}"
            storage.write(uri, SMALL)
            assert storage.read(uri) == SMALL
            with storage.open(uri) as file:
                assert file.read() == SMALL
            assert storage.checksum(uri, "sha256") == sha256(SMALL)
            storage.upload(finished, f"{uri}-uploaded")
            copy = storage.copy(f"{uri}-uploaded", f"{uri}-copy", "GLACIER")
            assert copy.original_checksum == copy.copied_checksum
            # Ceph keeps no SHA-256.
            assert copy.copied_checksum in (sha256(finished.read_bytes()), md5(finished.read_bytes()))
            storage.delete(uri)
            assert storage.stat(uri) is None
        assert {stored.uri for stored in storage.list_files(f"s3://{bucket}")} == {
            f"s3://{bucket}/{turn}-{kind}" for turn in range(6) for kind in ("uploaded", "copy")
        }
    assert all(faults.done[kind] for kind in ("internal", "slow-down", "reset", "cut"))


def refusal(kind: type[Exception], name: str, step: Callable[[], object]) -> str:
    with pytest.raises(kind) as error:
        print(name, step())
    return str(error.value)


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    path = tmp_path / "finished.csv"
    path.write_bytes(b"a,b\r\n" * 10_000)
    return path


def in_parts(aws: Aws, uri: str) -> None:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    client, where = aws.client(), {"Bucket": bucket, "Key": key}
    upload = client.create_multipart_upload(**where)["UploadId"]
    parts = []
    for number, start in enumerate(range(0, len(CONTENT), 5 * MEBIBYTE), 1):
        part = CONTENT[start : start + 5 * MEBIBYTE]
        etag = client.upload_part(**where, UploadId=upload, PartNumber=number, Body=part)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})


def encrypt(aws: Aws, bucket: str, algorithm: str) -> None:
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": algorithm}}
    aws.client().put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})


class scripted:  # noqa: N801 - reads as a function
    """An S3 that answers each HEAD with these headers, and anything else with one answer."""

    def __init__(self, headers: dict[str, str], answer: tuple[int, str] = (202, "")) -> None:
        asked: list[bytes] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Nobody reads along."""

            def do_HEAD(self) -> None:
                self._answer(200, headers | {"Last-Modified": "Mon, 01 Jun 2026 04:00:00 GMT", "ETag": '"0-1"'})

            def do_POST(self) -> None:
                asked.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
                status, code = answer
                self._answer(status, {}, f"<Error><Code>{code}</Code><Message>so</Message></Error>" if code else "")

            do_DELETE = do_POST  # noqa: N815

            def _answer(self, status: int, headers: dict[str, str], body: str = "") -> None:
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body.encode())

        self._asked = asked
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    def __enter__(self) -> tuple[str, list[bytes]]:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return Aws(f"http://127.0.0.1:{self._server.server_port}").connection, self._asked

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
