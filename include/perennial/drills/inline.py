"""A whole check in one process, made of the steps that Airflow runs as tasks."""

from __future__ import annotations

from collections.abc import Callable

from perennial.drills.check import SAMPLE_PERCENT, check_chunk, plan_check
from perennial.drills.rehearsal import rehearse_restore
from perennial.drills.report import report_check
from perennial.operations import Run
from perennial.reports import ArchiveReport
from perennial.warehouse import Warehouse


def check_archive(
    warehouse: Warehouse,
    run: Run,
    sample_percent: float = SAMPLE_PERCENT,
    watch: Callable[[str, int, int], object] = lambda *_: None,
) -> ArchiveReport:
    """Read a sample of the archive in full and rehearse the restore of one source. Cold files are counted, not thawed.

    Args:
        warehouse: Where.
        run: Who checks.
        sample_percent: Of all archived files.
        watch: Called with the current activity, how much of it is done, and how much there is.

    Raises:
        TerminalRequestError: The percentage is not above 0 and at most 100.
        TransientError: The storage does not answer for the moment; what was checked before is recorded.
    """
    watch("Choosing files", 0, 0)
    plan = plan_check(warehouse, sample_percent)
    for chunk in range(plan.chunk_count):
        watch("Reading files", chunk, plan.chunk_count)
        check_chunk(warehouse, run, plan, chunk)
    watch("Rehearsing a restore", 0, 0)
    drill = rehearse_restore(warehouse, run, plan.rehearsed_source)
    return report_check(warehouse, run, drill)
