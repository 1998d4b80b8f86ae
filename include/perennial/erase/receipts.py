"""What is noted of a request while it is carried out, and the receipt at its end: documents that name nobody (R22).

They lie in `operations/receipts/` for good: `<request>.json`, and `<request>.txt` as it is filed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from perennial.notify import DeliveryRecord, Letter, deliver
from perennial.notify.delivery import ERASURE
from perennial.notify.erasure_message import receipt_text, receipts_message
from perennial.notify.erasure_report import PlaceCount, Receipt
from perennial.operations import OperationStore, Run
from perennial.settings import dag_id
from perennial.storage import storage_for

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse


_TOPIC, _UNSENT = "receipts", "unsent-receipts"
_MOMENTS = ("requested_at", "due_at", "verified_at")
_TEXTS = ("notify", "checked", "to_let_go", "airflow")


def notes_of(warehouse: Warehouse, request_id: str) -> dict[str, Any]:
    """Return what is noted of a request: `approved_by`, `by_hand`, `is_searched`, `found`, `removed_by`, `receipt`."""
    return dict(OperationStore.of(warehouse).find(_TOPIC, request_id) or {})


def note(warehouse: Warehouse, request_id: str, **changed: Any) -> None:
    """Note something of a request."""
    notes = notes_of(warehouse, request_id)
    if {**notes, **changed} != notes:
        OperationStore.of(warehouse).put(_TOPIC, {**notes, **changed}, request_id)


def note_found(warehouse: Warehouse, request_id: str, run_id: str, counts: Iterable[PlaceCount]) -> None:
    """Note what a run has found of a request before it removes that.

    A repetition, which finds less, changes nothing. What an earlier run has found and left, it has not removed.
    """
    now = {count.place: count for count in counts}
    notes = notes_of(warehouse, request_id)
    found = _found(notes)
    for earlier, its in found.items():
        if earlier != run_id and earlier not in notes.get("removed_by", ()):
            found[earlier] = {name: _less(count, now.get(name)) for name, count in its.items()}
    mine = found.get(run_id, {})
    found[run_id] = {**now, **mine}
    note(warehouse, request_id, found={run: [asdict(count) for count in its.values()] for run, its in found.items()})


def note_removed(warehouse: Warehouse, request_id: str, run_id: str) -> None:
    """Note that a run has removed all that it found; what is found later came later."""
    note(warehouse, request_id, removed_by=sorted({*notes_of(warehouse, request_id).get("removed_by", ()), run_id}))


def removed(warehouse: Warehouse, request_id: str) -> tuple[PlaceCount, ...]:
    """Add up what all runs have removed of a request, by place."""
    found = _found(notes_of(warehouse, request_id))
    return sum_up(count for its in found.values() for count in its.values())


def sum_up(counts: Iterable[PlaceCount]) -> tuple[PlaceCount, ...]:
    """Add up counts of the same place, and leave out those of nothing."""
    total: dict[str, PlaceCount] = {}
    for count in counts:
        before = total.get(count.place, replace(count, row_count=0, file_count=0))
        total[count.place] = before.plus(count.row_count, count.file_count)
    return tuple(count for count in total.values() if count.row_count or count.file_count)


def _found(notes: Mapping[str, Any]) -> dict[str, dict[str, PlaceCount]]:
    return {
        run_id: {fields["place"]: PlaceCount(**fields) for fields in counts}
        for run_id, counts in notes.get("found", {}).items()
    }


def _less(count: PlaceCount, left: PlaceCount | None) -> PlaceCount:
    return count if left is None else count.plus(-left.row_count, -left.file_count)


def keep_receipt(warehouse: Warehouse, receipt: Receipt) -> None:
    """Write a receipt, as it is filed and as it is shown later; the first one of a request stays."""
    if notes_of(warehouse, receipt.request_id).get("receipt"):
        return
    uri = _text_uri(warehouse, receipt.request_id)
    storage_for(uri).write(uri, receipt_text(receipt).encode("utf-8", "backslashreplace"))
    recipients = {address.casefold(): address for address in (*receipt.notify, *warehouse.settings.erasure_notify)}
    unsent = {"request_id": receipt.request_id, "to": list(recipients.values())}
    OperationStore.of(warehouse).put(_UNSENT, unsent, receipt.request_id)
    fields = asdict(receipt) | {name: getattr(receipt, name).isoformat() for name in _MOMENTS}
    note(warehouse, receipt.request_id, receipt=fields)


def find_receipt(warehouse: Warehouse, request_id: str) -> Receipt | None:
    """Return the receipt of a request; None where it has none yet."""
    fields: Mapping[str, Any] | None = notes_of(warehouse, request_id).get("receipt")
    if fields is None:
        return None
    kept: dict[str, Any] = {name: datetime.fromisoformat(fields[name]) for name in _MOMENTS}
    kept |= {name: tuple(fields[name]) for name in _TEXTS}
    return Receipt(**{**fields, **kept, "found": tuple(PlaceCount(**count) for count in fields["found"])})


def mail_receipts(warehouse: Warehouse, run: Run, run_url: str | None, last_attempt: bool) -> int:
    """Send receipts to the recipients who do not have them yet: one e-mail each, with all of their receipts.

    Args:
        warehouse: Whose receipts they are.
        run: The run that sends them.
        run_url: Address of the run on Airflow's page.
        last_attempt: Whether there is no further attempt in this run; the next run tries again.

    Returns:
        How many people have an e-mail.

    Raises:
        TransientDeliveryError: The server refused somebody temporarily, and there is another attempt.
    """
    store = OperationStore.of(warehouse)
    unsent = {waiting["request_id"]: waiting["to"] for waiting in store.documents(_UNSENT)}
    by_recipient: dict[str, list[Receipt]] = {}
    for request_id, recipients in sorted(unsent.items()):
        if (receipt := find_receipt(warehouse, request_id)) is not None:
            for to in recipients:
                by_recipient.setdefault(to, []).append(replace(receipt, run_url=run_url))
    letters = [Letter(message=receipts_message(own), to=(to,)) for to, own in by_recipient.items()]
    delivery = deliver(DeliveryRecord.of(warehouse, ERASURE, f"{run.run_id} receipts"), letters)
    later = {missed.recipient for missed in delivery.undelivered if not missed.for_good}
    for request_id, recipients in unsent.items():
        if left := [to for to in recipients if to in later]:
            store.put(_UNSENT, {"request_id": request_id, "to": left}, request_id)
        else:
            store.remove(_UNSENT, request_id)
    delivery.accept_gaps(run.run_id, last_attempt)
    return len(delivery.delivered)


def what_airflow_keeps(run_ids: Sequence[str], until: datetime) -> tuple[str, ...]:
    """Say what Airflow keeps of runs that were given ids as params, and how it is cleaned.

    Args:
        run_ids: These runs; a request that was opened outside a run leaves no id in Airflow.
        until: A moment after their end.
    """
    if not run_ids:
        return ()
    dag = dag_id("erase_users")
    named = ", ".join(run_ids)
    of_dag, option = "the DAG", f"--dag-ids {dag} "
    if version("apache-airflow-core").startswith("3.1."):
        of_dag, option = "every DAG (Airflow 3.1 cannot choose one)", ""
    return (
        f"The ids were given as params of the DAG {dag} (run {named}), so Airflow's own database holds them: the "
        "conf of the run, and the audit log of who triggered it. Once the run has ended, this command of Airflow "
        f"deletes both, for all runs of {of_dag} until then: airflow db clean --tables dag_run,log {option}"
        f"--clean-before-timestamp '{until:%Y-%m-%dT%H:%M:%S+00:00}' --skip-archive --yes. A proxy or a shell that "
        "has passed the ids on may keep them as well. `perennial erase` leaves none.",
    )


def _text_uri(warehouse: Warehouse, request_id: str) -> str:
    return f"{warehouse.operations_uri()}/{_TOPIC}/{request_id}.txt"
