"""What a service says of an object's content: checksums over the whole object, and ETags that are an MD5."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Mapping
from typing import Any

COMPUTABLE = frozenset(("sha256", "md5"))
MD5 = re.compile(r"[0-9a-f]{32}")
_WHOLE_OBJECT = {"sha256": "ChecksumSHA256", "crc64nvme": "ChecksumCRC64NVME"}


def known_checksums(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return the service's checksums of an object's content, by algorithm, the best first.

    Args:
        answer: The answer to a HEAD or a CopyObject, with the names that boto3 gives its fields.
    """
    known = {}
    if answer.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT":
        known = {name: answer[field] for name, field in _WHOLE_OBJECT.items() if answer.get(field)}
        if "sha256" in known:
            known["sha256"] = base64.b64decode(known["sha256"]).hex()
    etag = answer.get("ETag", "").strip('"')
    plain = not answer.get("SSECustomerAlgorithm") and answer.get("ServerSideEncryption", "AES256") == "AES256"
    # Directory buckets invent an ETag.
    plain = plain and answer.get("StorageClass") != "EXPRESS_ONEZONE"
    if plain and MD5.fullmatch(etag):
        known["md5"] = etag
    return known


def proved_by(answer: Mapping[str, Any], etag: str, algorithm: str) -> str:
    """Return the checksum of a copy and of its original if the answer to CopyObject proves that they are equal.

    The proof is that the MD5 of the copy is the ETag of the original. An ETag that is no MD5 is equal to none.

    Args:
        answer: What the service said of the copy.
        etag: What it had said of the original.
        algorithm: The wanted algorithm; by default the best one in the answer.

    Returns:
        `algorithm:value`; empty if nothing is proved, or if the answer has no such checksum.
    """
    known = known_checksums(answer)
    if known.get("md5") != etag:
        return ""
    algorithm = algorithm or next(iter(known))
    return f"{algorithm}:{known[algorithm]}" if algorithm in known else ""


class Digest(io.RawIOBase):
    """A file that only computes the hash of what is written to it."""

    def __init__(self, algorithm: str) -> None:
        self.hash = hashlib.new(algorithm, usedforsecurity=False)

    def write(self, content: Any) -> int:
        self.hash.update(content)
        return len(content)
