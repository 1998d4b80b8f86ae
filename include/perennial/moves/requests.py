"""The request of a restore, checked and resolved completely before anything moves (R11, R12, R18)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, StrictBool, StrictFloat, StrictInt

from perennial.engines.duckdb import open_status_session
from perennial.errors import TerminalRequestError
from perennial.notify.addresses import refuse_bad_addresses
from perennial.operations import OperationStore
from perennial.platform.vanished import nearest_source
from perennial.refusals import nearest_name, not_known, read_params, sentences
from perennial.reports import DELETED, STANDARD, THAW_TIERS
from perennial.settings import dag_id
from perennial.statements import statement
from perennial.warehouse import Warehouse

if TYPE_CHECKING:
    import duckdb

_TO_RESTORE = "restored"
# For how many unknown names similar ones are suggested.
_GUESSED = 20
_LIST = "a list of strings that are not empty"
REMEDIES = {
    "source_ids": _LIST,
    "tags": _LIST,
    "notify": _LIST,
    "reason": "a string",
    "thaw_tier": f"one of {', '.join(THAW_TIERS)}",
    "max_cost": "an amount in USD, 0 or more",
    "max_bytes": "a whole number of bytes, 0 or more",
    "dry_run": "true or false",
}


def _unique(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


Texts = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], AfterValidator(_unique)]


@dataclass(frozen=True, kw_only=True)
class RestoreRequest:
    """Params of `restore_interactions`.

    Attributes:
        source_ids: Campaigns and Canvases by id.
        tags: All sources that carry one of these tags when the run starts (R11).
        notify: E-mail addresses that are notified when it has ended (R12).
        reason: Reason for the audit trail and the e-mail.
        thaw_tier: How fast files in a cold storage class are thawed.
        max_cost: Above this cost in USD a person has to approve it (R23); None: no limit.
        max_bytes: Likewise for its size.
        dry_run: Whether to report what would come back without moving anything.
    """

    source_ids: Texts = ()
    tags: Texts = ()
    notify: Texts = ()
    reason: str = ""
    thaw_tier: Annotated[str, Field(pattern=f"^({'|'.join(THAW_TIERS)})$")] = STANDARD
    max_cost: Annotated[StrictInt | StrictFloat | None, Field(ge=0, allow_inf_nan=False)] = None
    max_bytes: Annotated[StrictInt | None, Field(ge=0)] = None
    dry_run: StrictBool = False

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> RestoreRequest:
        """Check the params of a run.

        Raises:
            TerminalRequestError: Names every unusable param, its value and the remedy.
        """
        request, wrong = read_params(cls, params, REMEDIES), []
        if not request.source_ids and not request.tags:
            wrong.append("source_ids and tags are both empty; name at least one source or one tag")
        if not request.notify:
            wrong.append("notify is empty; give at least one e-mail address")
        if wrong:
            raise TerminalRequestError(sentences(wrong))
        refuse_bad_addresses(request.notify)
        return request


@dataclass(frozen=True)
class RequestedSource:
    """One source of a resolved request, and its expected outcome.

    Attributes:
        source_id: Campaign or Canvas.
        name: Its name on the platform.
        kind: campaign or canvas.
        outcome: Its outcome if nothing goes wrong.
        archived_rows: Its rows in the archive.
        was_expired: Whether it had expired; another program may put rows of any source into the archive. True in
            requests that an earlier version has checked.
    """

    source_id: str
    name: str
    kind: str
    outcome: str
    archived_rows: int
    was_expired: bool = True

    @property
    def comes_back(self) -> bool:
        """Whether its interactions are to be brought back."""
        return self.outcome == _TO_RESTORE


@dataclass(frozen=True)
class ResolvedRequest:
    """A checked request and its sources, as tasks and pages read it.

    Attributes:
        request: The params.
        sources: Every source that it names by id or by tag.
    """

    request: RestoreRequest
    sources: tuple[RequestedSource, ...]

    @property
    def coming(self) -> tuple[RequestedSource, ...]:
        """The sources whose interactions are to be brought back."""
        return tuple(source for source in self.sources if source.comes_back)


def resolve_request(warehouse: Warehouse, request: RestoreRequest) -> ResolvedRequest:
    """Find every source of a request, with its tags resolved now (R11).

    Raises:
        TerminalRequestError: Names all unknown ids and all tags that no source carries.
    """
    with open_status_session(warehouse) as session:
        return ResolvedRequest(request, resolve_in(session, request))


def resolve_in(session: duckdb.DuckDBPyConnection, request: RestoreRequest) -> tuple[RequestedSource, ...]:
    """Find the sources of a request as `resolve_request` does, in an open status session."""
    binds = {"source_ids": list(request.source_ids), "tags": list(request.tags)}
    unknown = session.execute(statement("moves/find_unknown_names"), binds).fetchall()
    rows = session.execute(statement("moves/resolve_request"), binds).fetchall()
    if unknown:
        raise TerminalRequestError(_not_known(session, unknown))
    return tuple(RequestedSource(*row) for row in rows)


def _not_known(session: duckdb.DuckDBPyConnection, unknown: list[tuple[str, str]]) -> str:
    """Name everything that is unknown, and suggest similar names at the end."""
    tags = [tag for (tag,) in session.execute("SELECT DISTINCT tag FROM known_source_tags").fetchall()]
    guesses = {
        (kind, name): nearest_name(name, tags) if kind == "tag" else nearest_source(session, name)
        for kind, name in unknown[:_GUESSED]
    }
    plain: dict[str, list[str]] = {}
    for kind, name in unknown:
        if not guesses.get((kind, name)):
            plain.setdefault(kind, []).append(repr(name))
    said = [
        f"{', '.join(names)} {f'is not a known {kind}' if len(names) == 1 else f'are not known {kind}s'}; nothing was "
        f"moved. Correct the request, or run {dag_id('sync_sources')} if it is new on the platform."
        for kind, names in plain.items()
    ]
    return sentences(
        [*said, *(not_known(name, f"known {kind}", meant, "") for (kind, name), meant in guesses.items() if meant)]
    )


def refuse_deleted(sources: Collection[RequestedSource]) -> None:
    """Refuse a request of which nothing can be restored (R18).

    Raises:
        TerminalRequestError: Everything requested was deleted under the previous policy.
    """
    if sources and all(source.outcome == DELETED for source in sources):
        raise TerminalRequestError(
            "Nothing can be restored: the interactions of "
            f"{', '.join(repr(source.source_id) for source in sources)} were deleted under the previous policy."
        )


def write_request(warehouse: Warehouse, resolved: ResolvedRequest) -> str:
    """Write a resolved request to storage; returns its address, which tasks pass on."""
    return OperationStore.of(warehouse).put("requests", asdict(resolved))


def read_request(uri: str) -> ResolvedRequest:
    """Read a resolved request from storage."""
    content = OperationStore.get(uri)
    sources = tuple(RequestedSource(**source) for source in content["sources"])
    return ResolvedRequest(RestoreRequest.from_params(content["request"]), sources)
