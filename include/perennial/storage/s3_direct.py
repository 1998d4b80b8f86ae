"""CopyObject at the cost of its request: signed with boto3's own keys and sent on a connection that is kept.

boto3 takes three to five times the processor time for one request, and the interpreter serialises it. Only the plain
case is here. Whatever is no plain success is repeated by the caller through boto3, which knows retries, redirects and
errors; a copy that is made twice is the same copy.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

# Servers close connections that have rested for longer.
REST_SECONDS = 4.0
_SIGNATURE, _EMPTY = "s3v4", hashlib.sha256(b"").hexdigest()
# What may be true of one object or of one moment; any other refusal means that this service wants something else.
_PASSING = frozenset((403, 404, 412, 429, 500, 502, 503, 504))
_HEADERS = {
    "x-amz-server-side-encryption": "ServerSideEncryption",
    "x-amz-server-side-encryption-customer-algorithm": "SSECustomerAlgorithm",
}


@dataclass(frozen=True)
class _Route:
    """How boto3 reaches a bucket.

    Attributes:
        signer: Signs with the client's credentials and renews them.
        region: Of the bucket.
        tls: Whether the connection is encrypted.
        host: With its port.
        path: What precedes a key.
        rested: Connections that nobody uses, and when they were used last.
    """

    signer: Any
    region: str
    tls: bool
    host: str
    path: str
    rested: list[tuple[HTTPConnection, float]] = field(default_factory=list)


class DirectCopies:
    """Copies by single requests, between buckets of which a copy made by boto3 has shown that its answer is a proof.

    Args:
        client: Its copies are observed: where they go, and who signs them.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._routes: dict[tuple[str, str, str], _Route | None] = {}
        self._observed = threading.local()
        client.meta.events.register("before-sign.s3.CopyObject", self._observe)

    def learn(self, origin_bucket: str, bucket: str, key: str, algorithm: str) -> None:
        """Note that the answer proved the copy that this thread has just made through boto3."""
        url, region, signer = self._observed.request
        place = urlsplit(url)
        path = place.path.removesuffix(quote(key, safe="/~"))
        if signer is None or path == place.path or get_environ_proxies(url) or self._client.meta.config.proxies:
            return
        route = _Route(signer, region, place.scheme == "https", place.netloc, path)
        weakref.finalize(route, _close, route.rested)
        self._routes.setdefault((origin_bucket, bucket, algorithm), route)

    def give_up(self, origin_bucket: str, bucket: str, algorithm: str) -> None:
        """Copy nothing more between these buckets: answers are no proof, or the service refuses such requests."""
        self._routes[origin_bucket, bucket, algorithm] = None

    def copy(
        self,
        origin: tuple[str, str],
        destination: tuple[str, str],
        etag: str,
        storage_class: str | None,
        algorithm: str,
    ) -> dict[str, str] | None:
        """Copy an object, if it still has this ETag, as far as the service looks at that.

        Args:
            origin: Bucket and key.
            destination: Bucket and key.
            etag: What its listing says.
            storage_class: Of the copy.
            algorithm: Of the wanted checksum; may be empty.

        Returns:
            The service's answer, with boto3's names; None if it was no plain success, whatever has become of the copy.
        """
        route = self._routes.get((origin[0], destination[0], algorithm))
        if route is None:
            return None
        headers = {
            "x-amz-checksum-algorithm": "CRC64NVME" if algorithm == "crc64nvme" else "SHA256",
            "x-amz-copy-source": f"{origin[0]}/{quote(origin[1], safe='/~')}",
            "x-amz-copy-source-if-match": f'"{etag}"',
        }
        if storage_class:
            headers["x-amz-storage-class"] = storage_class
        try:
            status, answered, body = self._send(route, route.path + quote(destination[1], safe="/~"), headers)
        except ssl.SSLError:
            status = 0
        except (OSError, HTTPException, BotoCoreError):
            # The last when credentials cannot be renewed.
            return None
        if status == 200:
            return _read(answered, body)
        if status not in _PASSING:
            self.give_up(origin[0], destination[0], algorithm)
        return None

    def _observe(self, request: Any, region_name: str, signature_version: str, request_signer: Any, **_: Any) -> None:
        # A redirect names another region than the client's.
        region = request.context.get("signing", {}).get("region") or region_name
        self._observed.request = request.url, region, request_signer if signature_version == _SIGNATURE else None

    def _send(self, route: _Route, path: str, headers: dict[str, str]) -> tuple[int, HTTPMessage, bytes]:
        connection = self._connection(route)
        try:
            connection.request("PUT", path, headers=_signed(route, path, headers))
            response = connection.getresponse()
            body = response.read()
        except BaseException:
            connection.close()
            raise
        route.rested.append((connection, time.monotonic()))
        return response.status, response.headers, body

    def _connection(self, route: _Route) -> HTTPConnection:
        # Not asked whether there is one: another thread may take the last one in between.
        with suppress(IndexError):
            while True:
                connection, used_at = route.rested.pop()
                if time.monotonic() - used_at < REST_SECONDS:
                    return connection
                connection.close()
        seconds = self._client.meta.config.read_timeout
        if not route.tls:
            return HTTPConnection(route.host, timeout=seconds)
        bundle = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE")
        context = ssl.create_default_context(cafile=get_cert_path(bundle or True))
        return HTTPSConnection(route.host, timeout=seconds, context=context)


def _close(rested: list[tuple[HTTPConnection, float]]) -> None:
    for connection, _ in rested:
        connection.close()


def _signed(route: _Route, path: str, headers: dict[str, str]) -> dict[str, str]:
    """Add what boto3's signer adds, for a request without a query and a body. The signer is what knows the keys."""
    auth = route.signer.get_auth_instance("s3", route.region, _SIGNATURE)
    request = AWSRequest()
    request.context["timestamp"] = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    signed = headers | {
        "host": route.host,
        "x-amz-content-sha256": _EMPTY,
        "x-amz-date": request.context["timestamp"],
    }
    if auth.credentials.token:
        signed["x-amz-security-token"] = auth.credentials.token
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    text = auth.string_to_sign(request, f"PUT\n{path}\n\n{lines}\n{names}\n{_EMPTY}")
    signature = f"SignedHeaders={names}, Signature={auth.signature(text, request)}"
    return signed | {"authorization": f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, {signature}"}


def _read(headers: HTTPMessage, body: bytes) -> dict[str, str] | None:
    """Read an answer; None if it is an error, which a copy that takes long reports after its status."""
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        return None
    if root.tag.rpartition("}")[2] != "CopyObjectResult":
        return None
    answer = {child.tag.rpartition("}")[2]: child.text or "" for child in root}
    return answer | {name: headers[header] for header, name in _HEADERS.items() if header in headers}
