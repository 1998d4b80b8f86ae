"""Sends each person an e-mail once: a record beside the run's documents says who has it and who could not be reached.

The same messages go to the channels of PERENNIAL_CHANNELS, in short, after the e-mails.

A recipient is recorded as soon as the server has accepted the e-mail. A process that dies between the two sends that
one e-mail a second time, under the same Message-ID; nobody else gets a second one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, TypeAdapter

from perennial.errors import TerminalDeliveryError, TransientDeliveryError
from perennial.notify import channels
from perennial.notify.addresses import is_address
from perennial.notify.message import Letter, Message
from perennial.notify.smtp import Refusal, send
from perennial.operations import OperationStore, hashed_name
from perennial.text import pluralize

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

_log = logging.getLogger(__name__)

RESTORE, THAW, LATE, EXPIRY, EXPORT = "restore", "thaw", "late", "expiry", "export"
NOTICE, APPROVAL, ARCHIVE, CEILING, ERASURE = "notice", "approval", "archive", "ceiling", "erasure"


@dataclass(frozen=True, kw_only=True)
class Undelivered:
    """One e-mail that did not reach somebody."""

    recipient: Annotated[
        str, Field(description="The address, or what the platform has in its place; empty if it has nothing")
    ]
    subject: str
    topic: Annotated[str, Field(description="restore, thaw, late, expiry, export, notice, archive, ceiling or erasure")]
    run_id: Annotated[str, Field(description="The run that the e-mail is about")]
    reason: Annotated[str, Field(description="The mail server's words, or what is wrong with the address")]
    for_good: Annotated[bool, Field(description="Whether a retry is useless until somebody has changed something")]
    tried_at: Annotated[datetime, Field(description="Wall clock of the last attempt")]


_STORED = TypeAdapter(list[Undelivered])


@dataclass(frozen=True)
class Delivery:
    """The outcome of the e-mails of one run.

    Attributes:
        delivered: Recipients who have the e-mail, from this attempt or an earlier one.
        undelivered: The others.
    """

    delivered: tuple[str, ...] = ()
    undelivered: tuple[Undelivered, ...] = ()

    @property
    def is_worth_repeating(self) -> bool:
        """Whether some refusal was temporary."""
        return any(not missed.for_good for missed in self.undelivered)

    def accept_gaps(self, run_id: str, last_attempt: bool = True) -> None:
        """Log who has no e-mail; refuse that only while another attempt may reach them.

        Args:
            run_id: The run that sent it.
            last_attempt: Whether there is no further attempt.

        Raises:
            TransientDeliveryError: Some refusal was temporary, and there is another attempt.
        """
        if self.is_worth_repeating and not last_attempt:
            self.refuse_gaps()
        if self.undelivered:
            _log.warning("%s: %s", run_id, describe(self.undelivered))

    def refuse_gaps(self) -> None:
        """Pass only if everybody has the e-mail.

        Raises:
            TransientDeliveryError: Some refusal was temporary; names everybody who could not be notified.
            TerminalDeliveryError: Every refusal was permanent; names everybody who could not be notified.
        """
        if not self.undelivered:
            return
        text = f"{describe(self.undelivered)} {_others(len(self.delivered))}"
        if self.is_worth_repeating:
            raise TransientDeliveryError(f"{text} The task is retried, and nobody gets it twice.")
        raise TerminalDeliveryError(
            f"{text} Inform them another way; or correct what is wrong and clear the task to send them the e-mail."
        )


def describe(undelivered: Iterable[Undelivered]) -> str:
    """Name everybody who could not be notified, and why."""
    missed = [f"{each.recipient or 'an owner'} ({each.reason})" for each in undelivered]
    return f"The e-mail did not reach {'; '.join(missed)}."


@dataclass(frozen=True)
class DeliveryRecord:
    """The record of who has the e-mails on one topic of one run.

    Attributes:
        topic: restore, thaw, late, expiry, export, notice, archive, ceiling or erasure.
        run_id: The run.
        root: Directory of the workspace's operations; None where nothing can be recorded.
        channels: The Airflow connection of PERENNIAL_CHANNELS; None: no channel gets the messages.
    """

    topic: str
    run_id: str
    root: str | None
    channels: str | None = None

    @classmethod
    def of(cls, warehouse: Warehouse, topic: str, run_id: str) -> DeliveryRecord:
        """Return the record of one topic of one run in a workspace."""
        return cls(topic, run_id, warehouse.operations_uri(), warehouse.settings.channels)

    def delivered(self) -> dict[str, str]:
        """Return who has a mail, by recipient, and which: its reference."""
        return dict(self._find("deliveries"))

    def undelivered(self) -> list[Undelivered]:
        """Return who could not be notified in the latest attempt."""
        return _STORED.validate_python([*self._find("undelivered")])

    def note_delivered(self, delivered: Mapping[str, str]) -> None:
        """Write down who has a mail."""
        self._put("deliveries", delivered)

    def note_undelivered(self, undelivered: Iterable[Undelivered]) -> None:
        """Record who could not be notified; an empty list replaces an earlier one, as not every role may delete."""
        missed = _STORED.dump_python([*undelivered], mode="json")
        if missed or self.undelivered():
            self._put("undelivered", missed)

    def _find(self, directory: str) -> Any:
        name = hashed_name(self.topic, self.run_id)
        return (OperationStore(self.root).find(directory, name) if self.root else None) or ()

    def _put(self, directory: str, content: object) -> None:
        if self.root:
            OperationStore(self.root).put(directory, content, hashed_name(self.topic, self.run_id))


def deliver(
    record: DeliveryRecord, letters: Iterable[Letter], unaddressed: Mapping[str, str] | None = None
) -> Delivery:
    """Send the e-mail to everybody who does not have it yet, and record who has it and who could not be notified.

    Args:
        record: Says who has it from an earlier attempt.
        letters: The e-mails; each recipient is in one of them.
        unaddressed: Subjects of e-mails without a usable recipient, by the text that takes the place of the address.
    """
    letters, delivered = list(letters), record.delivered()
    posted: dict[str, tuple[Letter, str]] = {}
    for letter in letters:
        for to in letter.to:
            posted.setdefault(to.casefold(), (letter, to))
    missing = [(letter, to) for key, (letter, to) in posted.items() if delivered.get(key) != letter.message.reference]
    subjects = {to: letter.message.subject for letter, to in missing} | dict(unaddressed or {})

    def accepted(letter: Letter, to: str) -> None:
        delivered[to.casefold()] = letter.message.reference
        record.note_delivered(delivered)

    refusals = send([(letter, to) for letter, to in missing if is_address(to)], accepted)
    no_address = [to for _, to in missing if not is_address(to)] + list(unaddressed or {})
    refusals |= {to: Refusal(_NO_ADDRESS if to else _NO_OWNER, for_good=True) for to in no_address}
    undelivered = _undelivered(record, refusals, subjects)
    record.note_undelivered(undelivered)
    _post_to_channels(record, [letter.message for letter in letters])
    return Delivery(tuple(to for _, to in posted.values() if to not in refusals), undelivered)


def _post_to_channels(record: DeliveryRecord, messages: Iterable[Message]) -> None:
    """Post each message once to each channel; what goes wrong is logged, for the e-mails are what counts (R12)."""
    if record.channels is None:
        return
    by_reference = {message.reference: message for message in messages}
    own = replace(record, topic=f"{record.topic}-channels")
    noted: dict[str, str] = {}

    def posted(key: str) -> None:
        noted[key] = key.partition(" ")[2]
        own.note_delivered(noted)

    try:
        # One record serves all runs of some topics: what was posted of earlier news is forgotten.
        noted |= {key: reference for key, reference in own.delivered().items() if reference in by_reference}
        topic = record.topic.partition("-")[0]
        channels.post(record.channels, topic, by_reference.values(), noted.__contains__, posted)
    except Exception as error:  # of Airflow, of a service, of the storage of the record: no move fails because of it
        _log.warning("%s: not every channel has the message: %s: %s", record.run_id, type(error).__name__, error)


def list_undelivered(warehouse: Warehouse) -> list[Undelivered]:
    """List every mail that did not reach somebody, the latest first; maintenance forgets old ones."""
    documents = OperationStore.of(warehouse).documents("undelivered")
    found = [missed for document in documents for missed in _STORED.validate_python(document)]
    return sorted(found, key=lambda missed: (missed.tried_at, missed.recipient), reverse=True)


_NO_ADDRESS = "is not a valid e-mail address"
_NO_OWNER = "the platform names no owner"


def _undelivered(
    record: DeliveryRecord, refusals: Mapping[str, Refusal], subjects: Mapping[str, str]
) -> tuple[Undelivered, ...]:
    tried_at = datetime.now(UTC).replace(microsecond=0)
    return tuple(
        Undelivered(
            recipient=to,
            subject=subjects[to],
            topic=record.topic,
            run_id=record.run_id,
            reason=refusal.reason,
            for_good=refusal.for_good,
            tried_at=tried_at,
        )
        for to, refusal in refusals.items()
    )


def _others(delivered_count: int) -> str:
    return (
        f"{pluralize(delivered_count, 'other recipient has', 'other recipients have')} it." if delivered_count else ""
    )
