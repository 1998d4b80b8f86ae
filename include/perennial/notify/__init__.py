"""Messages to people, and how they are delivered."""

from perennial.notify.addresses import ADDRESS_PATTERN, is_address, refuse_bad_addresses
from perennial.notify.archive_message import archive_message
from perennial.notify.deadline import airflow_url, warn_late_restore
from perennial.notify.delivery import Delivery, DeliveryRecord, Undelivered, deliver, describe, list_undelivered
from perennial.notify.export_message import export_message
from perennial.notify.links import page_url
from perennial.notify.message import Attachment, Letter, Message
from perennial.notify.messages import (
    digests_by_owner,
    expiry_digest,
    late_restore_message,
    restore_message,
    run_url,
    sources_without_owner,
)
from perennial.notify.thaw_message import thaw_message

__all__ = [
    "ADDRESS_PATTERN",
    "Attachment",
    "Delivery",
    "DeliveryRecord",
    "Letter",
    "Message",
    "Undelivered",
    "airflow_url",
    "archive_message",
    "deliver",
    "describe",
    "digests_by_owner",
    "expiry_digest",
    "export_message",
    "is_address",
    "late_restore_message",
    "list_undelivered",
    "page_url",
    "refuse_bad_addresses",
    "restore_message",
    "run_url",
    "sources_without_owner",
    "thaw_message",
    "warn_late_restore",
]
