"""The callback of the Deadline alert on `restore_interactions`; Airflow's triggerer imports and awaits it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from perennial.notify.addresses import is_address
from perennial.notify.delivery import LATE, DeliveryRecord, deliver, describe
from perennial.notify.links import page_url
from perennial.notify.message import Letter
from perennial.notify.messages import late_restore_message, run_url

_log = logging.getLogger(__name__)

_OVER = ("success", "failed")
# A task that waits for a person; Airflow before 3.3 has no state of its own for that.
WAITING = ("awaiting_input", "deferred")
_ENDED = "the run has ended"
# The task that sends the last mail of a run, and its states before it does so.
_LAST_MAIL, _NOT_BEGUN = "notify_requesters", (None, "scheduled", "queued")


async def warn_late_restore(
    *, context: dict[str, Any] | None = None, root: str | None = None, channels: str | None = None, **_: Any
) -> str:
    """Notify the requesters of a restore that it is late, unless it has ended or waits for a person's approval.

    The e-mail is sent in a thread: it does not hold up other triggers, and the asynchronous SmtpHook (smtp 3.2) starts
    TLS twice, which fails on servers that ask for STARTTLS.

    Args:
        context: `dag_run` as Airflow's API shows it, and `deadline`; a deadline's context holds nothing else.
        root: Directory of the workspace's operations, which records who was notified; None where it is not known.
        channels: The Airflow connection of PERENNIAL_CHANNELS; None: no channel gets the message.

    Returns:
        What was done, for the callback's record.
    """
    dag_run = (context or {}).get("dag_run") or {}
    conf = dag_run.get("conf") or {}
    notify = conf.get("notify")
    to = tuple(dict.fromkeys(filter(is_address, notify))) if isinstance(notify, list) else ()
    if not to:
        _log.warning("Run %s is late and its conf names nobody to notify", dag_run.get("dag_run_id"))
        return "nobody to notify"
    # Airflow 3.3 drops the deadline of a run that succeeds in time, and keeps that of one that fails. What it passes
    # on is the run as it was when the deadline passed, which can be long ago: the run may end at any moment.
    if reason := await _why_not(dag_run):
        return reason
    base_url = airflow_url()
    url = run_url(base_url, str(dag_run.get("dag_id")), str(dag_run.get("dag_run_id"))) if base_url else None
    message = late_restore_message(dag_run, datetime.now(UTC), url, page_url(base_url) if base_url else None)
    record = DeliveryRecord(LATE, str(dag_run.get("dag_run_id")), root, channels)
    delivery = await asyncio.to_thread(deliver, record, [Letter(message=message, to=to)])
    notified = f"notified {', '.join(delivery.delivered) or 'nobody'}"
    return f"{notified}. {describe(delivery.undelivered)}" if delivery.undelivered else notified


async def _why_not(dag_run: Mapping[str, Any]) -> str:
    """Say why nobody is to be warned; empty if somebody is. If Airflow does not answer, rely on the state back then."""
    try:
        return await asyncio.to_thread(_ask_airflow, str(dag_run.get("dag_id")), str(dag_run.get("dag_run_id")))
    except Exception:  # whatever it is: a restore that it brings to a halt is late
        _log.warning("Airflow does not give the state of run %s", dag_run.get("dag_run_id"), exc_info=True)
        return _ENDED if dag_run.get("state") in _OVER else ""


def _ask_airflow(dag_id: str, run_id: str) -> str:
    """Look whether a run is over or is sending its last e-mail; a run that somebody removed is over, too."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    # The triggerer asks the database for it, through its supervisor: a trigger has no session of its own.
    states = RuntimeTaskInstance.get_task_states(dag_id=dag_id, run_ids=[run_id])
    if run_id not in states or states[run_id].get(_LAST_MAIL) not in _NOT_BEGUN:
        return _ENDED
    if states[run_id].get("plan") in WAITING:
        # Above its ceiling (R23): its requesters have an e-mail that says so.
        return "the run waits for a person's approval"
    return _ENDED if RuntimeTaskInstance.get_dagrun_state(dag_id, run_id) in _OVER else ""


def airflow_url() -> str:
    """Return Airflow's own address; empty where none is configured."""
    from airflow.configuration import conf

    return str(conf.get("api", "base_url", fallback=""))
