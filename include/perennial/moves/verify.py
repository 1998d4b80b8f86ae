"""Step 3: compare every copy with its original before anything is committed; one reconciliation row per source."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field

from perennial.errors import TerminalDataError
from perennial.moves.copy import CopyResult, read_results
from perennial.moves.move_plan import EXPIRE, MovePlan
from perennial.operations import OperationStore, heartbeat
from perennial.quality import QualityReport, Reconciliation, check_move
from perennial.storage import storage_for
from perennial.text import pluralize
from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verification:
    """The result of a verification.

    Attributes:
        report_uri: The reconciliation report, for people.
        damaged: Sources whose archived files are missing or corrupted, with every such file; they are not moved.
    """

    report_uri: str
    damaged: dict[str, list[str]] = field(default_factory=dict)


def verify_move(warehouse: Warehouse, plan: MovePlan) -> Verification:
    """Step 3: compare every copy with its original and write the report.

    A damaged original stops an expiry. In a restore it stops only its own source; the others come back.

    Raises:
        TerminalDataError: A copy differs from its original, or all requested sources are damaged. Nothing was removed.
    """
    heartbeat(warehouse, plan.record)
    results = read_results(plan)
    damaged: dict[str, list[str]] = {}
    for result in results:
        if result.damage:
            damaged.setdefault(result.source_id, []).append(result.damage)
    everything = damaged.keys() == {result.source_id for result in results}
    # If this move continues another one, what that one has brought back must still be recorded.
    if damaged and (plan.direction is EXPIRE or (everything and not plan.earlier)):
        texts = "; ".join(text for texts in damaged.values() for text in texts)
        raise TerminalDataError(f"Nothing was moved: {texts}. See docs/runbooks/restore.md.")
    report = check_move(_reconciliations(plan, [result for result in results if result.source_id not in damaged]))
    verification = Verification(_write_report(plan, report), damaged)
    if not report.success:
        raise TerminalDataError(
            f"Copies differ from their originals, nothing was removed: {'; '.join(report.failures)}. "
            f"Report: {verification.report_uri}"
        )
    OperationStore.write(f"{plan.uri}/verified.json", asdict(verification))
    verified = pluralize(len(results), "copy", "copies"), pluralize(len(damaged), "source")
    log.info("%s: %s verified, %s damaged", plan.operation("verify"), *verified)
    return verification


def read_verification(plan: MovePlan) -> Verification:
    """Read the result of `verify_move`."""
    return Verification(**OperationStore.get(f"{plan.uri}/verified.json"))


def whole_sources(plan: MovePlan) -> list[str]:
    """Return the sources of a verified plan that have no damaged file."""
    damaged = read_verification(plan).damaged
    return [source_id for source_id in plan.source_ids if source_id not in damaged]


def is_verified(plan: MovePlan) -> bool:
    """Whether a move has been verified."""
    return storage_for(plan.uri).stat(f"{plan.uri}/verified.json") is not None


def _reconciliations(plan: MovePlan, results: list[CopyResult]) -> list[Reconciliation]:
    rewritten = {step.source_id for step in plan.steps if step.rewritten}
    by_source: dict[str, list[CopyResult]] = {}
    for result in results:
        by_source.setdefault(result.source_id, []).append(result)
    return [
        Reconciliation(
            source_id=source_id,
            planned_files=sum(result.original_bytes > 0 for result in group),
            copied_files=sum(result.copied_bytes > 0 for result in group),
            planned_rows=sum(result.original_rows for result in group),
            copied_rows=sum(result.copied_rows for result in group),
            planned_bytes=sum(result.original_bytes for result in group),
            copied_bytes=sum(result.copied_bytes for result in group),
            checksum_mismatches=sum(result.original_checksum != result.copied_checksum for result in group),
            rewritten=source_id in rewritten,
        )
        for source_id, group in by_source.items()
    ]


def _write_report(plan: MovePlan, report: QualityReport) -> str:
    storage = storage_for(plan.uri)
    storage.write(f"{plan.uri}/reconciliation.json", report.json.encode())
    storage.write(f"{plan.uri}/reconciliation.html", report.html.encode())
    return f"{plan.uri}/reconciliation.html"
