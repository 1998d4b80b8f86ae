"""The keyed hash by which an erased person is known, in Python and in DuckDB: HMAC-SHA256 of the user id.

Without the key nobody can find out from a hash whose it is, not even by hashing every id there is.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from perennial.errors import TerminalSettingError
from perennial.settings import LEAST_KEY_CHARACTERS, PREFIX, Settings
from perennial.warehouse.open import is_embedded

_BLOCK_BYTES = 64


def erasure_key(settings: Settings) -> bytes:
    """Return the key of the hashes: PERENNIAL_ERASURE_KEY, or the file in HOME where the catalog lies there too.

    Raises:
        TerminalSettingError: There is none.
    """
    path = _key_file(settings)
    if settings.erasure_key is not None:
        return settings.erasure_key.encode()
    if path is None:
        raise TerminalSettingError(
            f"{PREFIX}ERASURE_KEY is not set, and erased people are known only by hashes with that key; set it to "
            f"{LEAST_KEY_CHARACTERS} random characters or more, such as `openssl rand -hex 32` prints, in all of "
            "Airflow's processes, and keep them in a safe place."
        )
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise TerminalSettingError(
            f"The key of the hashes by which erased people are known is missing ({path}); bring it back from a backup "
            "or, if nobody has been erased yet, run `perennial init`, which makes one."
        ) from None


def has_key(settings: Settings) -> bool:
    """Whether there is a key."""
    path = _key_file(settings)
    return settings.erasure_key is not None or (path is not None and path.exists())


def make_key(settings: Settings) -> bool:
    """Write a new key to HOME if the catalog lies there, nothing is set and there is none; returns whether it did."""
    path = _key_file(settings)
    if path is None or settings.erasure_key is not None or path.exists():
        return False
    temporary = path.with_name(f".{secrets.token_hex(8)}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)
    except FileExistsError:
        # Another process was first, and its key counts.
        return False
    finally:
        temporary.unlink()
    return True


def _key_file(settings: Settings) -> Path | None:
    return settings.home / "erasure.key" if settings.home is not None and is_embedded(settings) else None


def hash_user_id(key: bytes, user_id: str) -> str:
    """Return the keyed hash of a user id, in hexadecimal."""
    return hmac.new(key, user_id.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def hash_external_user_id(key: bytes, external_user_id: str) -> str:
    """Return the keyed hash of a customer's own user id, which no user id has."""
    # No id may hold a control character.
    return hash_user_id(key, f"external_user_id\n{external_user_id}")


def mark_of(key: bytes) -> str:
    """Return a mark that distinguishes one key from another and does not reveal it."""
    return hash_user_id(key, "\nmark of the key")[:16]


def hash_binds(key: bytes) -> dict[str, object]:
    """Return the binds with which a statement computes the hash: sha256($outer_pad || sha256($inner_pad || id))."""
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
    return {"inner_pad": bytes(byte ^ 0x36 for byte in block), "outer_pad": bytes(byte ^ 0x5C for byte in block)}
