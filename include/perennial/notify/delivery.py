"""Telling people once: who has a mail already is remembered beside the run's notes, and who could not be told is too.

A recipient is noted as soon as the server has taken the mail. A process that dies between the two sends that one mail
a second time, under the same Message-ID; nobody else gets a second one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from perennial.errors import TerminalDeliveryError, TransientDeliveryError
from perennial.notify.addresses import is_address
from perennial.notify.message import Letter
from perennial.notify.smtp import Refusal, send
from perennial.storage import storage_for
from perennial.text import pluralize

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

RESTORE, THAW, LATE, EXPIRY, EXPORT = "restore", "thaw", "late", "expiry", "export"


@dataclass(frozen=True, kw_only=True)
class Undelivered:
    """One mail that did not reach somebody.

    Attributes:
        recipient: The address, or what the platform has instead of one; empty where it has none.
        subject: Of the mail.
        topic: restore, thaw, late, expiry or export.
        run_id: Run that had something to tell.
        reason: The server's words, or what is wrong with the address.
        for_good: Whether trying again is of no use before somebody has changed something.
        tried_at: Wall clock of the last attempt, ISO 8601.
    """

    recipient: str
    subject: str
    topic: str
    run_id: str
    reason: str
    for_good: bool
    tried_at: str


@dataclass(frozen=True)
class Delivery:
    """What became of the mails of one run.

    Attributes:
        delivered: Recipients who have the mail, from this attempt or an earlier one.
        undelivered: The others.
    """

    delivered: tuple[str, ...] = ()
    undelivered: tuple[Undelivered, ...] = ()

    @property
    def is_worth_repeating(self) -> bool:
        """Whether somebody was refused only for now."""
        return any(not missed.for_good for missed in self.undelivered)

    def refuse_gaps(self) -> None:
        """Let it pass only if everybody has the mail.

        Raises:
            TransientDeliveryError: Somebody was refused for now; names everybody who could not be told.
            TerminalDeliveryError: All who could not be told were refused for good; names them.
        """
        if not self.undelivered:
            return
        text = f"{describe(self.undelivered)} {_others(len(self.delivered))}"
        if self.is_worth_repeating:
            raise TransientDeliveryError(f"{text} The rest is tried again with the task, and nobody is told twice.")
        raise TerminalDeliveryError(
            f"{text} Tell them another way; or correct what is wrong, and clear the task to send them the mail."
        )


def describe(undelivered: Iterable[Undelivered]) -> str:
    """Name everybody who could not be told, and why."""
    missed = [f"{each.recipient or 'an owner'} ({each.reason})" for each in undelivered]
    return f"The mail did not reach {'; '.join(missed)}."


@dataclass(frozen=True)
class DeliveryRecord:
    """Where it is written down who has the mails of one topic of one run.

    Attributes:
        topic: restore, thaw, late, expiry or export.
        run_id: The run.
        root: Directory of the workspace's notes; None where nothing can be remembered.
    """

    topic: str
    run_id: str
    root: str | None

    @classmethod
    def of(cls, warehouse: Warehouse, topic: str, run_id: str) -> DeliveryRecord:
        """Return the record of one topic of one run in a workspace."""
        return cls(topic, run_id, warehouse.operations_uri())

    def delivered(self) -> dict[str, str]:
        """Return who has a mail, by recipient, and which: its reference."""
        return dict(_read(self._uri("deliveries"))) if self.root else {}

    def undelivered(self) -> list[Undelivered]:
        """Return who could not be told in the latest attempt."""
        return [Undelivered(**each) for each in _read(self._uri("undelivered"))] if self.root else []

    def note_delivered(self, delivered: Mapping[str, str]) -> None:
        """Write down who has a mail."""
        if self.root:
            _write(self._uri("deliveries"), delivered)

    def note_undelivered(self, undelivered: Iterable[Undelivered]) -> None:
        """Write down who could not be told; an empty list replaces an earlier one, as not every role may delete."""
        missed = [asdict(each) for each in undelivered]
        if self.root and (missed or self.undelivered()):
            _write(self._uri("undelivered"), missed)

    def _uri(self, directory: str) -> str:
        # A run id may hold any character, and so may not become a path.
        name = hashlib.sha256(f"{self.topic}\n{self.run_id}".encode("utf-8", "surrogatepass")).hexdigest()
        return f"{self.root}/{directory}/{name}.json"


def deliver(
    record: DeliveryRecord, letters: Iterable[Letter], unaddressed: Mapping[str, str] | None = None
) -> Delivery:
    """Send everybody their mail who does not have it, and write down who has and who could not be told.

    Args:
        record: Who has it from an earlier attempt.
        letters: The mails; a recipient is in one of them.
        unaddressed: Subjects of mails that have no recipient who can be written to, by what stands for their address.
    """
    delivered = record.delivered()
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
    return Delivery(tuple(to for _, to in posted.values() if to not in refusals), undelivered)


def list_undelivered(warehouse: Warehouse) -> list[Undelivered]:
    """List every mail that did not reach somebody, the latest first; maintenance forgets old ones."""
    prefix = f"{warehouse.operations_uri()}/undelivered"
    found = [Undelivered(**each) for stored in storage_for(prefix).list_files(prefix) for each in _read(stored.uri)]
    return sorted(found, key=lambda missed: (missed.tried_at, missed.recipient), reverse=True)


_NO_ADDRESS = "is no e-mail address that can be written to"
_NO_OWNER = "the platform names no owner"


def _undelivered(
    record: DeliveryRecord, refusals: Mapping[str, Refusal], subjects: Mapping[str, str]
) -> tuple[Undelivered, ...]:
    tried_at = datetime.now(UTC).isoformat(timespec="seconds")
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


def _write(uri: str, content: object) -> None:
    """Write a note, in plain ASCII: what stands for an address may hold anything."""
    storage_for(uri).write(uri, json.dumps(content).encode())


def _read(uri: str) -> Any:
    try:
        return json.loads(storage_for(uri).read(uri))
    except FileNotFoundError:
        return []
