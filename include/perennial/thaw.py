"""The tasks that wait for cold storage, and their trigger, which occupies no worker while it waits.

The triggerer imports this module, and DAG files do while they are parsed, so nothing heavy is imported here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

from perennial.airflow import current_page_url, current_params, current_run, current_run_url, open_warehouse, step
from perennial.errors import TerminalError
from perennial.notify import warn_late_restore

if TYPE_CHECKING:
    from perennial.moves.thaw_status import ThawStatus

log = logging.getLogger(__name__)

LATE_AFTER = timedelta(minutes=15)
# Most thaws end within S3's documented time; a wait of more than twice that is given up, and requested again.
PATIENCE_FACTOR = 2


class ThawOperator(BaseOperator):
    """Request the thaw of files in cold storage, and defer until they can be read."""

    def execute(self, context: Any) -> None:  # noqa: ARG002 - the run is asked for it
        """Request the thaw; if there is nothing to wait for, the task ends at once."""
        self._thaw()

    def look_again(self, context: Any, event: Any = None) -> None:  # noqa: ARG002 - as above
        """Check every file once more: a trigger's event is not proof, and an error that it hit is raised here."""
        if event and event.get("error"):
            self.log.warning("The trigger gave up: %s", event["error"])
        self._thaw()

    def _thaw(self) -> None:
        raise NotImplementedError

    def _wait(self, run_id: str, uris: Sequence[str], thawing: ThawStatus) -> None:
        expected = datetime.fromisoformat(thawing.expected_at) - datetime.fromisoformat(thawing.asked_at)
        trigger = ThawTrigger(run_id=run_id, plan_uris=uris)
        self.defer(
            trigger=trigger, method_name="look_again", timeout=max(PATIENCE_FACTOR * expected, timedelta(hours=1))
        )


class ThawFiles(ThawOperator):
    """Thaw the archived files that a restore reads.

    Args:
        request_uri: Address of the checked request.
        plan_uris: Addresses of the plans.
        arguments: Those of every operator.
    """

    template_fields: Sequence[str] = ("request_uri", "plan_uris")

    def __init__(self, *, request_uri: Any, plan_uris: Any, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.request_uri = request_uri
        self.plan_uris = plan_uris

    def _thaw(self) -> None:
        from perennial.moves.notifications import notify_of_thaw
        from perennial.moves.requests import read_request
        from perennial.moves.thaw import start_thaw

        run = current_run()
        with step() as warehouse:
            tier = read_request(self.request_uri).request.thaw_tier
            thawing = start_thaw(warehouse, run, self.plan_uris, tier)
            if thawing is None:
                return
            notify_of_thaw(warehouse, run, self.request_uri, thawing, current_run_url(), current_page_url())
        self._wait(run.run_id, self.plan_uris, thawing)


class ThawSample(ThawOperator):
    """Thaw the cold files that a check of the archive reads, if it is to read them.

    Args:
        check_uri: Address of the check's plan.
        arguments: Those of every operator.
    """

    template_fields: Sequence[str] = ("check_uri",)

    def __init__(self, *, check_uri: Any, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.check_uri = check_uri

    def _thaw(self) -> None:
        from perennial.drills.check import read_check, request_cold

        if not current_params().get("check_cold"):
            return
        run = current_run()
        with step() as warehouse:
            thawing = request_cold(warehouse, run, read_check(self.check_uri))
        if thawing is not None:
            self._wait(run.run_id, [self.check_uri], thawing)


class ThawTrigger(BaseTrigger):
    """Checks from time to time the files that a run waits for; fires when all can be read, or a check is refused.

    Args:
        run_id: Run that waits.
        plan_uris: Addresses of the directories that name its files.
    """

    def __init__(self, run_id: str, plan_uris: Sequence[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.run_id = run_id
        self.plan_uris = list(plan_uris)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs to continue: it asks S3 again which files are ready."""
        return f"{__name__}.{type(self).__name__}", {"run_id": self.run_id, "plan_uris": self.plan_uris}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Check in a thread, so that other triggers continue."""
        try:
            looks = await asyncio.to_thread(self._looks)
            while (pause := await asyncio.to_thread(next, looks, None)) is not None:
                await asyncio.sleep(pause)
        except TerminalError as error:
            refused = str(error)
        else:
            refused = ""
        yield TriggerEvent({"error": refused})  # type: ignore[no-untyped-call]

    def _looks(self) -> Iterator[float]:
        from perennial.moves.thaw import thaw_looks

        return thaw_looks(open_warehouse(), self.run_id, self.plan_uris)


async def warn_when_late(*, context: dict[str, Any] | None = None, **named: Any) -> str:
    """Warn the requesters of a restore that it is late; one that thaws is given the time that S3 documents for that.

    Args:
        context: `dag_run` as Airflow's API shows it, and `deadline`.
        named: Whatever else Airflow passes on.

    Returns:
        What was done, for the callback's record.
    """
    run_id = str(((context or {}).get("dag_run") or {}).get("dag_run_id"))
    while (thawing := await asyncio.to_thread(_thawing, run_id)) is not None:
        if thawing.ended:
            return "the run has ended"
        seconds = (late_at(thawing) - datetime.now(UTC)).total_seconds()
        if seconds <= 0:
            break
        await asyncio.sleep(seconds)
    root, channels = await asyncio.to_thread(_notes)
    return await warn_late_restore(context=context, root=root, channels=channels, **named)


def _notes() -> tuple[str | None, str | None]:
    """Return where it is recorded who was warned, and the connection of the channels."""
    try:
        warehouse = open_warehouse()
        return warehouse.operations_uri(), warehouse.settings.channels
    except Exception:  # as in `_thawing`
        log.exception("Who is warned that a restore is late cannot be written down")
        return None, None


def late_at(thawing: ThawStatus) -> datetime:
    """Return when a restore that had to thaw is late: as long after the thaw as others after their request."""
    since = thawing.looked_at if thawing.done else thawing.expected_at
    return datetime.fromisoformat(since) + LATE_AFTER


def _thawing(run_id: str) -> ThawStatus | None:
    """Return the state of the thaw; if the warehouse cannot be read, people are warned nevertheless."""
    from perennial.moves.thaw_status import find_thaw_status

    try:
        return find_thaw_status(open_warehouse(), run_id)
    except Exception:  # whatever it is: a restore that stands still because of it is late
        log.exception("It is unknown whether run %s has to thaw anything", run_id)
        return None
