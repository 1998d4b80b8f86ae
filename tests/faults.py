"""An S3 server that has bad days: a proxy that answers some requests with errors, or breaks off."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

KINDS = ("internal", "slow-down", "reset", "cut", "late-error")
"""What a client has to repeat."""
STALL_SECONDS = 2.0
_ERRORS = {
    "internal": (500, "InternalError"),
    "slow-down": (503, "SlowDown"),
    # A copy that takes long is answered before it has failed; of any other request it is an error like the first.
    "late-error": (200, "InternalError"),
    "expired": (400, "ExpiredToken"),
    "denied": (403, "AccessDenied"),
    "elsewhere": (301, "PermanentRedirect"),
    "not-implemented": (501, "NotImplemented"),
}


@dataclass
class Faults:
    """What the proxy does; may be changed while it runs.

    Attributes:
        url: Endpoint of the proxy.
        share: Of the requests that go wrong, from 0 to 1.
        kinds: How they go wrong: one of KINDS, of the other errors, or "stall".
        header: Only requests that have it go wrong; empty for all.
        chance: Decides which; seeded, so that a failure can be run again.
        done: How often each kind of fault was dealt.
        signed_by: The access keys of all requests, in turn.
    """

    url: str = ""
    share: float = 0.0
    kinds: tuple[str, ...] = KINDS
    header: str = ""
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    done: Counter[str] = field(default_factory=Counter)
    signed_by: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, headers: Message) -> str:
        with self.lock:
            goes_wrong = self.chance.random() < self.share and (not self.header or self.header in headers)
            kind = self.chance.choice(self.kinds) if goes_wrong else ""
            self.done[kind] += 1
            self.signed_by.append(headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0])
        return kind


@contextmanager
def faulty(endpoint: str) -> Iterator[Faults]:
    """Serve an S3 endpoint through a proxy until the block ends."""
    faults = Faults()

    class Handler(_Proxy):
        target = urlsplit(endpoint).netloc
        dealer = faults

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        faults.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield faults
        finally:
            server.shutdown()
            thread.join()


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target = ""
    dealer: Faults

    def log_message(self, *_: object) -> None:
        """Nobody reads along."""

    def _pass(self) -> None:
        fault = self.dealer.next(self.headers)
        if fault == "late-error" and "x-amz-copy-source" not in self.headers:
            fault = "internal"
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(length) if "chunked" not in self.headers.get("Transfer-Encoding", "") else self._chunks()
        if fault in _ERRORS:
            self._refuse(*_ERRORS[fault])
        elif fault == "stall":
            time.sleep(STALL_SECONDS)
            self._reset()
        elif fault == "reset" and self.dealer.chance.random() < 0.5:
            # Before the server has seen anything; else it has done what was asked, and nobody is told.
            self._reset()
        else:
            self._forward(body, fault)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass  # noqa: N815 - the library calls them so

    def _chunks(self) -> bytes:
        content = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return content

    def _forward(self, body: bytes, fault: str) -> None:
        connection = http.client.HTTPConnection(self.target, timeout=60)
        # The host is part of what was signed.
        headers = {
            key: value for key, value in self.headers.items() if key.lower() not in ("transfer-encoding", "expect")
        }
        if body:
            headers["Content-Length"] = str(len(body))
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for key, value in headers.items():
            connection.putheader(key, value)
        connection.endheaders(body or None)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if fault == "reset":
            self._reset()
            return
        self.send_response_only(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(key, value)
        said = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        if said is not None:
            self.send_header("Content-Length", said)
        self.end_headers()
        if fault == "cut" and len(content) > 1:
            self.wfile.write(content[: len(content) // 2])
            self._reset()
        elif self.command != "HEAD":
            self.wfile.write(content)

    def _refuse(self, status: int, code: str) -> None:
        said = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>A bad day</Message></Error>".encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said)

    def _reset(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
