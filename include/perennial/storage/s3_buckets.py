"""What the owner of a bucket has set it to do by itself: expire objects, or keep what is deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from perennial.storage.s3_errors import error_code, s3_errors


def lifecycle_rules(client: Any, uri: str) -> list[Mapping[str, Any]]:
    """Return the lifecycle rules of an address's bucket; see `Storage.lifecycle_rules`."""
    with s3_errors(uri, "read the lifecycle rules of the bucket of"):
        try:
            found = client.get_bucket_lifecycle_configuration(Bucket=_bucket(uri))
        except ClientError as error:
            if error_code(error) != "NoSuchLifecycleConfiguration":
                raise
            return []
    return list(found["Rules"])


def keeps_deleted(client: Any, uri: str) -> str:
    """Say why an address's bucket keeps what is deleted; see `Storage.keeps_deleted`."""
    bucket = _bucket(uri)
    with s3_errors(uri, "read the versioning of the bucket of"):
        try:
            status = client.get_bucket_versioning(Bucket=bucket).get("Status")
        except ClientError as error:
            if error_code(error) != "AccessDenied":
                raise
            return f"bucket {bucket} may keep versions of deleted objects (this role lacks s3:GetBucketVersioning)"
    if not status:
        return ""
    try:
        # A bucket with a lock has versions too.
        client.get_object_lock_configuration(Bucket=bucket)
    except ClientError:
        # It has no lock, or nobody knows.
        return f"bucket {bucket} keeps versions of deleted objects"
    return f"bucket {bucket} has an object lock, and keeps versions of deleted objects"


def _bucket(uri: str) -> str:
    return uri.partition("://")[2].partition("/")[0]
