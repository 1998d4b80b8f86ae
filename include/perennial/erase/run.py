"""The steps of a run of `erase_users`: each can be killed and repeated, and passes on an address and counts (R22).

A run carries out all requests that are approved, in one pass. Its batch is a document that names the requests; who the
people are stands only in the documents of the requests, which are deleted at the end.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from perennial.erase.everywhere import find_everywhere, purge_everywhere, remove_everywhere, verify_everywhere
from perennial.erase.external_ids import known_users, search_interactions
from perennial.erase.locate import digest_new_files
from perennial.erase.open_requests import RequestState, decide, find_state, request_states
from perennial.erase.opening import (
    EraseParams,
    open_erasure,
    open_erasures,
    person_count,
    read_erasure,
    refuse_naming,
    resolved,
)
from perennial.erase.people import People
from perennial.erase.receipts import (
    keep_receipt,
    mail_receipts,
    note,
    note_found,
    note_removed,
    notes_of,
    removed,
    what_airflow_keeps,
)
from perennial.erase.retrieval import report_found, request_retrieval, retrieval_cost, retrieve_at
from perennial.erasures import ErasureRequest, read_request, remove_request
from perennial.erasures.hashes import erasure_key
from perennial.erasures.requests import PLATFORM, Event, Step, record_events, write_request, written_requests
from perennial.errors import TerminalRequestError
from perennial.moves.thaw import Files
from perennial.notify.erasure_report import FoundReport, PlaceCount, Receipt
from perennial.operations import OperationStore, Run, hashed_name, wall_clock
from perennial.settings import PREFIX
from perennial.storage.s3_cold import COLD_CLASSES
from perennial.text import pluralize

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)

_TOPIC = "erasing"
_AT_WORK = ("approved", "located", "waiting", "removed", "purged")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The requests that a run carries out.

    Attributes:
        run_id: The run.
        request_ids: The requests.
        retrieve: Whether to retrieve cold files now.
        cold: Source and size of the files that could not be read when the run looked, by address.
        waiting: Ids of the requests that have to wait for these files.
        found: What there was of these people.
        removed: Ids of the requests whose people are gone from tables and files.
        purged: Ids of those of them whose people are gone from earlier files too.
        kept: What nothing here can remove, one sentence each.
        checked: What was read to verify it; empty until something was.
        remaining: What was still found, one sentence each.
    """

    run_id: str
    request_ids: tuple[str, ...]
    retrieve: bool = False
    found: tuple[PlaceCount, ...] = ()
    cold: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    waiting: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    purged: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    checked: tuple[str, ...] = ()
    remaining: tuple[str, ...] = ()


def begin(warehouse: Warehouse, params: Mapping[str, Any], run: Run) -> str:
    """Open or decide about the request that a run was given, if any, and choose which requests the run carries out.

    Returns:
        Address of the batch; empty in a dry run.

    Raises:
        TerminalRequestError: The request cannot be carried out, is unknown, refused, or waits for approval.
    """
    asked = EraseParams.from_params(params)
    if asked.dry_run:
        return ""
    named = asked.request_id
    if asked.names_people:
        named = _open_by_hand(warehouse, params, run)
    if asked.decision:
        decide(warehouse, named, asked.decision, run.requested_by or "unknown", asked.reason)
    _see_to_documents(warehouse)
    if named and asked.decision != "refuse":
        _refuse_undecided(find_state(warehouse, named))
    chosen = tuple(state.request_id for state in request_states(warehouse) if state.state in _AT_WORK)
    log.info("%s: %s to carry out", run.run_id, pluralize(len(chosen), "request"))
    batch = Batch(run_id=run.run_id, request_ids=chosen, retrieve=asked.retrieve)
    return OperationStore.of(warehouse).put(_TOPIC, asdict(batch), hashed_name(run.run_id))


def locate(warehouse: Warehouse, batch_uri: str) -> dict[str, int]:
    """Find what there is of everybody, and which files have to be thawed before that is known; returns counts."""
    batch, requests = _open(warehouse, batch_uri)
    if not requests:
        # What expires next would have no digest, and be retrieved by each request.
        if warehouse.settings.archive_storage_class in COLD_CLASSES:
            digest_new_files(warehouse)
        return {}
    found = find_everywhere(warehouse, requests)
    for request in requests:
        note_found(warehouse, request.request_id, batch.run_id, found.of([request]))
    _record(warehouse, requests, "located", {"cold_files": len(found.cold)})
    waiting = tuple(one.request_id for one in requests if not found.cold_users.isdisjoint(one.user_ids))
    own = found.of(_among(requests, waiting))
    _write(batch_uri, replace(batch, found=own, cold=found.cold, waiting=waiting))
    return _counted(found.of(requests), found.cold)


def find_only(warehouse: Warehouse, params: Mapping[str, Any], run: Run, run_url: str | None = None) -> FoundReport:
    """Report what a run would remove: of the people in its params, of a request, or of all that are approved.

    Nothing is opened and nothing is removed.
    """
    asked = EraseParams.from_params(params)
    people = None
    if asked.names_people:
        requests = [read_erasure(warehouse, params, run.requested_by or "unknown")]
        # Without a document, which would open the request, nothing is noted of them.
        people = People(frozenset(requests[0].user_ids), frozenset(requests[0].external_user_ids))
    else:
        at_work = [state.request_id for state in request_states(warehouse) if state.state in _AT_WORK]
        # One that waits for approval can be looked at, too: what it would remove may decide that.
        named = [find_state(warehouse, asked.request_id).request_id] if asked.request_id else at_work
        requests = [resolved(warehouse, request) for request in _readable(warehouse, named)]
    found = find_everywhere(warehouse, requests, people)
    report = _found_report(warehouse, run, requests, found.of(requests), found.cold, run_url)
    log.info("%s: %s", run.run_id, _counted(report.found, found.cold))
    return replace(report, dry_run=True, request_ids=() if asked.names_people else report.request_ids)


def _counted(found: Iterable[PlaceCount], cold: Files) -> dict[str, int]:
    return {**{count.place: count.row_count for count in found}, "cold files": len(cold)}


def retrieve(warehouse: Warehouse, batch_uri: str, run: Run, run_url: str | None = None) -> int:
    """Request the cold files of all requests if it is time, and report the cost first; returns how many files wait."""
    batch, opened = _open(warehouse, batch_uri)
    requests = _among(opened, batch.waiting)
    if not batch.cold or not requests:
        return 0
    states = request_states(warehouse, [request.request_id for request in requests])
    is_requested = request_retrieval(warehouse, run, batch_uri, batch.cold, states, now=batch.retrieve)
    _record(warehouse, requests, "waiting", {"cold_files": len(batch.cold)})
    report = _found_report(warehouse, run, requests, batch.found, batch.cold, run_url)
    report = replace(report, is_requested=is_requested, retrieve_at=retrieve_at(states))
    report_found(warehouse, report, [to for request in requests for to in request.notify])
    return len(batch.cold)


def _found_report(
    warehouse: Warehouse,
    run: Run,
    requests: Sequence[ErasureRequest],
    found: Sequence[PlaceCount],
    cold: Files,
    run_url: str | None,
) -> FoundReport:
    sizes = [size for _, size in cold.values()]
    return FoundReport(
        request_ids=tuple(request.request_id for request in requests),
        person_count=sum(person_count(request) for request in requests),
        found=tuple(found),
        cold_file_count=len(sizes),
        cold_bytes=sum(sizes),
        cost=retrieval_cost(warehouse, sizes),
        run_id=run.run_id,
        run_url=run_url,
    )


def remove(warehouse: Warehouse, batch_uri: str) -> dict[str, int]:
    """Remove what can be removed now; returns counts. What is cold, or what a move keeps, is left to a later run."""
    batch, requests = _open(warehouse, batch_uri)
    if not requests:
        return {}
    done = remove_everywhere(warehouse, requests)
    for sentence in done.left:
        log.warning("%s: %s", batch.run_id, sentence)
    for request in requests if not done.moving else ():
        note_removed(warehouse, request.request_id, batch.run_id)
    _record(warehouse, _among(requests, done.complete), "removed", {"rows": done.counts})
    _write(batch_uri, replace(batch, removed=done.complete, kept=done.kept))
    return done.counts


def purge(warehouse: Warehouse, batch_uri: str) -> dict[str, int]:
    """Purge earlier snapshots and files that still reach what was removed; returns counts."""
    batch, requests = _open(warehouse, batch_uri)
    if not requests:
        return {}
    purged = purge_everywhere(warehouse, requests)
    complete = _among(requests, batch.removed)
    # What remains of those who wait must not keep the others from their receipts.
    remaining = purged.remaining
    if remaining and 0 < len(complete) < len(requests):
        remaining = purge_everywhere(warehouse, complete).remaining
    gone = () if remaining else complete
    _record(warehouse, gone, "purged", {"files": len(purged.files)})
    for sentence in (*map(str, purged.remaining), *purged.under_way):
        log.warning("%s: %s", batch.run_id, sentence)
    purged_ids = tuple(request.request_id for request in gone)
    _write(batch_uri, replace(batch, purged=purged_ids, kept=_each_once(batch.kept, purged.kept)))
    return {"files": len(purged.files), "remaining": len(purged.remaining)}


def verify(warehouse: Warehouse, batch_uri: str) -> int:
    """Read everything that could hold anybody, if all was removed and purged; returns how much was still found."""
    batch, requests = _open(warehouse, batch_uri)
    complete = _among(requests, batch.purged)
    if not complete:
        return 0
    verified = verify_everywhere(warehouse, complete)
    for sentence in verified.remaining:
        log.warning("%s: %s", batch.run_id, sentence)
    kept = _each_once(batch.kept, verified.kept)
    _write(batch_uri, replace(batch, kept=kept, checked=verified.checked, remaining=verified.remaining))
    return len(verified.remaining)


def send_receipts(
    warehouse: Warehouse, batch_uri: str, run: Run, run_url: str | None = None, last_attempt: bool = False
) -> int:
    """End the requests of which nothing was found any more: receipt, state, document; then the e-mails.

    Returns:
        How many people have an e-mail.
    """
    batch, requests = _open(warehouse, batch_uri)
    if batch.checked and not batch.remaining:
        complete = _among(requests, batch.purged)
        for request in complete:
            keep_receipt(warehouse, _receipt(warehouse, request, batch))
        _record(warehouse, complete, "verified", {})
        for request in complete:
            remove_request(warehouse, request.request_id)
    return mail_receipts(warehouse, run, run_url, last_attempt)


def _receipt(warehouse: Warehouse, request: ErasureRequest, batch: Batch) -> Receipt:
    notes, now = notes_of(warehouse, request.request_id), wall_clock()
    by_platform = request.origin == PLATFORM
    return Receipt(
        request_id=request.request_id,
        requested_by="the messaging platform" if by_platform else request.requested_by,
        approved_by=notes.get("approved_by", "") if by_platform else "",
        reason=request.reason,
        requested_at=request.requested_at,
        due_at=request.due_at,
        verified_at=now,
        person_count=person_count(request),
        found=removed(warehouse, request.request_id),
        checked=batch.checked,
        to_let_go=batch.kept,
        airflow=what_airflow_keeps(notes.get("by_hand", ()), now),
        notify=request.notify,
        run_id=batch.run_id,
    )


def _open(warehouse: Warehouse, batch_uri: str) -> tuple[Batch, list[ErasureRequest]]:
    """Read a batch, and those of its requests that are not over."""
    content = OperationStore.get(batch_uri)
    names = ("request_ids", "waiting", "removed", "purged", "kept", "checked", "remaining")
    lists = {name: tuple(content[name]) for name in names}
    cold = {uri: (source_id, size) for uri, (source_id, size) in content["cold"].items()}
    found = tuple(PlaceCount(**count) for count in content["found"])
    batch = Batch(**{**content, **lists, "found": found, "cold": cold})
    return batch, _readable(warehouse, batch.request_ids)


def _readable(warehouse: Warehouse, request_ids: Iterable[str]) -> list[ErasureRequest]:
    found = (read_request(warehouse, request_id) for request_id in request_ids)
    return [request for request in found if request is not None]


def _among(requests: Iterable[ErasureRequest], request_ids: Collection[str]) -> list[ErasureRequest]:
    return [request for request in requests if request.request_id in request_ids]


def _record(warehouse: Warehouse, requests: Iterable[ErasureRequest], event: Event, detail: dict[str, object]) -> None:
    key = erasure_key(warehouse.settings)
    record_events(
        warehouse,
        [Step(request.request_id, frozenset(request.hashes(key).values()), event, detail) for request in requests],
    )


def _each_once(*sentences: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sentence for some in sentences for sentence in some))


def _write(batch_uri: str, batch: Batch) -> None:
    OperationStore.write(batch_uri, asdict(batch))


def _open_by_hand(warehouse: Warehouse, params: Mapping[str, Any], run: Run) -> str:
    """Open the request of a run that was given ids, once however often the task is repeated; returns its id."""
    refuse_naming({**params, "run_id": run.run_id})
    request_id = hashed_name("erase_users", run.run_id)[:32]
    if not request_states(warehouse, [request_id]):
        # So that the receipt can say how Airflow is cleaned, before anything else is known of the request.
        note(warehouse, request_id, by_hand=[run.run_id])
        open_erasure(warehouse, read_erasure(warehouse, params, run.requested_by or "unknown", request_id))
    return request_id


def _see_to_documents(warehouse: Warehouse) -> None:
    """Record requests that are only written down, find out who else they are about, and finish deletions."""
    over = {state.request_id for state in request_states(warehouse) if state.is_over}
    approvers: dict[ErasureRequest, str] = {}
    by_setting = f"{PREFIX}ERASE_ON_PLATFORM_REQUEST" if warehouse.settings.erase_on_platform_request else ""
    written = written_requests(warehouse)
    for request in written:
        if request.request_id in over:
            remove_request(warehouse, request.request_id)
    pending = [request for request in written if request.request_id not in over]
    searched_for = {request.request_id: _unknown(warehouse, request) for request in pending}
    # In one pass for all requests: it reads both tables.
    searched = search_interactions(warehouse, set().union(*searched_for.values()))
    for request in pending:
        found, unknown = resolved(warehouse, request), searched_for[request.request_id]
        if unknown:
            more = {user_id for external_id in unknown for user_id in searched.get(external_id, ())}
            found = replace(found, user_ids=(*found.user_ids, *sorted(more)))
        if found != request:
            write_request(warehouse, found)
        if unknown:
            note(warehouse, found.request_id, is_searched=True)
        approver = ""
        if found.origin == PLATFORM and not (approver := notes_of(warehouse, found.request_id).get("approved_by", "")):
            approver = by_setting
            if by_setting:
                note(warehouse, found.request_id, approved_by=by_setting)
        approvers[found] = approver
    open_erasures(warehouse, approvers)


def _unknown(warehouse: Warehouse, request: ErasureRequest) -> set[str]:
    """Return the external ids that `users` does not know, unless they were searched for before."""
    if not request.external_user_ids or notes_of(warehouse, request.request_id).get("is_searched"):
        return set()
    return set(request.external_user_ids) - known_users(warehouse, request.external_user_ids).keys()


def _refuse_undecided(state: RequestState) -> None:
    if state.state == "requested":
        raise TerminalRequestError(
            f"Request {state.request_id} of the messaging platform waits for approval: run `perennial erase --approve "
            f"{state.request_id}` first. Nothing was removed."
        )
    if state.state == "refused":
        raise TerminalRequestError(f"Request {state.request_id} was refused; make another one. Nothing was removed.")
