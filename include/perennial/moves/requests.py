"""What a restore was asked for: checked and resolved in full before anything moves (R11, R12, R18)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from perennial.engines.duckdb import open_status_session
from perennial.errors import TerminalRequestError
from perennial.notify.addresses import refuse_bad_addresses
from perennial.platform.vanished import nearest_source
from perennial.refusals import not_known, sentences, unknown_params
from perennial.reports import DELETED, STANDARD, THAW_TIERS
from perennial.settings import dag_id
from perennial.sql import statement
from perennial.warehouse import Warehouse

if TYPE_CHECKING:
    import duckdb

TO_RESTORE = "restored"
# For so many unknown names it is looked up what was meant.
_GUESSED = 20
PARAMS = ("source_ids", "tags", "notify", "reason", "thaw_tier", "dry_run")


@dataclass(frozen=True, kw_only=True)
class RestoreRequest:
    """Params of `restore_interactions`.

    Attributes:
        source_ids: Campaigns and Canvases by id.
        tags: All sources that carry one of these tags when the run starts (R11).
        notify: E-mail addresses that are told how it ended (R12).
        reason: Goes into the audit trail and the e-mail.
        thaw_tier: How fast files of a cold storage class are thawed.
        dry_run: Say what would come back, move nothing.
    """

    source_ids: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()
    reason: str = ""
    thaw_tier: str = STANDARD
    dry_run: bool = False

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> RestoreRequest:
        """Check the params of a run.

        Raises:
            TerminalRequestError: Names every param that cannot be used, its value and the remedy.
        """
        unknown, wrong = unknown_params(params, PARAMS), []
        lists = {key: params.get(key) or [] for key in ("source_ids", "tags", "notify")}
        for key, value in lists.items():
            if not isinstance(value, list | tuple) or not all(isinstance(item, str) and item for item in value):
                wrong.append(f"{key} is {value!r}; give a list of texts that are not empty")
        # Null is what Airflow's form sends for a field that is empty.
        params = {name: value for name, value in params.items() if value is not None}
        reason, dry_run = params.get("reason") or "", params.get("dry_run", False)
        if not isinstance(reason, str):
            wrong.append(f"reason is {reason!r}; give a text")
        if (tier := params.get("thaw_tier", STANDARD)) not in THAW_TIERS:
            wrong.append(f"thaw_tier is {tier!r}; give one of {', '.join(THAW_TIERS)}")
        if not isinstance(dry_run, bool):
            wrong.append(f"dry_run is {dry_run!r}; give true or false")
        if not wrong and not unknown and not lists["source_ids"] and not lists["tags"]:
            wrong.append("source_ids and tags are both empty; name at least one source or one tag")
        if not wrong and not unknown and not lists["notify"]:
            wrong.append("notify is empty; give at least one e-mail address")
        if wrong or unknown:
            raise TerminalRequestError(sentences([*wrong, *unknown]))
        refuse_bad_addresses(list(lists["notify"]))
        unique = {key: tuple(dict.fromkeys(value)) for key, value in lists.items()}
        return cls(**unique, reason=reason, thaw_tier=tier, dry_run=dry_run)


@dataclass(frozen=True)
class RequestedSource:
    """One source a request came to, and what will become of it if nothing goes wrong.

    Attributes:
        source_id: Campaign or Canvas.
        name: Its name on the platform.
        kind: campaign or canvas.
        outcome: What will become of it.
        archived_rows: What the archive holds of it.
        was_expired: Whether it had expired; another program may put rows of any source into the archive. Requests that
            an earlier version has checked do not say.
    """

    source_id: str
    name: str
    kind: str
    outcome: str
    archived_rows: int
    was_expired: bool = True


def resolve_request(warehouse: Warehouse, request: RestoreRequest) -> list[RequestedSource]:
    """Find every source a request means, tags resolved now (R11).

    Raises:
        TerminalRequestError: Names all unknown ids and all tags that no source carries.
    """
    with open_status_session(warehouse) as session:
        return resolve_in(session, request)


def resolve_in(session: duckdb.DuckDBPyConnection, request: RestoreRequest) -> list[RequestedSource]:
    """As `resolve_request`, at the moment of an open status session."""
    binds = {"source_ids": list(request.source_ids), "tags": list(request.tags)}
    unknown = session.execute(statement("lifecycle/find_unknown_names"), binds).fetchall()
    rows = session.execute(statement("lifecycle/resolve_request"), binds).fetchall()
    if unknown:
        raise TerminalRequestError(_not_known(session, unknown))
    return [RequestedSource(*row) for row in rows]


def _not_known(session: duckdb.DuckDBPyConnection, unknown: list[tuple[str, str]]) -> str:
    """Name everything that is not known, and last what was meant, perhaps."""
    nearest = {"source": nearest_source, "tag": _nearest_tag}
    guesses = {(kind, name): nearest[kind](session, name) for kind, name in unknown[:_GUESSED]}
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


def _nearest_tag(session: duckdb.DuckDBPyConnection, name: str) -> str:
    found = session.execute(statement("sync/find_nearest_tag"), {"name": name}).fetchone()
    return str(found[0]) if found else ""


def refuse_deleted(sources: list[RequestedSource]) -> None:
    """Refuse a request of which nothing can ever come back (R18).

    Raises:
        TerminalRequestError: Everything that was asked for was deleted under the previous policy.
    """
    if sources and all(source.outcome == DELETED for source in sources):
        raise TerminalRequestError(
            "Nothing can be restored: the interactions of "
            f"{', '.join(repr(source.source_id) for source in sources)} were deleted under the previous policy."
        )


def resolution(request: RestoreRequest, sources: list[RequestedSource]) -> dict[str, Any]:
    """Put a request and what it came to in a form that can be written down."""
    return {"request": asdict(request), "sources": [asdict(source) for source in sources]}


def read_resolution(content: Mapping[str, Any]) -> tuple[RestoreRequest, list[RequestedSource]]:
    """Read what `resolution` put together."""
    request = RestoreRequest.from_params(content["request"])
    return request, [RequestedSource(**source) for source in content["sources"]]
