"""Builds messages from the report of what a run did. Nothing here sends anything."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from perennial.cost import Fact
from perennial.notify.addresses import is_address
from perennial.notify.attachments import attached
from perennial.notify.message import Message
from perennial.notify.notice_report import NoticeReport
from perennial.notify.pages import render
from perennial.notify.restore_advice import restore_advice
from perennial.reports import (
    CANCELLED,
    DELETED,
    ApprovalReport,
    ExpiredSource,
    ExpiryReport,
    Outcome,
    RestoreReport,
    SourceOutcome,
)
from perennial.text import bidi_isolate, duration, one_line, pluralize, spoken

# Mail readers cut a message off at about 100 kB; beyond these rows, the list is attached.
BODY_ROWS = 100

_Report = TypeVar("_Report", ExpiryReport, NoticeReport, ApprovalReport)

_OUTCOME_ORDER = (
    "failed", CANCELLED, DELETED, "never had data", "restored", "already available",
)  # fmt: skip
_LATE_AFTER = "15 minutes"


def run_url(base_url: str, dag_id: str, run_id: str) -> str:
    """Return the address of a run on Airflow's page; ids may hold any character."""
    return f"{base_url.rstrip('/')}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def restore_message(report: RestoreReport) -> Message:
    """Build the message on the outcome of a whole request (R12); it names every requested source."""
    sources = _by_outcome(report)
    restored = [source for source in sources if source.outcome == "restored"]
    failed = tuple(source.source_id for source in sources if source.outcome in ("failed", CANCELLED))
    wanted = (failed, ()) if report.sources else (report.source_ids, report.tags)
    advice = restore_advice(report.page_url, *wanted, report.notify) if report.state != "finished" else None
    text, html = render(
        "restore",
        report=report,
        headline=_restore_headline(report, sources, restored),
        sources=sources[:BODY_ROWS],
        source_count=len(sources),
        restored_count=len(restored),
        row_count=sum(source.row_count for source in restored),
        total_bytes=sum(source.total_bytes for source in restored),
        outcomes=_outcome_counts(sources),
        first_expiry=min((s.expires_at for s in restored if s.expires_at), default=None),
        took=duration(report.finished_at - report.requested_at),
        error_lines=report.error.strip().splitlines(),
        advice=advice,
        stored=any(source.outcome != DELETED for source in sources) or not sources,
        tone=_tone(report, sources),
    )
    return Message(
        # A run that was cleared and ends in another way is news.
        reference=reference("restore", report.run_id, report.state, report.error or report.cancelled,
                            *sorted((source.source_id, source.outcome) for source in sources)),
        subject=_restore_subject(report, sources, restored),
        text=text,
        html=html,
        link=report.run_url,
        attachments=attached("restored-sources.csv", sources, BODY_ROWS, advice),
    )  # fmt: skip


def expiry_digest(report: ExpiryReport, costs: Sequence[Fact] = ()) -> Message:
    """Build the message to one owner: which sources expired, why, what that saves, and how to restore them."""
    sources = sorted(report.sources, key=lambda source: (-source.row_count, source.source_id))
    owners = list(filter(is_address, map(_owner, sources)))[:1]
    advice = restore_advice(report.page_url, [source.source_id for source in sources], (), owners)
    text, html = render(
        "expiry",
        report=report,
        sources=sources[:BODY_ROWS],
        source_count=len(sources),
        row_count=sum(source.row_count for source in sources),
        total_bytes=sum(source.total_bytes for source in sources),
        costs=costs,
        advice=advice,
        tone="info",
    )
    verb = "would move" if report.dry_run else "moved"
    return Message(
        reference=reference("expiry", report.run_id, *sorted(source.source_id for source in sources)),
        subject=f"{_dry(report.dry_run)}Interaction data {verb} to the archive: {bidi_isolate(_what(sources))}",
        text=text,
        html=html,
        link=report.run_url,
        attachments=attached("expired-sources.csv", sources, BODY_ROWS, advice),
    )


def digests_by_owner(report: _Report) -> dict[str, _Report]:
    """Split a run's report by owner: one digest each, however many sources.

    Args:
        report: What has expired, or what will.

    Returns:
        Address of an owner (as first written; case does not make another owner) → the report on their sources.
        Sources whose owner cannot be written to are in none; `sources_without_owner` has them.
    """
    owned: dict[str, list[Any]] = {}
    for source in report.sources:
        if is_address(address := _owner(source)):
            owned.setdefault(address.casefold(), []).append(source)
    return {_owner(sources[0]): _of_owner(report, sources) for sources in owned.values()}


def _of_owner(report: _Report, sources: Sequence[Any]) -> _Report:
    changed: dict[str, Any] = {"sources": tuple(sources)}
    if isinstance(report, ExpiryReport):
        owner = _owner(sources[0]).casefold()
        changed["held"] = tuple(source for source in report.held if _owner(source).casefold() == owner)
    return replace(report, **changed)


def sources_without_owner(report: ExpiryReport | NoticeReport | ApprovalReport) -> tuple[ExpiredSource, ...]:
    """Return the sources whose owner cannot be notified, because the platform has no usable address."""
    return tuple(source for source in report.sources if not is_address(_owner(source)))


def late_restore_message(
    dag_run: Mapping[str, Any], now: datetime, url: str | None = None, page_url: str | None = None
) -> Message:
    """Warn that a restore runs longer than 15 minutes.

    Args:
        dag_run: As Airflow's API shows a run: `dag_run_id`, `queued_at` (or `run_after`), `state`, `conf`.
        now: When the warning is sent.
        url: Address of the run.
        page_url: Address of the page.
    """
    conf = dag_run.get("conf") or {}
    since = _instant(dag_run.get("queued_at") or dag_run.get("run_after"))
    ids, tags = _strings(conf.get("source_ids")), _strings(conf.get("tags"))
    run_id = str(dag_run.get("dag_run_id"))
    text, html = render(
        "late",
        run_id=run_id,
        doing="waiting for its turn" if dag_run.get("state") == "queued" else "running",
        reason=str(conf.get("reason") or ""),
        since=since,
        running=spoken(now - since) if since else f"more than {_LATE_AFTER}",
        limit=_LATE_AFTER,
        ids=ids[:BODY_ROWS],
        id_count=len(ids),
        tags=tags[:BODY_ROWS],
        tag_count=len(tags),
        run_url=url,
        page_url=page_url,
        tone="warn",
    )
    what = bidi_isolate(one_line(ids[0])) if len(ids) == 1 and not tags else _requested(len(ids), len(tags))
    return Message(
        # A run that was cleared has started anew, and may be late anew.
        reference=reference("late", run_id, str(since)),
        subject=f"Restore is late: {what}",
        text=text,
        html=html,
        link=url,
    )


def reference(topic: str, run_id: str, *news: object) -> str:
    """Identify the content of an e-mail: the same news has the same reference, so that nobody gets it twice."""
    digest = hashlib.sha256(json.dumps(news).encode()).hexdigest()[:16]
    return f"{topic}:{run_id}:{digest}"


def _by_outcome(report: RestoreReport) -> list[SourceOutcome]:
    """Every requested source, those that need attention first; the run did not reach an id without an outcome."""
    known = {source.source_id for source in report.sources}
    missed = "The run ended before its turn." if report.sources else "Not started."
    outcome: Outcome = CANCELLED if report.state == "cancelled" else "failed"
    unreached = [
        SourceOutcome(source_id=source_id, name="", kind="", outcome=outcome, detail=missed)
        for source_id in dict.fromkeys(report.source_ids)
        if source_id not in known
    ]
    return sorted(
        (*report.sources, *unreached),
        key=lambda s: (_OUTCOME_ORDER.index(s.outcome), s.name or s.source_id, s.source_id),
    )


def _outcome_counts(sources: Sequence[SourceOutcome]) -> list[tuple[str, int]]:
    found = Counter(source.outcome for source in sources)
    return [(outcome, found[outcome]) for outcome in _OUTCOME_ORDER if outcome in found]  # type: ignore[index]  # an Outcome each


def _tone(report: RestoreReport, sources: Sequence[SourceOutcome]) -> str:
    if report.state == "finished":
        return "good" if any(source.outcome == "restored" for source in sources) else "info"
    return "bad" if report.state == "failed" else "warn"


def _restore_headline(
    report: RestoreReport, sources: Sequence[SourceOutcome], restored: Sequence[SourceOutcome]
) -> str:
    if report.state == "failed":
        return "The dry run failed" if report.dry_run else "The restore failed. Nothing was lost."
    if report.state == "cancelled":
        return "The restore was stopped. Nothing was moved."
    if report.state == "finished in part":
        verb = "would come" if report.dry_run else "came"
        return f"{len(restored):,} of {pluralize(len(sources), 'source')} {verb} back"
    if not restored:
        return "There was nothing to restore"
    if report.dry_run:
        return f"{pluralize(len(restored), 'source')} would come back"
    return f"{_what(restored)} {'is' if len(restored) == 1 else 'are'} back"


def _restore_subject(report: RestoreReport, sources: Sequence[SourceOutcome], restored: Sequence[SourceOutcome]) -> str:
    what = bidi_isolate(_what(sources)) if sources or not report.tags else pluralize(len(report.tags), "tag")
    rows = pluralize(sum(source.row_count for source in restored), "interaction")
    dry = _dry(report.dry_run)
    if report.state == "failed":
        return f"{dry}Restore failed: {what}"
    if report.state == "cancelled":
        return f"Restore {'cancelled' if 'cancelled' in report.cancelled else 'not approved'}: {what}"
    if report.state == "finished in part":
        return f"{dry}Restored in part: {len(restored):,} of {pluralize(len(sources), 'source')}, {rows}"
    if not restored:
        return f"{dry}Nothing to restore: {what}"
    return f"{dry}Restored: {bidi_isolate(_what(restored))}, {rows}"


def _what(sources: Sequence[SourceOutcome | ExpiredSource]) -> str:
    """The one source by name, several by their number."""
    return one_line(sources[0].name or sources[0].source_id) if len(sources) == 1 else pluralize(len(sources), "source")


def _dry(dry_run: bool) -> str:
    return "Dry run: " if dry_run else ""


def _requested(id_count: int, tag_count: int) -> str:
    parts = [pluralize(number, noun) for number, noun in ((id_count, "source"), (tag_count, "tag")) if number]
    return " and ".join(parts) or "no sources"


def _owner(source: ExpiredSource) -> str:
    return (source.owner_email or "").strip()


def _strings(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _instant(value: Any) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
