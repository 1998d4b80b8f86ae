"""Who is told where a User data file is, or why there is none: one e-mail a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from perennial.features.user_data import ExportedSource, UserDataFile, open_source
from perennial.notify import export_message, refuse_bad_addresses, send
from perennial.outcomes import ExportReport

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse


@dataclass(frozen=True, kw_only=True)
class ExportAttempt:
    """How far a run came.

    Attributes:
        run_id: The run.
        requested_by: Who asked.
        written: The file; None where there is none.
        error: What went wrong last, for a person; empty when nothing did.
        run_url: Address of the run on Airflow's page.
    """

    run_id: str
    requested_by: str | None = None
    written: UserDataFile | None = None
    error: str = ""
    run_url: str | None = None


def tell_requesters(warehouse: Warehouse, params: Mapping[str, Any], attempt: ExportAttempt) -> ExportReport:
    """Send the one e-mail of a request, whether it has come to a file or not.

    Raises:
        TerminalRequestError: The addresses cannot be used, so nobody can be told.
        TransientDeliveryError: The mail server is down for now.
    """
    notify = params.get("notify") or []
    refuse_bad_addresses(notify)
    with open_source(warehouse, str(params.get("source_id") or "")) as (_, source):
        report = _report(source, attempt, tuple(notify), params.get("all_recipients") is True)
    send(export_message(report), list(report.notify))
    return report


def _report(source: ExportedSource, attempt: ExportAttempt, notify: tuple[str, ...], everybody: bool) -> ExportReport:
    told: dict[str, Any] = {"error": "", "missing": ""}
    if attempt.written is not None:
        told |= asdict(attempt.written)
    else:
        error = attempt.error or "The file could not be written; the run's log says why."
        # The message has a place of its own for the command that restores.
        told |= {"error": error.removesuffix(source.completeness.remedy()).rstrip(), "missing": _missing(source, error)}
    return ExportReport(
        run_id=attempt.run_id,
        requested_by=attempt.requested_by or "unknown",
        source_id=source.source_id,
        name=source.name,
        kind=source.kind,
        notify=notify,
        all_recipients=everybody,
        run_url=attempt.run_url,
        **told,
    )


def _missing(source: ExportedSource, error: str) -> Literal["", "expired", "deleted", "archived"]:
    """Say what is missing where that is what the error is about, and not a wrong param, say."""
    missing = source.completeness.missing
    return missing[0].state if missing and source.completeness.sentence() in error else ""
