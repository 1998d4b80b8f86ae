"""Notifies owners and holders before something expires: once for each clock, and once for each hold (R19, R20).

A notice is information. Whether it reaches anybody decides nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from perennial.audiences.impact import find_impact
from perennial.engines.duckdb import open_status_session
from perennial.notify.addresses import is_address
from perennial.notify.delivery import NOTICE, DeliveryRecord, deliver
from perennial.notify.message import Letter
from perennial.notify.messages import digests_by_owner, sources_without_owner
from perennial.notify.notice_message import ending_holds_message, notice_message
from perennial.notify.notice_report import DueSource, EndingHold, HoldsReport, NoticeReport
from perennial.operations import Run, sources_under_way, wall_clock
from perennial.policy.decisions import Rules, SyncedMetadata, WarehouseState, decide_from
from perennial.policy.holds import Hold, ends_by_source, standing_holds
from perennial.statements import statement
from perennial.tables import NOTICES
from perennial.text import pluralize

if TYPE_CHECKING:
    from perennial.policy.decisions import Decisions
    from perennial.warehouse import Warehouse


@dataclass(frozen=True)
class Ahead:
    """What will be decided NOTICE_DAYS from now, if nothing changes.

    Attributes:
        due: Sources that will be due by then and are not due yet, with when that is.
        holds: Holds that end by then, with how many sources are due then.
        decided: The decisions of today, with their reasons and clocks.
    """

    due: dict[str, datetime]
    holds: dict[str, tuple[Hold, int]]
    decided: dict[str, dict[str, Any]]


def look_ahead(warehouse: Warehouse, now: datetime, days: int) -> Ahead:
    """Decide as of today and as of some days from now: what is kept by then, by whatever, is not due."""
    locked = sources_under_way(warehouse, "restore")
    metadata, state = SyncedMetadata.read(warehouse), WarehouseState.read(warehouse, locked)
    rules, horizon = Rules.from_settings(warehouse), now + timedelta(days=days)
    today, later = (decide_from(metadata, state, at, rules) for at in (now, horizon))
    coming = set(_due(later)) - set(_due(today))
    decided = {row["source_id"]: row for row in _rows_of(today, coming)}
    ends = ends_by_source(today.holds)
    held = Counter(hold["hold_id"] for hold in today.holds.to_pylist() if hold["source_id"] in coming)
    due = {key: max(row["expires_at"], ends.get(key, row["expires_at"])) for key, row in decided.items()}
    ending = {
        hold.hold_id: (hold, held[hold.hold_id])
        for hold in standing_holds(warehouse)
        if hold.until is not None and now < hold.until <= horizon
    }
    return Ahead(due, ending, decided)


def give_notice(
    warehouse: Warehouse,
    run: Run,
    run_url: str | None = None,
    page_url: str | None = None,
    last_attempt: bool = False,
) -> int:
    """Notify every owner of what expires within NOTICE_DAYS, and every holder of their holds that end.

    Args:
        warehouse: Where the run looks ahead.
        run: The run.
        run_url: Address of the run on Airflow's page.
        page_url: Address of the page.
        last_attempt: Whether there is no further attempt; the next daily run tries again in any case.

    Returns:
        How many people have an e-mail.

    Raises:
        TransientDeliveryError: The server refused somebody temporarily, and there is another attempt.
    """
    days = warehouse.settings.notice_days
    if not days:
        return 0
    noticed = _read_noticed(warehouse)
    ahead = look_ahead(warehouse, run.now, days)
    report = NoticeReport(
        run_id=run.run_id, as_of=run.now, notice_days=days, run_url=run_url, page_url=page_url,
        sources=_due_sources(warehouse, ahead, noticed, run.now),
    )  # fmt: skip
    notices = digests_by_owner(report)
    letters = [Letter(message=notice_message(notice), to=(owner,)) for owner, notice in notices.items()]
    # Two e-mails to one person are two topics: somebody who has one may still lack the other.
    delivery = deliver(DeliveryRecord.of(warehouse, NOTICE, run.run_id), letters, _ownerless(report))
    holds = _ending(ahead, noticed)
    reminders = _holds_by_holder(holds, HoldsReport(run_id=run.run_id, holds=(), run_url=run_url, page_url=page_url))
    reminded = deliver(DeliveryRecord.of(warehouse, f"{NOTICE}-holds", run.run_id), reminders)
    _record_notices(warehouse, run, report.sources, holds, {*delivery.delivered, *reminded.delivered})
    for each in (delivery, reminded):
        each.accept_gaps(run.run_id, last_attempt)
    return len(delivery.delivered) + len(reminded.delivered)


def _due(decisions: Decisions) -> list[str]:
    import pyarrow.compute as pc

    return list(decisions.rows.filter(pc.field("decision") == "expire")["source_id"].to_pylist())


def _rows_of(decisions: Decisions, source_ids: Collection[str]) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = ["source_id", "reason", "clock_started_at", "expires_at"]
    chosen = decisions.rows.filter(pc.field("source_id").isin(pa.array(list(source_ids), pa.string())))
    return list(chosen.select(columns).to_pylist())


@dataclass(frozen=True)
class _Noticed:
    """What people were notified of before: clocks of sources, and holds."""

    clocks: frozenset[tuple[str, datetime]]
    hold_ids: frozenset[str]


def _read_noticed(warehouse: Warehouse) -> _Noticed:
    rows = warehouse.read(NOTICES.name).to_pylist()
    return _Noticed(
        frozenset((row["source_id"], row["clock_started_at"]) for row in rows if row["source_id"] is not None),
        frozenset(row["hold_id"] for row in rows if row["hold_id"] is not None),
    )


def _due_sources(warehouse: Warehouse, ahead: Ahead, noticed: _Noticed, now: datetime) -> tuple[DueSource, ...]:
    clocks = {key: ahead.decided[key]["clock_started_at"] for key in ahead.due}
    wanted = [key for key, clock in clocks.items() if (key, clock) not in noticed.clocks]
    if not wanted:
        return ()
    with open_status_session(warehouse) as session:
        binds = {"run_id": "", "as_of": wall_clock(), "would_expire": wanted}
        result = session.execute(statement("moves/report_expired_sources"), binds)
        columns = [column[0] for column in result.description or ()]
        rows = [dict(zip(columns, row, strict=True)) for row in result.fetchall()]
    impact = find_impact(warehouse, wanted, now)
    return tuple(
        DueSource(
            **row | {"reason": ahead.decided[row["source_id"]]["reason"]},
            ends_at=ahead.due[row["source_id"]],
            clock_started_at=clocks[row["source_id"]],
            audiences=tuple(each.sentence() for each in impact.of_source(row["source_id"]) if each.changes),
        )
        for row in rows
    )


def _ownerless(report: NoticeReport) -> dict[str, str]:
    counts: dict[str, int] = {}
    for source in sources_without_owner(report):
        owner = (source.owner_email or "").strip()
        counts[owner] = counts.get(owner, 0) + 1
    return {
        owner: f"{pluralize(count, 'source')} {'expires' if count == 1 else 'expire'} soon"
        for owner, count in counts.items()
    }


def _ending(ahead: Ahead, noticed: _Noticed) -> list[EndingHold]:
    return [
        EndingHold(hold_id=hold.hold_id, what=hold.what, held_by=hold.held_by, reason=hold.reason,
                   ends_at=hold.until, due_count=due_count)
        for hold, due_count in ahead.holds.values()
        if hold.until is not None and hold.hold_id not in noticed.hold_ids
    ]  # fmt: skip


def _holds_by_holder(holds: Iterable[EndingHold], report: HoldsReport) -> list[Letter]:
    held: dict[str, list[EndingHold]] = {}
    for hold in holds:
        held.setdefault(hold.held_by.casefold(), []).append(hold)
    return [
        Letter(message=ending_holds_message(replace(report, holds=tuple(own))), to=(own[0].held_by,))
        for own in held.values()
    ]


def _record_notices(
    warehouse: Warehouse, run: Run, sources: Sequence[DueSource], holds: Sequence[EndingHold], delivered: set[str]
) -> None:
    """Record who was notified; a recipient without an address counts, because tomorrow would be no different."""
    reached = {address.casefold() for address in delivered}

    def is_over(recipient: str) -> bool:
        return recipient.casefold() in reached or not is_address(recipient)

    noted = {"noticed_at": wall_clock(), "run_id": run.run_id}
    rows: list[dict[str, object]] = [
        {"source_id": each.source_id, "clock_started_at": each.clock_started_at, "ends_at": each.ends_at,
         "recipient": (each.owner_email or "").strip(), **noted}
        for each in sources
        if is_over((each.owner_email or "").strip())
    ]  # fmt: skip
    rows += [
        {"hold_id": each.hold_id, "ends_at": each.ends_at, "recipient": each.held_by, **noted}
        for each in holds
        if is_over(each.held_by)
    ]
    warehouse.append_rows(NOTICES.name, rows, f"notice:{run.run_id}:{wall_clock().isoformat()}")
