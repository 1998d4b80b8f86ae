"""What a restore would bring back, how long that takes, and what cannot be restored, before it is requested."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from perennial import text as formatting
from perennial.errors import TerminalRequestError, TerminalSettingError
from perennial.reports import STANDARD, THAW_TIMES
from perennial.statements import statement
from perennial.web.airflow_runs import find_obstacle
from perennial.web.dependencies import PageContext, restoring_sources
from perennial.web.restore_times import ExpectedTime, expect_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import duckdb

    from perennial.moves import RestoreRequest
    from perennial.moves.costs import RestorePrice
    from perennial.moves.requests import RequestedSource

_NAMED_SOURCES = 10


class RefusedError(TerminalRequestError):
    """A restore cannot be started at the moment.

    Attributes:
        run_ids: Runs that are bringing the same sources back.
    """

    def __init__(self, text: str, run_ids: Iterable[str] = ()) -> None:
        super().__init__(text)
        self.run_ids = tuple(run_ids)


@dataclass(frozen=True)
class SourceGroup:
    """Sources with something in common: the reason why they are not restored, or the run that restores them."""

    of: str
    sources: tuple[RequestedSource, ...]


@dataclass(frozen=True)
class Resolved:
    """What a request means at the moment.

    Attributes:
        coming: Sources that would come back.
        under_way: Sources that are being restored already, by run; the run is empty if it is not one of Airflow's.
        staying: Sources of which nothing is restored, by reason.
    """

    coming: tuple[RequestedSource, ...]
    under_way: tuple[SourceGroup, ...]
    staying: tuple[SourceGroup, ...]


@dataclass(frozen=True)
class ExpiringAgain:
    """When restored sources expire again, unless something keeps them.

    Attributes:
        source_count: How many come back.
        first_at: When the first of them expires; None where none does.
        last_at: When the last one does.
        active_count: How many do not expire, because they are active.
    """

    source_count: int
    first_at: datetime | None
    last_at: datetime | None
    active_count: int

    @property
    def sentence(self) -> str:
        """The dates as a sentence."""
        one = self.source_count == 1
        if self.first_at is None or self.last_at is None:
            return f"{'It does' if one else 'They do'} not expire while {'it is' if one else 'they are'} active."
        first, last = formatting.day(self.first_at), formatting.day(self.last_at)
        when = f"on {first}" if first == last else f"between {first} and {last}"
        they, are = ("It", "it is") if one else ("They", "they are")
        dates = f"{they} will expire again {when}, unless {are} active or used by an active audience then."
        if not self.active_count:
            return dates
        verb = "is active and does not expire" if self.active_count == 1 else "are active and do not expire"
        return f"{dates} {formatting.pluralize(self.active_count, 'source')} {verb} until stopped."


@dataclass(frozen=True)
class Preview:
    """What one request would do.

    Attributes:
        request: The request, without the sources that are being restored already.
        resolved: What it means; None if it names something unknown.
        row_count: Interactions that would come back.
        total_bytes: Their size.
        again: When that expires again; None if nothing is restored.
        expected: How long it takes, estimated from earlier restores; None if nothing is restored.
        price: What it costs; None if nothing is restored, or the archive is not on S3.
        cost: The same as a sentence, or why it is unknown.
        thaw: How long the archive needs before that; empty if its data can be read at once.
        refusal: Why it cannot be requested; empty if it can.
    """

    request: RestoreRequest
    resolved: Resolved | None
    row_count: int = 0
    total_bytes: int = 0
    again: ExpiringAgain | None = None
    expected: ExpectedTime | None = None
    price: RestorePrice | None = None
    cost: str = ""
    thaw: str = ""
    refusal: str = ""


def resolve_restore(context: PageContext, request: RestoreRequest, at_once: bool = False) -> Resolved:
    """Find out what a request means.

    Args:
        context: The request's context.
        request: The request.
        at_once: As for `restoring_sources`.

    Raises:
        TerminalRequestError: Names all unknown ids and tags.
    """
    from perennial.moves.requests import resolve_in

    # Opening a status session takes seconds where there are many files; the run resolves the request again (R11).
    with context.snapshot.cursor() as cursor:
        sources = resolve_in(cursor, request)
    restorable = [source for source in sources if source.comes_back]
    runs = restoring_sources(context, at_once) if restorable else {}
    return Resolved(
        coming=tuple(source for source in restorable if source.source_id not in runs),
        under_way=_groups((runs[source.source_id], source) for source in restorable if source.source_id in runs),
        staying=_groups((source.outcome, source) for source in sources if not source.comes_back),
    )


def refuse_restore(context: PageContext, resolved: Resolved, under_way: bool = True) -> None:
    """Accept a request only if it can be started and restores something that is not being restored already.

    Args:
        context: The request's context.
        resolved: What the request means.
        under_way: Whether to refuse it if some of the sources are being restored already; if all are, it is refused.

    Raises:
        RefusedError: Says why not, and what to do.
        TerminalRequestError: Everything was deleted under the previous policy (R18).
    """
    from perennial.moves.requests import refuse_deleted

    if obstacle := find_obstacle(context.session):
        raise RefusedError(obstacle)
    moving = [source for group in resolved.under_way for source in group.sources]
    if moving and (under_way or not resolved.coming):
        rest = f" Leave them out to restore the other {len(resolved.coming):,}." if resolved.coming else ""
        raise RefusedError(
            f"A restore of {_named(moving)} is already under way.{rest}",
            (group.of for group in resolved.under_way if group.of),
        )
    if not resolved.coming:
        staying = [source for group in resolved.staying for source in group.sources]
        refuse_deleted(staying)
        reasons = "; ".join(f"{_named(group.sources)}: {group.of}" for group in resolved.staying)
        raise RefusedError(f"There is nothing to restore ({reasons}).")


def preview_restore(context: PageContext, request: RestoreRequest) -> Preview:
    """Find out what a request would do, without checking its addresses."""
    try:
        resolved = resolve_restore(context, request)
    except TerminalRequestError as error:
        return Preview(request, None, refusal=str(error))
    preview = Preview(_left(request, resolved), resolved, refusal=_refusal(context, resolved))
    if not resolved.coming:
        return preview
    coming = [source.source_id for source in resolved.coming]
    with context.snapshot.cursor() as cursor:
        (total_bytes,) = cursor.execute(statement("web/sum_archived_bytes"), {"source_ids": coming}).fetchall()[0]
        again = _expiring_again(cursor, coming, datetime.now(UTC), context.warehouse.settings.retention_months)
    price, unpriced = _price(context, coming)
    return replace(
        preview,
        price=price,
        cost=price.sentence if price else unpriced,
        row_count=sum(source.archived_rows for source in resolved.coming),
        total_bytes=total_bytes,
        again=again,
        expected=expect_time(context, total_bytes),
        thaw=_thaw(context.warehouse.settings.archive_storage_class or ""),
    )


def _price(context: PageContext, source_ids: Sequence[str]) -> tuple[RestorePrice | None, str]:
    """Estimate what a restore costs, or say why that is unknown."""
    from perennial.moves.costs import restore_price

    try:
        return restore_price(context.warehouse, source_ids, STANDARD), ""
    except TerminalSettingError as error:
        return None, f"Unknown: {error}"


def _refusal(context: PageContext, resolved: Resolved) -> str:
    try:
        refuse_restore(context, resolved, under_way=False)
    except TerminalRequestError as error:
        return str(error)
    return context.obstacle


def _left(request: RestoreRequest, resolved: Resolved) -> RestoreRequest:
    """A request without the sources that are being restored: its tags become the sources that have them now."""
    if not resolved.under_way:
        return request
    left = [*resolved.coming, *(source for group in resolved.staying for source in group.sources)]
    return replace(request, source_ids=tuple(source.source_id for source in left), tags=())


def _groups(pairs: Iterable[tuple[str, RequestedSource]]) -> tuple[SourceGroup, ...]:
    groups: dict[str, list[RequestedSource]] = {}
    for of, source in pairs:
        groups.setdefault(of, []).append(source)
    return tuple(SourceGroup(of, tuple(sources)) for of, sources in groups.items())


def _named(sources: Iterable[RequestedSource]) -> str:
    ids = [repr(source.source_id) for source in sources]
    more = f" and {len(ids) - _NAMED_SOURCES:,} more" if len(ids) > _NAMED_SOURCES else ""
    return f"{', '.join(ids[:_NAMED_SOURCES])}{more}"


def _thaw(storage_class: str) -> str:
    """Say how long a storage class needs before data can be read; empty if it can be read at once."""
    times = THAW_TIMES.get((storage_class, STANDARD))
    return f"The archive ({storage_class}) has to thaw it first: usually {formatting.span(*times)}." if times else ""


def _expiring_again(
    cursor: duckdb.DuckDBPyConnection, source_ids: Sequence[str], now: datetime, months: int
) -> ExpiringAgain:
    """Find out when some sources would expire again.

    Args:
        cursor: With view `known_sources`.
        source_ids: The sources to restore.
        now: When they are restored.
        months: PERENNIAL_RETENTION_MONTHS.
    """
    from perennial.engines.duckdb import create_views, open_connection

    chosen = {"source_ids": list(source_ids)}
    known = cursor.sql(statement("web/select_known_sources"), params=chosen).to_arrow_table()
    with open_connection() as connection:
        connection.register("known_sources", known)
        connection.sql(statement("web/list_moves_if_restored"), params={**chosen, "now": now}).create("source_moves")
        connection.execute(statement("views/create_retention"), {"months": months})
        create_views(connection, ["source_states"])
        first_at, last_at, active_count = connection.execute(statement("web/sum_expiry_days")).fetchall()[0]
    return ExpiringAgain(len(source_ids), first_at, last_at, active_count)
