"""R10: sources that are active again come back with the daily run, as soon as they can be read."""

from __future__ import annotations

import logging
from collections.abc import Collection

from perennial.moves.plan import read_plan
from perennial.moves.restore import abandon_restore, plan_return
from perennial.moves.runs import Run
from perennial.moves.thaw import request_thaw
from perennial.reports import STANDARD
from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)


def plan_readable_return(warehouse: Warehouse, source_ids: Collection[str], run: Run) -> list[str]:
    """Plan the return of some sources, but of those that have to be thawed.

    These are asked for, and the next run finds them readable: a day is longer than thawing takes, and shorter than the
    days for which it lasts. The run itself, and what it expires, need not wait.
    """
    plan_uris = plan_return(warehouse, source_ids, run)
    cold = {source_id for plan_uri in plan_uris for source_id in request_thaw(warehouse, plan_uri, STANDARD).source_ids}
    if not cold:
        return plan_uris
    log.warning("%d active sources have to be thawed, %r among them; the next run has them", len(cold), min(cold))
    planned = {source_id for plan_uri in plan_uris for source_id in read_plan(plan_uri).source_ids}
    for plan_uri in plan_uris:
        abandon_restore(warehouse, plan_uri)
    readable = sorted(planned - cold)
    return plan_return(warehouse, readable, run) if readable else []
