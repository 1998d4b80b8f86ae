"""S3 and compatible services, through the Airflow connection `aws_default`: the service copies the bytes.

Checksums come from the service: an additional checksum over the whole object, or an ETag if it is known to be an MD5.
An object that has neither is read.
"""

from __future__ import annotations

import io
import logging
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cache, cached_property
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import boto3.session
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import ClientError

from perennial.errors import TerminalDataError, TerminalError, TerminalSettingError, TransientError
from perennial.reports import BULK, THAW_TIMES
from perennial.reports import STANDARD as STANDARD_TIER
from perennial.storage import (
    S3_SCHEMES,
    ColdState,
    CopiedFile,
    StoredFile,
    Temperature,
    algorithm_of,
    storage_for,
)
from perennial.storage.s3_buckets import keeps_deleted, lifecycle_rules
from perennial.storage.s3_checksums import COMPUTABLE, MD5, Digest, known_checksums, proved_by
from perennial.storage.s3_cold import COLD_CLASSES, runs_out
from perennial.storage.s3_direct import DirectCopies
from perennial.storage.s3_errors import CONNECTION, error_code, s3_errors
from perennial.storage.s3_freezing import ColdObjects

if TYPE_CHECKING:
    from botocore.client import BaseClient

log = logging.getLogger(__name__)

# One CopyObject copies at most 5 GB; parts are large, because the cost of a copy is its requests.
MULTIPART_BYTES, PART_BYTES = 5 * 10**9, 512 * 2**20
STANDARD = "STANDARD"
# Attempts of each request; a body that is cut off is requested again in addition.
ATTEMPTS = 10
# How long a thawed object can be read; the restore that requested it copies it at once.
THAWED_DAYS = 3
# Under which file systems find them; pyiceberg may give the session the keys of a catalog.
ROLE_CREDENTIALS = "perennial.role-credentials"


def connection_properties() -> dict[str, Any]:
    """Return the properties of `aws_default` for pyiceberg's catalogs and file systems; empty if it has none.

    A role's keys expire while a catalog is open, so for a role this is the session, which renews them.
    """
    session, endpoint_url = _session()
    found: dict[str, Any] = {"s3.endpoint": endpoint_url, "client.region": session.region_name}
    credentials = session.get_credentials()
    if isinstance(credentials, RefreshableCredentials):
        found["botocore_session"], found[ROLE_CREDENTIALS] = session._session, credentials
    elif credentials is not None:
        frozen = credentials.get_frozen_credentials()
        found["client.access-key-id"] = frozen.access_key
        found["client.secret-access-key"] = frozen.secret_key
        found["client.session-token"] = frozen.token
    return {key: value for key, value in found.items() if value}


def _session() -> tuple[boto3.session.Session, str | None]:
    # The import takes a second; without a connection of this name it falls back on boto3's own search.
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

    hook: Any = AwsBaseHook(aws_conn_id=CONNECTION, client_type="s3")
    return hook.get_session(), hook.conn_config.get_service_endpoint_url("s3")


@cache
def s3_storage() -> S3Storage:
    """Return this process's storage; clients may be used by several threads."""
    session, endpoint_url = _session()
    # Retries back off longer each time; the adaptive mode would queue the requests of all threads.
    config = Config(retries={"mode": "standard", "max_attempts": ATTEMPTS}, max_pool_connections=64)
    return S3Storage(session.client("s3", endpoint_url=endpoint_url, config=config))


# Connections belong to the parent process: Airflow forks a process for each task.
os.register_at_fork(after_in_child=s3_storage.cache_clear)


class S3Storage:
    """Objects in buckets. A key is literal: nothing in an address is percent-encoded."""

    in_flight = 32
    # A listing returns up to 1,000 objects, and takes longer than a HEAD request.
    listed_at_once = 100
    # Only a HEAD request shows in which tier of Intelligent-Tiering an object is.
    cold_classes = frozenset((*COLD_CLASSES, "INTELLIGENT_TIERING"))

    def __init__(
        self, client: BaseClient, multipart_bytes: int = MULTIPART_BYTES, part_bytes: int = PART_BYTES
    ) -> None:
        self.client: Any = client
        self._direct = DirectCopies(client)
        self._cold = ColdObjects(client)
        # The callers use threads for many objects, not for many parts of one.
        self._transfer = TransferConfig(
            multipart_threshold=multipart_bytes, multipart_chunksize=part_bytes, use_threads=False
        )

    def list_files(self, prefix: str) -> Iterator[StoredFile]:
        bucket, key = _place(prefix)
        below = key.rstrip("/") + "/" if key else ""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=below)
        with s3_errors(prefix, "list"):
            for page in pages:
                for found in page.get("Contents", ()):
                    # Objects that S3's console shows as directories are not files.
                    if not found["Key"].endswith("/"):
                        uri = f"{urlsplit(prefix).scheme}://{bucket}/{found['Key']}"
                        modified_at = _second(found["LastModified"])
                        stored = found.get("StorageClass", STANDARD), found.get("ETag", "").strip('"')
                        yield StoredFile(uri, found["Size"], modified_at, *stored)

    def stat(self, uri: str) -> StoredFile | None:
        try:
            head = self._head(uri)
        except FileNotFoundError:
            return None
        modified_at = _second(head["LastModified"])
        stored = head.get("StorageClass", STANDARD), head.get("ETag", "").strip('"')
        return StoredFile(uri, head["ContentLength"], modified_at, *stored)

    def open(self, uri: str) -> BufferedReader:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        try:
            self._download(uri, file)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return cast(BufferedReader, file)

    def read(self, uri: str) -> bytes:
        content = io.BytesIO()
        self._download(uri, content)
        return content.getvalue()

    def write(self, uri: str, content: bytes) -> None:
        bucket, key = _place(uri)
        with s3_errors(uri, "write"):
            self.client.put_object(Bucket=bucket, Key=key, Body=content)

    def upload(self, path: Path, uri: str, storage_class: str | None = None) -> None:
        with path.open("rb") as file:
            self._put(file, uri, storage_class)

    def delete(self, uri: str) -> None:
        bucket, key = _place(uri)
        with s3_errors(uri, "delete"):
            self.client.delete_object(Bucket=bucket, Key=key)

    def checksum(self, uri: str, algorithm: str = "") -> str:
        return self._checksum(uri, self._head(uri), algorithm)

    def copy(
        self,
        origin: str,
        destination: str,
        storage_class: str | None = None,
        algorithm: str = "",
        listed: StoredFile | None = None,
    ) -> CopiedFile:
        if urlsplit(origin).scheme not in S3_SCHEMES:
            local = storage_for(origin)
            original = local.checksum(origin, "sha256")
            with local.open(origin) as file:
                original_bytes = file.seek(0, io.SEEK_END)
                file.seek(0)
                # Closes it.
                self._put(file, destination, storage_class)
            copied = self._head(destination)
            return self._copied(destination, copied, original_bytes, original)
        if listed is not None and (copied_at_once := self._copy_listed(listed, destination, storage_class, algorithm)):
            return copied_at_once
        head = self._head(origin)
        original = self._checksum(origin, head, algorithm)
        answer = self._copy(origin, destination, head, storage_class, algorithm_of(original))
        if known_checksums(head).items() & known_checksums(answer).items():
            if proved_by(answer, known_checksums(head).get("md5", ""), algorithm):
                self._direct.learn(_place(origin)[0], *_place(destination), algorithm)
            # The service's answer confirms the content that it has written, so no second request is needed.
            return CopiedFile(head["ContentLength"], head["ContentLength"], original, original)
        copied = self._head(destination)
        known = known_checksums(copied)
        if not algorithm and algorithm_of(original) not in known and COMPUTABLE & known.keys():
            # An ETag stops being an MD5 in an encrypted bucket, say. A cold copy cannot be read, but the original can.
            original = self._checksum(origin, head, next(name for name in known if name in COMPUTABLE))
        return self._copied(destination, copied, head["ContentLength"], original)

    def _copy_listed(
        self, listed: StoredFile, destination: str, storage_class: str | None, algorithm: str
    ) -> CopiedFile | None:
        """Copy an object in one request; None if that does not prove that the copy is the object that was listed.

        The service may ignore the condition that the object has not changed, so the proof is in the answer.
        """
        if not MD5.fullmatch(listed.etag) or listed.file_bytes >= self._transfer.multipart_threshold:
            return None
        origin, place = _place(listed.uri), _place(destination)
        answer = self._direct.copy(origin, place, listed.etag, storage_class, algorithm)
        if answer is None:
            return None
        if not (checksum := proved_by(answer, listed.etag, algorithm)):
            self._direct.give_up(origin[0], place[0], algorithm)
            return None
        return CopiedFile(listed.file_bytes, listed.file_bytes, checksum, checksum)

    def _copied(self, uri: str, head: Mapping[str, Any], original_bytes: int, original: str) -> CopiedFile:
        copied = self._checksum(uri, head, algorithm_of(original))
        return CopiedFile(original_bytes, head["ContentLength"], original, copied)

    def make_durable(self, uris: Collection[str]) -> None:
        """An object that the service has acknowledged is durable."""

    def look_cold(self, uri: str) -> ColdState:
        return self._cold.state(uri, self._head(uri))

    def thaw(self, uri: str, tier: str, faster: bool = False) -> ColdState:
        head = self._head(uri)
        state = self._cold.state(uri, head)
        if state.temperature is Temperature.READABLE and not runs_out(head):
            return state
        if state.temperature is Temperature.READABLE or (state.frozen_as, tier) not in THAW_TIMES:
            # Prolonging takes no time in any tier, and a tier that the class does not have would be refused.
            tier = STANDARD_TIER
        request: dict[str, Any] = {"GlacierJobParameters": {"Tier": tier}}
        if "ArchiveStatus" not in head:
            # Objects that Intelligent-Tiering restores stay readable.
            request["Days"] = THAWED_DAYS
        if state.temperature is Temperature.THAWING:
            # Nothing is slower than Bulk.
            asked = tier == BULK or (faster and self._hurried(uri, request))
            return replace(state, tier=tier if asked else "")
        asked = self._restored(uri, request)
        if state.temperature is Temperature.READABLE:
            return state
        return ColdState(Temperature.THAWING, state.frozen_as, tier if asked else "")

    def keeps_deleted(self, uri: str) -> str:
        return keeps_deleted(self.client, uri)

    def lifecycle_rules(self, uri: str) -> list[Mapping[str, Any]]:
        return lifecycle_rules(self.client, uri)

    def _hurried(self, uri: str, request: dict[str, Any]) -> bool:
        """Request a faster tier than the current one; returns whether it is used. The days must not change."""
        try:
            return self._restored(uri, request)
        except (TerminalError, TransientError) as error:
            # The thaw continues unchanged.
            log.info("%s continues to thaw in the tier that was requested first: %s", uri, error)
            return False

    def _restored(self, uri: str, request: dict[str, Any]) -> bool:
        """Request a thaw; returns False if somebody else has requested it before, in a tier as fast or faster."""
        bucket, key = _place(uri)
        with s3_errors(uri, "thaw"):
            try:
                self.client.restore_object(Bucket=bucket, Key=key, RestoreRequest=request)
            except ClientError as error:
                if error_code(error) != "RestoreAlreadyInProgress":
                    raise
                return False
        return True

    def _head(self, uri: str) -> dict[str, Any]:
        bucket, key = _place(uri)
        with self._present(bucket), s3_errors(uri, "look at"):
            head: dict[str, Any] = self.client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        return head

    def _download(self, uri: str, file: Any) -> None:
        # Repeats a request that was cut off, and checks the content against its checksum.
        bucket, key = _place(uri)
        with self._present(bucket), s3_errors(uri, "read"):
            self.client.download_fileobj(bucket, key, file, Config=self._transfer)

    @contextmanager
    def _present(self, bucket: str) -> Iterator[None]:
        """Distinguish a missing bucket from an absent object, because a HEAD has the same answer for both."""
        try:
            yield
        except FileNotFoundError:
            self._regions.look(bucket)
            raise

    def _put(self, file: BufferedReader, uri: str, storage_class: str | None) -> None:
        bucket, key = _place(uri)
        extra = {"StorageClass": storage_class} if storage_class else {}
        if self.client.meta.config.request_checksum_calculation != "when_required":
            # Over TLS it follows the content, which not every service can read.
            extra["ChecksumAlgorithm"] = "SHA256"
        with s3_errors(uri, "write"):
            self.client.upload_fileobj(file, bucket, key, ExtraArgs=extra, Config=self._transfer)

    def _checksum(self, uri: str, head: Mapping[str, Any], algorithm: str) -> str:
        known = known_checksums(head)
        algorithm = algorithm or next(iter(known), "sha256")
        if algorithm in known:
            return f"{algorithm}:{known[algorithm]}"
        if algorithm not in COMPUTABLE:
            raise TerminalDataError(
                f"{uri} no longer has a {algorithm}, which was recorded when it was archived; copy it with "
                f"ChecksumAlgorithm={algorithm.upper()}, so that its content can be compared."
            )
        digest = Digest(algorithm)
        self._download(uri, digest)
        return f"{algorithm}:{digest.hash.hexdigest()}"

    def _copy(
        self, origin: str, destination: str, head: Mapping[str, Any], storage_class: str | None, algorithm: str
    ) -> dict[str, Any]:
        """Copy; returns the service's answer about the copy, which is empty for a copy in parts."""
        bucket, key = _place(destination)
        origin_bucket, origin_key = _place(origin)
        source = {"Bucket": origin_bucket, "Key": origin_key}
        extra: dict[str, Any] = {"StorageClass": storage_class} if storage_class else {}
        parts = head["ContentLength"] >= self._transfer.multipart_threshold
        if parts and storage_class in COLD_CLASSES and algorithm != "crc64nvme":
            raise TerminalDataError(
                f"{origin} is too large for a copy in one request and has no CRC64NVME, so a copy in {storage_class} "
                "could not be compared with it. Copy it onto itself with ChecksumAlgorithm=CRC64NVME, then run again."
            )
        # An MD5 may not survive the copy. For a copy in parts, only this algorithm covers the whole object.
        extra["ChecksumAlgorithm"] = "CRC64NVME" if parts or algorithm == "crc64nvme" else "SHA256"
        if head.get("ServerSideEncryption", "").startswith("aws:kms") and self._same_region(origin_bucket, bucket):
            # A key belongs to a region; elsewhere the bucket's own settings hold.
            extra |= {
                name: head[name] for name in ("ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled") if name in head
            }
        with s3_errors(f"{origin} to {destination}", "copy"):
            if parts:
                self.client.copy(source, bucket, key, ExtraArgs=extra, Config=self._transfer)
                return {}
            answer = self.client.copy_object(CopySource=source, Bucket=bucket, Key=key, **extra)
            return {**answer, **answer["CopyObjectResult"]}

    def _same_region(self, one: str, other: str) -> bool:
        return one == other or self._regions.look(one) == self._regions.look(other)

    @cached_property
    def _regions(self) -> _Regions:
        return _Regions(self.client)


class _Regions:
    """The regions of buckets, each requested once."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._found: dict[str, str] = {}

    def look(self, bucket: str) -> str:
        """Return a bucket's region; empty if the service does not report it.

        Raises:
            TerminalSettingError: There is no such bucket.
        """
        if bucket not in self._found:
            try:
                with s3_errors(f"s3://{bucket}", "look at"):
                    self._found[bucket] = self._client.head_bucket(Bucket=bucket).get("BucketRegion", "")
            except FileNotFoundError as error:
                raise TerminalSettingError(
                    f"There is no bucket {bucket!r} ({error}). Create it, or correct the setting that names it."
                ) from error
        return self._found[bucket]


def _place(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.partition("://")[2].partition("/")
    return bucket, key


def _second(moment: datetime) -> datetime:
    # A listing has more digits than a HEAD request.
    return moment.replace(microsecond=0)
