"""What the server of tests/aws.py is asked for, as IAM sees it: by boto3 and by Arrow alike, for it is told by the server."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication

ACCOUNT = "arn:aws:glue:us-east-1:111122223333"
Right = tuple[str, str]
"""An action, and the ARN of what it is done to."""

# By method and what of a bucket or an object it is about; `uploads` begins and `uploadId` goes on with one in parts.
_OF_BUCKET = {("GET", ""): "ListBucket", ("HEAD", ""): "ListBucket", ("GET", "location"): "GetBucketLocation"}
_OF_BUCKET[("GET", "lifecycle")] = "GetLifecycleConfiguration"
_OF_BUCKET[("GET", "versioning")] = "GetBucketVersioning"
_OF_BUCKET[("GET", "object-lock")] = "GetBucketObjectLockConfiguration"
_OF_OBJECT = {
    ("GET", ""): "GetObject",
    ("HEAD", ""): "GetObject",
    ("PUT", ""): "PutObject",
    ("DELETE", ""): "DeleteObject",
    ("POST", "restore"): "RestoreObject",
    ("POST", "uploads"): "PutObject",
    ("PUT", "uploadId"): "PutObject",
    ("POST", "uploadId"): "PutObject",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
}
# What says how, not what.
_HOW = {"list-type", "prefix", "delimiter", "continuation-token", "max-keys", "encoding-type", "start-after", "x-id"}
_HOW |= {"partNumber", "fetch-owner"}
_DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@contextmanager
def enforced(may: Callable[[str, str], bool]) -> Iterator[set[Right]]:
    """Deny, until the block ends, what is not allowed; collects all that is asked for."""
    asked: set[Right] = set()
    serve = DomainDispatcherApplication.__call__

    def served(application: Any, environ: dict[str, Any], start_response: Any) -> Any:
        rights = set(_rights(environ))
        asked.update(rights)
        if all(may(*right) for right in rights):
            return serve(application, environ, start_response)
        _body(environ)
        start_response("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(_DENIED)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else _DENIED]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DomainDispatcherApplication, "__call__", served)
        yield asked


def _rights(environ: dict[str, Any]) -> Iterator[Right]:
    scope = re.search(r"Credential=[^,]*/(\w+)/aws4_request", environ.get("HTTP_AUTHORIZATION", ""))
    service = scope[1] if scope else "nobody"
    if service == "s3":
        yield from _of_s3(environ)
    elif service == "glue":
        yield from _of_glue(environ["HTTP_X_AMZ_TARGET"].partition(".")[2], json.loads(_body(environ) or "{}"))
    else:
        yield f"{service}:{environ['REQUEST_METHOD']}", environ["PATH_INFO"]


def _of_s3(environ: dict[str, Any]) -> Iterator[Right]:
    method, headers = environ["REQUEST_METHOD"], {name for name in environ if name.startswith("HTTP_X_AMZ_")}
    path = environ["PATH_INFO"].encode("latin-1").decode()
    bucket, _, key = path.removeprefix("/").partition("/")
    about = sorted(parse_qs(environ["QUERY_STRING"], keep_blank_values=True).keys() - _HOW)
    resource = f"arn:aws:s3:::{bucket}" + (f"/{key}" if key else "")
    if not key and (method, about) == ("POST", ["delete"]):
        for name in ElementTree.fromstring(_body(environ)).iter("{http://s3.amazonaws.com/doc/2006-03-01/}Key"):
            yield "s3:DeleteObject", f"{resource}/{name.text}"
        return
    # One that is not known here is allowed to nobody, so it is seen.
    known = (_OF_OBJECT if key else _OF_BUCKET).get((method, "".join(about)), f"{method}?{'&'.join(about)}")
    yield f"s3:{known}", resource
    if "HTTP_X_AMZ_COPY_SOURCE" in headers:
        yield "s3:GetObject", f"arn:aws:s3:::{unquote(environ['HTTP_X_AMZ_COPY_SOURCE']).removeprefix('/')}"
    if "HTTP_X_AMZ_TAGGING" in headers:
        yield "s3:PutObjectTagging", resource
    if any(name.startswith(("HTTP_X_AMZ_ACL", "HTTP_X_AMZ_GRANT")) for name in headers):
        yield "s3:PutObjectAcl", resource


def _of_glue(action: str, asked: Mapping[str, Any]) -> Iterator[Right]:
    """A right to a table is one to its database and its catalog as well."""
    name = asked.get("Name") or next((asked[key]["Name"] for key in asked if key.endswith("Input")), None)
    database = asked.get("DatabaseName") or name
    yield f"glue:{action}", f"{ACCOUNT}:catalog"
    yield f"glue:{action}", f"{ACCOUNT}:database/{database}"
    if "DatabaseName" in asked:
        # A list is of all tables.
        yield f"glue:{action}", f"{ACCOUNT}:table/{database}/{name or '*'}"


def _body(environ: dict[str, Any]) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body
