"""What is proven of the archive: reported by each run, kept for the page, mailed if something is wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from perennial.notify import Delivery, DeliveryRecord, Letter, archive_message, deliver, is_address
from perennial.notify.delivery import ARCHIVE
from perennial.operations import OperationStore, Run, wall_clock
from perennial.reports import CHECK_DAYS, ArchiveReport, DamagedFile, RestoreDrill
from perennial.statements import statement
from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)

# Not a topic that maintenance forgets: the page shows the latest, however old.
_TOPIC, _LATEST = "archive", "latest"


def report_check(
    warehouse: Warehouse,
    run: Run,
    drill: RestoreDrill | None,
    run_url: str | None = None,
    page_url: str | None = None,
) -> ArchiveReport:
    """Sum up what is proven of the archive now, and keep that until the next check.

    Args:
        warehouse: Where.
        run: The run that has checked.
        drill: The restore that it has rehearsed; None if it has rehearsed none.
        run_url: Address of the run on Airflow's page.
        page_url: Address of the page.
    """
    # Not at the top: the page imports this module, and needs no engine for the latest report.
    from perennial.drills.listing import archive_session

    now = wall_clock()
    with archive_session(warehouse) as session:
        binds = {"since": now - timedelta(days=CHECK_DAYS), "run_id": run.run_id}
        row = session.execute(statement("drills/summarize_archive_checks"), binds).fetchone()
        assert row is not None
        damaged = session.execute(statement("drills/list_damaged_files")).fetchall()
    report = ArchiveReport(
        run_id=run.run_id,
        checked_at=now,
        archived_count=row[0],
        checked_count=row[1],
        read_count=row[2],
        cold_count=row[3],
        damaged=tuple(
            DamagedFile(
                file_uri=uri, source_id=source, source_name=name, owner_email=owner, outcome=outcome, detail=detail
            )
            for uri, source, name, owner, outcome, detail in damaged
        ),
        drill=drill,
        run_url=run_url,
        page_url=page_url,
    )
    document = {**asdict(report), "checked_at": now.isoformat()}
    OperationStore.of(warehouse).put(_TOPIC, document, _LATEST)
    log.info("check: %s %s", report.sentence, drill or "No restore was rehearsed.")
    return report


def latest_report(warehouse: Warehouse) -> ArchiveReport | None:
    """Return what the latest check has found; None if there was none."""
    fields: Mapping[str, Any] | None = OperationStore.of(warehouse).find(_TOPIC, _LATEST)
    if fields is None:
        return None
    kept = {
        "checked_at": datetime.fromisoformat(fields["checked_at"]),
        "damaged": tuple(DamagedFile(**file) for file in fields["damaged"]),
        "drill": RestoreDrill(**fields["drill"]) if fields["drill"] else None,
    }
    return ArchiveReport(**{**fields, **kept})


def notify_of_damage(warehouse: Warehouse, report: ArchiveReport, notify: Sequence[str]) -> Delivery:
    """Mail what is wrong and what to do: all of it to some people, to each owner what concerns their sources.

    Nothing is sent if nothing is wrong.
    """
    if report.is_sound:
        return Delivery()
    everybody = tuple(dict.fromkeys(notify))
    letters = [Letter(message=archive_message(report), to=everybody)] if everybody else []
    owned: dict[str, list[DamagedFile]] = {}
    for file in report.damaged:
        if is_address(owner := file.owner_email.strip()):
            owned.setdefault(owner.casefold(), []).append(file)
    # Whoever has the whole of it needs no part of it.
    for owner in owned.keys() - {address.casefold() for address in everybody}:
        part = replace(report, damaged=tuple(owned[owner]), drill=None)
        letters.append(Letter(message=archive_message(part), to=(owned[owner][0].owner_email.strip(),)))
    return deliver(DeliveryRecord.of(warehouse, ARCHIVE, report.run_id), letters)
