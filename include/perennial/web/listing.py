"""Which sources a list shows: search, filters, order and page, read from the address and checked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Query

from perennial.errors import TerminalRequestError
from perennial.policy.decisions import SOURCE_KINDS, STATUSES
from perennial.web.pages import segment

if TYPE_CHECKING:
    import polars as pl

    from perennial.web.source_index import Listed

PAGE_SIZE = 50
DUE_DAYS = 30
_ADDRESS_CHARACTERS = 6_000
# How many answers are cached while the sources stay the same: turning pages repeats the same query.
_CACHED_QUERIES = 16
DUE, KEPT = "due", "kept"
VANISHED = "vanished"
"""The status of a source that the platform no longer has."""
STATES = ("available", DUE, KEPT, "expired", "restoring", "deleted")
"""Values of the state filter; of the available sources, `due` expire within `DUE_DAYS` days, and `kept` would expire
then if no filter or hold kept them."""
_STATES_HELP = f"Where its data is; due: expires within {DUE_DAYS} days; kept: would expire without a filter or hold"
# Every column of the list, and what it is sorted by; sources that are equal are sorted by name.
_ORDERS = {
    "name": (),
    "kind": ("kind",),
    "status": ("status",),
    "tags": ("tag_order",),
    "state": ("state", "state_at"),
    "last_sent": ("last_sent_at",),
    "interactions": ("row_count",),
    "size": ("total_bytes",),
}
SORTS = tuple(_ORDERS)
DIRECTIONS = ("asc", "desc")
_CHOICES = {"kind": SOURCE_KINDS, "status": (*STATUSES, VANISHED), "state": STATES, "sort": SORTS, "order": DIRECTIONS}
_MAY_BE_EMPTY = ("kind", "status", "state")


@dataclass(frozen=True)
class Selection:
    """The sources that match, in an order. An empty field means all.

    Attributes:
        q: Part of a name or of an id, in any case.
        tag: A tag, exactly.
        kind: campaign or canvas.
        status: A status on the platform; vanished: it no longer has the source.
        state: One of `STATES`.
        sort: One of `SORTS`.
        order: asc or desc.

    Raises:
        TerminalRequestError: A field has a value that it cannot have.
    """

    q: str = ""
    tag: str = ""
    kind: str = ""
    status: str = ""
    state: str = ""
    sort: str = "name"
    order: str = "asc"

    def __post_init__(self) -> None:
        for field, choices in _CHOICES.items():
            value = getattr(self, field)
            if value not in choices and not (value == "" and field in _MAY_BE_EMPTY):
                left_out = ", or leave it out" if field in _MAY_BE_EMPTY else ""
                raise TerminalRequestError(f"{field} is {value!r}; give one of {', '.join(choices)}{left_out}.")

    def query(self, **changes: str) -> dict[str, str]:
        """Return the query string for this selection with some fields changed; defaults are left out."""
        return {
            field: value
            for field, value in (vars(self) | changes).items()
            if value not in ("", getattr(type(self), field, ""))
        }

    @property
    def filters(self) -> dict[str, str]:
        """As `query`, but without the order."""
        return {field: value for field, value in self.query().items() if field not in ("sort", "order")}


def _choice(field: str, text: str) -> Any:
    empty = [""] if field in _MAY_BE_EMPTY else []
    return Query(description=text, json_schema_extra={"enum": [*empty, *_CHOICES[field]]})


def _selection(
    q: Annotated[str, Query(description="Part of a name or of an id, in any case", max_length=1_000)] = "",
    tag: Annotated[str, Query(description="A tag, exactly", max_length=1_000)] = "",
    kind: Annotated[str, _choice("kind", "campaign or canvas")] = "",
    status: Annotated[str, _choice("status", "Status on the platform; vanished: the platform no longer has it")] = "",
    state: Annotated[str, _choice("state", _STATES_HELP)] = "",
    sort: Annotated[str, _choice("sort", "Column to sort by")] = "name",
    order: Annotated[str, _choice("order", "Direction")] = "asc",
) -> Selection:
    return Selection(q=q, tag=tag, kind=kind, status=status, state=state, sort=sort, order=order)


SelectionDep = Annotated[Selection, Depends(_selection)]


@dataclass(frozen=True)
class ListedSource:
    """One source of a list. Times are UTC.

    Attributes:
        status: draft, active, stopped, archived or vanished.
        vanished_at: When a sync first missed it; None while the platform has it.
        state: available, expired, restoring, or deleted under the previous policy.
        since: When that state began.
        expires_at: When its clock and its holds end; None while the clock does not run, or if nothing is hot.
        is_due: Whether its clock has ended: the next run expires it, unless a filter keeps it.
        is_kept: Whether an active referrer or a hold without an end keeps it, whatever its clock says (R4, R19).
        is_held: Whether a hold keeps it; until its end, which expires_at is then no earlier than.
        hot_rows: Interactions in the hot table.
        archived_rows: Interactions in long-term storage.
        total_bytes: Size of both.
    """

    source_id: str
    kind: str
    name: str
    status: str
    vanished_at: datetime | None
    state: str
    since: datetime | None
    expires_at: datetime | None
    is_due: bool
    is_kept: bool
    is_held: bool
    last_sent_at: datetime | None
    hot_rows: int
    archived_rows: int
    total_bytes: int
    tags: tuple[str, ...]

    @property
    def row_count(self) -> int:
        """Interactions, wherever they are."""
        return self.hot_rows + self.archived_rows

    @property
    def restoring(self) -> bool:
        """Whether a restore is bringing it back at this moment."""
        return self.state == "restoring"


_SHOWN = [field.name for field in fields(ListedSource) if field.name != "is_due"]


@dataclass(frozen=True)
class Page:
    """One page of the sources that match.

    Attributes:
        sources: Those of this page; none beyond the last page.
        number: From 1.
        total: How many match.
    """

    sources: tuple[ListedSource, ...]
    number: int
    total: int

    @property
    def last(self) -> int:
        """The number of the last page; 1 where nothing matches."""
        return max(1, -(-self.total // PAGE_SIZE))


def find_page(listed: Listed, selection: Selection, number: int = 1, restoring: Iterable[str] = ()) -> Page:
    """Find one page of the sources that match.

    Args:
        listed: All sources.
        selection: What to match, and the order.
        number: From 1.
        restoring: Ids of the sources that a restore is bringing back.
    """
    moving = _positions(listed, restoring)
    matching = _matching(listed, selection, moving)
    start = (number - 1) * PAGE_SIZE
    return Page(_shown(listed, matching[start : start + PAGE_SIZE].to_list(), moving), number, len(matching))


def count_kept(listed: Listed) -> int:
    """Count the sources that would expire within `DUE_DAYS` if no filter kept them (R4)."""
    return len(_matching(listed, Selection(state=KEPT), frozenset()))


def matching_ids(listed: Listed, selection: Selection, restoring: Iterable[str] = ()) -> list[str]:
    """Return the ids of all sources that match, sorted by id."""
    matching = _matching(listed, selection, _positions(listed, restoring))
    return sorted(listed.rows["source_id"].gather(matching).to_list())


def find_source(listed: Listed, source_id: str, restoring: Iterable[str] = ()) -> ListedSource | None:
    """Find one source by its id."""
    shown = _shown(listed, list(_positions(listed, [source_id])), _positions(listed, restoring))
    return shown[0] if shown else None


def _matching(listed: Listed, selection: Selection, moving: frozenset[int]) -> pl.Series:
    """The positions of the sources that match, in the requested order."""
    # Rounded to the minute, so that the same query is answered from the cache for a while.
    soon = datetime.now(UTC).replace(second=0, microsecond=0, tzinfo=None) + timedelta(days=DUE_DAYS)
    key = (selection, moving, soon)
    found = listed.matched.get(key)
    if found is None:
        if len(listed.matched) >= _CACHED_QUERIES:
            listed.matched.clear()
        found = listed.matched[key] = _match(listed, selection, moving, soon)
    return found


def _match(listed: Listed, selection: Selection, moving: Collection[int], soon: datetime) -> pl.Series:
    import polars as pl

    rows = (listed.rows[listed.tagged.get(selection.tag, [])] if selection.tag else listed.rows).lazy()
    if moving:
        comes_back = (pl.col("state") == "expired") & pl.col("position").is_in(list(moving))
        rows = rows.with_columns(state=pl.when(comes_back).then(pl.lit("restoring")).otherwise("state"))
    for field, value in selection.filters.items():
        if field == "tag":  # it has selected the rows
            continue
        if field == "q":
            rows = rows.filter(pl.col("searched").str.contains(value.casefold(), literal=True))
        elif value in (DUE, KEPT):
            rows = rows.filter(pl.col("expires_at") <= soon, pl.col("is_kept") == (value == KEPT))
        else:
            rows = rows.filter(pl.col(field) == value)
    descending = selection.order == "desc"
    if keys := _ORDERS[selection.sort]:
        # Equal rows stay in order of position.
        rows = rows.sort(keys, descending=descending, nulls_last=True, maintain_order=True)
    elif descending:
        rows = rows.reverse()
    return rows.select("position").collect()["position"]


def _shown(listed: Listed, positions: Sequence[int], restoring: Collection[int]) -> tuple[ListedSource, ...]:
    now = datetime.now(UTC)
    rows = listed.rows.select(_SHOWN)[positions].to_dicts() if positions else []
    return tuple(_listed(row, position in restoring, now) for position, row in zip(positions, rows, strict=True))


def _listed(row: dict[str, Any], restoring: bool, now: datetime) -> ListedSource:
    for name in ("since", "expires_at", "last_sent_at", "vanished_at"):
        row[name] = None if row[name] is None else row[name].replace(tzinfo=UTC)
    row["tags"] = tuple(row["tags"])
    if restoring and row["state"] == "expired":
        row["state"] = "restoring"
    return ListedSource(**row, is_due=row["expires_at"] is not None and row["expires_at"] <= now)


def _positions(listed: Listed, source_ids: Iterable[str]) -> frozenset[int]:
    import polars as pl

    wanted = list(source_ids)
    if not wanted:
        return frozenset()
    return frozenset(listed.rows.filter(pl.col("source_id").is_in(wanted))["position"])


def form_method(source_ids: Iterable[str]) -> str:
    """Return a form's method: GET, so that its address can be shared, unless that might be too long for a server."""
    return "get" if sum(len(segment(source_id)) + 4 for source_id in source_ids) < _ADDRESS_CHARACTERS else "post"
