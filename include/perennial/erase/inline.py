"""A run of `erase_users` in this process, without Airflow: the same steps, records and e-mails (ADR 22)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from perennial.erase import run as steps
from perennial.erase.concerns import give_warning
from perennial.operations import Run

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse


def work_off(
    warehouse: Warehouse, params: Mapping[str, Any], run: Run, watch: Callable[[str], object] = lambda _: None
) -> int:
    """Carry out the requests that the DAG would carry out with these params.

    Args:
        warehouse: Where.
        params: Those of `erase_users`, but for `dry_run`.
        run: Who asks.
        watch: Called with what begins.

    Returns:
        How much was still found at the end; the next run removes it.
    """
    batch_uri = steps.begin(warehouse, params, run)
    watch("Locating")
    steps.locate(warehouse, batch_uri)
    steps.retrieve(warehouse, batch_uri, run)
    watch("Removing")
    steps.remove(warehouse, batch_uri)
    watch("Purging")
    steps.purge(warehouse, batch_uri)
    watch("Verifying")
    remaining = steps.verify(warehouse, batch_uri)
    steps.send_receipts(warehouse, batch_uri, run, last_attempt=True)
    give_warning(warehouse, run, last_attempt=True)
    return remaining
