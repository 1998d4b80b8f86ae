"""The callback of the Deadline alert on `restore_interactions`; Airflow's triggerer imports and awaits it."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from perennial.notify.addresses import is_address
from perennial.notify.messages import late_restore_message, run_url
from perennial.notify.smtp import send

_log = logging.getLogger(__name__)


async def warn_late_restore(*, context: dict[str, Any] | None = None, **_: Any) -> str:
    """Tell the requesters of a restore that it is late.

    The mail leaves from a thread: it does not hold up other triggers, and the asynchronous SmtpHook (smtp 3.2) starts
    TLS twice, which fails on servers that ask for STARTTLS.

    Args:
        context: `dag_run` as Airflow's API shows it, and `deadline`; a deadline's context holds nothing else.

    Returns:
        What was done, for the callback's record.
    """
    dag_run = (context or {}).get("dag_run") or {}
    conf = dag_run.get("conf") or {}
    notify = conf.get("notify")
    to = list(dict.fromkeys(filter(is_address, notify))) if isinstance(notify, list) else []
    if not to:
        _log.warning("Run %s is late and its conf names nobody to tell", dag_run.get("dag_run_id"))
        return "nobody to tell"
    message = late_restore_message(dag_run, datetime.now(UTC), _address_of(dag_run))
    await asyncio.to_thread(send, message, to)
    return f"told {', '.join(to)}"


def _address_of(dag_run: dict[str, Any]) -> str | None:
    from airflow.configuration import conf

    base_url = conf.get("api", "base_url", fallback="")
    return run_url(base_url, str(dag_run.get("dag_id")), str(dag_run.get("dag_run_id"))) if base_url else None
