"""What people are told, and how it reaches them."""

from perennial.notify.addresses import ADDRESS_PATTERN, is_address, refuse_bad_addresses
from perennial.notify.deadline import warn_late_restore
from perennial.notify.exports import export_message
from perennial.notify.message import Attachment, Message
from perennial.notify.messages import (
    digests_by_owner,
    expiry_digest,
    late_restore_message,
    restore_message,
    run_url,
    sources_without_owner,
)
from perennial.notify.smtp import send
from perennial.notify.thawing import thaw_message

__all__ = [
    "ADDRESS_PATTERN",
    "Attachment",
    "Message",
    "digests_by_owner",
    "expiry_digest",
    "export_message",
    "is_address",
    "late_restore_message",
    "refuse_bad_addresses",
    "restore_message",
    "run_url",
    "send",
    "sources_without_owner",
    "thaw_message",
    "warn_late_restore",
]
