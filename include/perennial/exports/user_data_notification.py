"""Who is told where a User data file is, or why there is none: one e-mail a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from perennial.exports.user_data import ExportedSource, UserDataFile, open_source
from perennial.notify import DeliveryRecord, Letter, deliver, export_message, is_address, refuse_bad_addresses
from perennial.notify.delivery import EXPORT
from perennial.reports import ExportReport

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
        page_url: Address of the page.
    """

    run_id: str
    requested_by: str | None = None
    written: UserDataFile | None = None
    error: str = ""
    run_url: str | None = None
    page_url: str | None = None


def notify_requesters(warehouse: Warehouse, params: Mapping[str, Any], attempt: ExportAttempt) -> ExportReport:
    """Send the one e-mail of a request, whether it has come to a file or not.

    Raises:
        TerminalRequestError: The addresses cannot be used, so nobody can be told.
        TransientDeliveryError: Somebody was refused for now; the next attempt tells nobody twice.
        TerminalDeliveryError: Somebody was refused for good.
    """
    notify = params.get("notify") or []
    if isinstance(notify, str) or not any(map(is_address, notify)):
        refuse_bad_addresses(notify)
    with open_source(warehouse, str(params.get("source_id") or "")) as (_, source):
        report = _report(source, attempt, tuple(map(str, notify)), params.get("all_recipients") is True)
    letter = Letter(message=export_message(report), to=report.notify)
    deliver(DeliveryRecord.of(warehouse, EXPORT, attempt.run_id), [letter]).refuse_gaps()
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
        page_url=attempt.page_url,
        **told,
    )


def _missing(source: ExportedSource, error: str) -> Literal["", "expired", "deleted", "archived"]:
    """Say what is missing where that is what the error is about, and not a wrong param, say."""
    missing = source.completeness.missing
    return missing[0].state if missing and source.completeness.sentence() in error else ""
