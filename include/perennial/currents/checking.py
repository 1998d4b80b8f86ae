"""The quality gate of a load: Great Expectations over the counts of each file, with a report that people can read."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from perennial.errors import TerminalDataError
from perennial.storage import storage_for

if TYPE_CHECKING:
    from perennial.quality import LoadCounts
    from perennial.warehouse import Warehouse


def quality_gate(warehouse: Warehouse) -> Callable[[list[LoadCounts]], None]:
    """Return the check that `load_interactions` calls before it commits: every record must have gone somewhere."""

    def check(counts: list[LoadCounts]) -> None:
        from perennial.quality import check_load

        report = check_load(counts)
        if report.success:
            return
        uri = f"{warehouse.operations_uri()}/loads/refused-{uuid.uuid4().hex}.html"
        storage_for(uri).write(uri, report.html.encode())
        raise TerminalDataError(
            f"A load does not add up, nothing of it was committed: {'; '.join(report.failures)}. Report: {uri}"
        )

    return check
