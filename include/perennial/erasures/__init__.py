"""Who is to be forgotten (R22): requests and their states, and the keyed hashes by which erased people stay known."""

from perennial.erasures.hashes import erasure_key, hash_user_id
from perennial.erasures.requests import (
    ErasureRequest,
    ErasureState,
    open_request,
    read_request,
    record_event,
    remove_request,
    states,
)
from perennial.erasures.suppression import Suppressed, forget_suppression, suppressed

__all__ = [
    "ErasureRequest",
    "ErasureState",
    "Suppressed",
    "erasure_key",
    "forget_suppression",
    "hash_user_id",
    "open_request",
    "read_request",
    "record_event",
    "remove_request",
    "states",
    "suppressed",
]
