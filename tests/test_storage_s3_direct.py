"""Copies of listed objects in one request: what proves them, and what makes them go the careful way."""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import boto3.session
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.session import get_session
from botocore.signers import RequestSigner

from perennial.storage import StoredFile, list_together
from perennial.storage.s3 import S3Storage, s3_storage
from perennial.storage.s3_direct import _Route, _signed
from tests import faults as bad
from tests.aws import Aws
from tests.faults import KINDS, Faults, faulty
from tests.lake import ARCHIVE, Lake

# A header that only requests of the direct way have.
DIRECT = "x-amz-copy-source-if-match"
CONTENT = b"a,b\r\n" * 2_000


@dataclass
class Place:
    """A storage, a directory in it, and which requests boto3 has sent."""

    storage: S3Storage
    uri: str
    sent: Counter[str]

    def put(self, name: str, content: bytes = CONTENT) -> str:
        self.storage.write(f"{self.uri}/from/{name}", content)
        return f"{self.uri}/from/{name}"

    def listed(self) -> dict[str, StoredFile]:
        return {stored.uri: stored for stored in self.storage.list_files(f"{self.uri}/from")}

    def copy(self, listed: StoredFile, storage_class: str | None = None, algorithm: str = "") -> Any:
        return self.storage.copy(listed.uri, copy_of(listed.uri), storage_class, algorithm, listed)


def copy_of(uri: str) -> str:
    return uri.replace("/from/", "/to/")


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}"


def place_in(storage: S3Storage, bucket: str) -> Place:
    sent: Counter[str] = Counter()
    storage.client.meta.events.register("before-send.s3", lambda event_name, **_: sent.update([event_name]))
    return Place(storage, f"s3://{bucket}/{uuid.uuid4().hex}", sent)


@pytest.fixture(params=["seaweedfs", "moto"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    server: Lake | Aws = request.getfixturevalue("lake" if request.param == "seaweedfs" else "aws")
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", server.connection)
    s3_storage.cache_clear()
    yield place_in(s3_storage(), ARCHIVE if isinstance(server, Lake) else server.bucket())
    s3_storage.cache_clear()


@pytest.fixture
def bad_days(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Place, Faults]]:
    """The same behind a proxy that answers badly when it is told to, with one copy made: the direct way is known."""
    with faulty(aws.url) as faults:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", Aws(faults.url).connection)
        s3_storage.cache_clear()
        place = place_in(s3_storage(), aws.bucket())
        open_way(place)
        yield place, faults
        s3_storage.cache_clear()


def open_way(place: Place, algorithm: str = "") -> None:
    """Copy one object, which shows that answers of this service are a proof."""
    uri = place.put("first")
    place.copy(place.listed()[uri], algorithm=algorithm)
    place.storage.delete(f"{place.uri}/from/first")
    place.sent.clear()


def test_listed_objects_are_copied_in_one_request_each_and_boto3_makes_none_of_them(place: Place) -> None:
    open_way(place)
    uris = [place.put(f"{number} ü%+.bin", CONTENT + str(number).encode()) for number in range(20)]
    place.sent.clear()
    listed = list_together(uris, len(uris))
    with ThreadPoolExecutor(8) as pool:
        copies = list(pool.map(lambda uri: place.copy(listed[uri]), uris))

    assert place.sent == Counter({"before-send.s3.ListObjectsV2": 1})
    for number, copy in enumerate(copies):
        content = CONTENT + str(number).encode()
        assert place.storage.read(copy_of(uris[number])) == content
        assert copy.original_bytes == copy.copied_bytes == len(content)
        assert copy.original_checksum == copy.copied_checksum
        assert copy.copied_checksum == place.storage.checksum(
            copy_of(uris[number]), copy.copied_checksum.partition(":")[0]
        )


def test_an_object_that_was_replaced_after_its_listing_is_not_taken_for_the_listed_one(place: Place) -> None:
    """SeaweedFS refuses the condition, moto ignores it: its answer is about other content than what was listed."""
    open_way(place)
    uri = place.put("replaced")
    listed = place.listed()
    replaced = CONTENT[:-1] + b"!"
    place.put("replaced", replaced)
    place.sent.clear()
    copy = place.copy(listed[uri])

    assert place.sent["before-send.s3.HeadObject"] == place.sent["before-send.s3.CopyObject"] == 1
    assert place.storage.read(copy_of(uri)) == replaced
    assert copy.original_checksum == copy.copied_checksum != md5(CONTENT)


def test_an_object_that_vanished_after_its_listing_is_said_to_be_absent(place: Place) -> None:
    open_way(place)
    uri = place.put("gone")
    listed = place.listed()
    place.storage.delete(uri)

    with pytest.raises(FileNotFoundError):
        place.copy(listed[uri])
    assert place.storage.stat(copy_of(uri)) is None


@pytest.mark.parametrize("place", ["moto"], indirect=True)
def test_the_class_and_the_checksum_are_those_that_were_asked_for(place: Place, aws: Aws) -> None:
    open_way(place, "md5")
    uri = place.put("cold")
    copy = place.copy(place.listed()[uri], "GLACIER", "md5")

    assert copy.copied_checksum == md5(CONTENT)
    assert aws.objects(copy_of(uri))[copy_of(uri)].storage_class == "GLACIER"
    assert place.sent["before-send.s3.CopyObject"] == 0


@pytest.mark.parametrize("place", ["moto"], indirect=True)
def test_what_is_encrypted_with_a_key_takes_the_careful_way_and_keeps_its_key(place: Place, aws: Aws) -> None:
    open_way(place)
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    bucket, _, name = place.put("encrypted").removeprefix("s3://").partition("/")
    sse = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    aws.client().put_object(Bucket=bucket, Key=name, Body=CONTENT, **sse)
    (listed,) = place.listed().values()
    # AWS's ETag of such an object is no MD5; moto's is.
    copy = place.copy(replace(listed, etag=uuid.uuid4().hex))

    found = aws.client().head_object(Bucket=bucket, Key=copy_of(name))
    assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", key)
    assert copy.original_checksum == copy.copied_checksum == f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.mark.parametrize("place", ["moto"], indirect=True)
@pytest.mark.parametrize("etag", ["0123456789abcdef0123456789abcdef", "d41d8cd98f00b204e9800998ecf8427e-3", ""])
def test_an_etag_that_is_not_the_md5_of_the_content_proves_nothing(place: Place, etag: str) -> None:
    open_way(place)
    uri = place.put("object")
    copy = place.copy(StoredFile(uri, len(CONTENT), datetime.now(UTC), "STANDARD", etag))

    assert copy.original_checksum == copy.copied_checksum == place.storage.checksum(uri)
    assert place.sent["before-send.s3.HeadObject"]


@pytest.mark.long(but="^(denied|internal)$")
@pytest.mark.parametrize("kind", [*KINDS, "stall", "denied", "expired", "elsewhere", "not-implemented"])
def test_whatever_goes_wrong_on_the_direct_way_goes_through_boto3_and_succeeds(
    bad_days: tuple[Place, Faults], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, faults = bad_days
    monkeypatch.setattr(bad, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(place.storage.client.meta.config, "read_timeout", 0.1)
    uris = [place.put(str(number), CONTENT + str(number).encode()) for number in range(4)]
    listed = place.listed()
    faults.share, faults.kinds, faults.header = 1.0, (kind,), DIRECT
    for number, uri in enumerate(uris):
        copy = place.copy(listed[uri])
        assert copy.original_checksum == copy.copied_checksum
        assert place.storage.read(copy_of(uri)) == CONTENT + str(number).encode()

    # What the service will never accept is asked once.
    assert faults.done[kind] == (1 if kind in ("expired", "elsewhere", "not-implemented") else len(uris))


@pytest.mark.long
def test_on_bad_days_both_ways_fail_and_every_object_is_copied(bad_days: tuple[Place, Faults]) -> None:
    place, faults = bad_days
    uris = [place.put(str(number), CONTENT + str(number).encode()) for number in range(30)]
    listed = place.listed()
    faults.share = 0.3
    with ThreadPoolExecutor(4) as pool:
        copies = list(pool.map(lambda uri: place.copy(listed[uri]), uris))
    faults.share = 0.0
    careful = place.sent["before-send.s3.HeadObject"]

    assert all(copy.original_checksum == copy.copied_checksum for copy in copies)
    assert all(place.storage.read(copy_of(uri)) == CONTENT + uri.rpartition("/")[2].encode() for uri in uris)
    assert sum(faults.done[kind] for kind in KINDS) > 5
    # Some went the direct way all the same.
    assert careful < len(uris)


def test_a_connection_that_has_rested_for_long_is_not_used_again(
    bad_days: tuple[Place, Faults], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, _ = bad_days
    uris = [place.put(str(number)) for number in range(3)]
    listed = place.listed()
    place.copy(listed[uris[0]])
    (route,) = (route for route in place.storage._direct._routes.values() if route is not None)
    ((first, _),) = route.rested
    place.copy(listed[uris[1]])
    assert [connection for connection, _ in route.rested] == [first]
    monkeypatch.setattr("perennial.storage.s3_direct.REST_SECONDS", 0.0)
    place.copy(listed[uris[2]])
    assert first.sock is None
    assert [connection for connection, _ in route.rested] != [first]


def test_behind_a_proxy_every_object_takes_the_careful_way(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", place.storage.client.meta.endpoint_url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    for number in range(2):
        uri = place.put(str(number))
        place.copy(place.listed()[uri])
    assert place.sent["before-send.s3.HeadObject"] == 2


def test_keys_that_are_renewed_are_used_at_once(aws: Aws) -> None:
    """A role's keys expire while a move is under way."""
    keys = iter(f"key-{number}" for number in range(100))

    def fetched(seconds: int) -> dict[str, str]:
        until = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        return {"access_key": next(keys), "secret_key": "secret", "token": "a token", "expiry_time": until}

    with faulty(aws.url) as faults:
        session = get_session()
        credentials = RefreshableCredentials.create_from_metadata(fetched(10_000), lambda: fetched(10_000), "test")
        session._credentials = credentials
        client = boto3.session.Session(botocore_session=session).client("s3", "us-east-1", endpoint_url=faults.url)
        place = place_in(S3Storage(client), aws.bucket())
        open_way(place)
        uris = [place.put("one"), place.put("two")]
        listed = place.listed()
        for uri in uris:
            place.copy(listed[uri])
            credentials._expiry_time = datetime.now(UTC) + timedelta(seconds=5)
        assert not place.sent["before-send.s3.CopyObject"]
    assert faults.signed_by[-1] != faults.signed_by[-2]


@pytest.mark.parametrize("token", [None, "a/session+token=="])
@pytest.mark.parametrize("name", ["plain/key.parquet", "two words", "a%20b", "a+b&c=d", "été/📦", "a//b/../c", "~"])
def test_a_request_is_signed_as_boto3_signs_it(name: str, token: str | None, aws: Aws) -> None:
    """The same request, signed by botocore's own S3 signer, gets the same signature."""
    client = aws.client()
    credentials = Credentials("key", "secret", token)
    signer = RequestSigner(
        client.meta.service_model.service_id, "eu-west-1", "s3", "s3v4", credentials, client.meta.events
    )
    route = _Route(signer, "eu-west-1", True, "bucket.example.com:9000", "/")
    path = f"/{quote(name, safe='/~')}"
    headers = {"x-amz-copy-source": f"from/{quote(name, safe='/~')}", DIRECT: '"0"'}
    ours = _signed(route, path, headers)

    request = AWSRequest("PUT", f"https://bucket.example.com:9000{path}", headers=dict(ours))
    del request.headers["authorization"]
    request.context["timestamp"] = ours["x-amz-date"]
    theirs = S3SigV4Auth(credentials.get_frozen_credentials(), "s3", "eu-west-1")
    text = theirs.string_to_sign(request, theirs.canonical_request(request))
    assert f"Signature={theirs.signature(text, request)}" in ours["authorization"]
    assert f"SignedHeaders={theirs.signed_headers(theirs.headers_to_sign(request))}, " in ours["authorization"]
