"""Translates errors of S3 into this project's errors: what went wrong, which bucket, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from s3transfer.exceptions import RetriesExceededError  # type: ignore[import-untyped]  # without stubs

from perennial.errors import PerennialError, TerminalSettingError, TransientError
from perennial.storage import TRAILERS_REFUSED, WITHOUT_TRAILERS

CONNECTION = "aws_default"
# Answers of a service, and failures to reach it; a catalog on AWS raises the same.
ANSWERED, NOT_ANSWERED = ClientError, BotoCoreError

_ABSENT = {"NoSuchKey", "404", "NotFound"}
# The answer to a HEAD has no body, and so its code is only a number.
DENIED = {
    "400", "403", "AccessDenied", "AllAccessDisabled", "AuthorizationHeaderMalformed", "ExpiredToken",
    "ExpiredTokenException", "InvalidAccessKeyId", "InvalidToken", "RequestTimeTooSkewed", "SignatureDoesNotMatch",
}  # fmt: skip
_ELSEWHERE = {"301", "307", "IllegalLocationConstraintException", "PermanentRedirect", "TemporaryRedirect"}
COLD = {"InvalidObjectState", "ObjectNotInActiveTierError"}
# Ceph says the first of an unknown storage class. The answer is the same however often it is asked.
_REFUSED = {
    "405", "501", "InvalidArgument", "InvalidRequest", "InvalidStorageClass", "MethodNotAllowed", "NotImplemented",
}  # fmt: skip
NO_CREDENTIALS = (CredentialRetrievalError, NoCredentialsError, PartialCredentialsError)


@contextmanager
def s3_errors(uri: str, action: str) -> Iterator[None]:
    """Turn the service's errors into this project's errors, and an absent object into a FileNotFoundError."""
    try:
        yield
    except ClientError as error:
        raise _error(uri, action, error) from error
    except ParamValidationError as error:
        raise TerminalSettingError(
            f"Cannot {action} {uri}: {error}. Correct the setting that names bucket {_bucket(uri)!r}."
        ) from error
    except NO_CREDENTIALS as error:
        raise TerminalSettingError(
            f"Cannot {action} {uri} ({error}). Give the Airflow connection {CONNECTION!r} a key, or the machine a role."
        ) from error
    except (BotoCoreError, RetriesExceededError) as error:
        raise TransientError(
            f"Cannot {action} {uri}, bucket {_bucket(uri)!r} cannot be reached now ({error}). Run it again; if "
            f"that does not help, check endpoint_url and region_name of the Airflow connection {CONNECTION!r}."
        ) from error


def error_code(error: ClientError) -> str:
    """Return the service's code of an error; for a HEAD, which has none, the HTTP status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _error(uri: str, action: str, error: ClientError) -> PerennialError | FileNotFoundError:
    code, bucket = error_code(error), _bucket(uri)
    said = f"Cannot {action} {uri} ({error})"
    if code == "NoSuchBucket":
        # A copy involves two buckets.
        named = error.response.get("Error", {}).get("BucketName") or bucket
        return TerminalSettingError(
            f"{said}: there is no bucket {named!r}. Create it, or correct the setting that names it."
        )
    if code in _ABSENT:
        return FileNotFoundError(f"{uri} does not exist ({error})")
    if TRAILERS_REFUSED.fullmatch(code):
        return TerminalSettingError(f"{said}: {WITHOUT_TRAILERS}")
    if code in COLD:
        return TransientError(
            f"{said}: it is in a cold storage class and has to be thawed first; clear the run's task `thaw`."
        )
    if code in DENIED:
        return TerminalSettingError(
            f"{said}. Check the key and the region of the Airflow connection {CONNECTION!r} and its rights on bucket "
            f"{bucket!r}; docs/iam.md has the policies."
        )
    if code in _ELSEWHERE:
        return TerminalSettingError(
            f"{said}: bucket {bucket!r} is in another region. Set region_name of the Airflow connection {CONNECTION!r}."
        )
    if code in _REFUSED:
        return TerminalSettingError(
            f"{said}: the service does not accept this request. Set PERENNIAL_ARCHIVE_STORAGE_CLASS to a storage class "
            f"that bucket {bucket!r} has, or use a service that knows the request."
        )
    if code.startswith("KMS."):
        return TerminalSettingError(f"{said}: the key that bucket {bucket!r} is encrypted with cannot be used.")
    if code == "GlacierExpeditedRetrievalNotAvailable":
        return TransientError(f"{said}: no capacity for Expedited at the moment. Wait, or use thaw_tier Standard.")
    return TransientError(f"{said}; run it again.")


def _bucket(uri: str) -> str:
    return uri.partition("://")[2].partition("/")[0]
