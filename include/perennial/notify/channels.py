"""Posts messages to Slack, Teams, webhooks and whatever else Apprise reaches, through Airflow's provider for it.

The e-mail is what is promised (R12). Whatever goes wrong here is logged: it fails and repeats nothing.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from perennial.notify.message import Message

if TYPE_CHECKING:
    from apprise import NotifyBase

_log = logging.getLogger(__name__)

# Of one message to one service. Many services answer within a second; a task waits for this.
_SECONDS = 20
# After so many failures in a row a service is down: an expiry may have a message for each of many owners.
_FAILURES = 2


def post(
    connection_id: str,
    topic: str,
    messages: Iterable[Message],
    is_posted: Callable[[str], bool],
    posted: Callable[[str], None],
) -> None:
    """Post messages to the services of an Airflow connection that want them, each once.

    A service without tags gets every message; one with tags gets those whose topic is among them.

    Args:
        connection_id: Airflow connection of type apprise.
        topic: What the messages are about.
        messages: The messages.
        is_posted: Whether a service has a message already; both are in the one text.
        posted: Called as soon as a service has accepted a message.
    """
    messages = list(messages)
    for service in _services(connection_id, topic):
        # Its address holds secrets.
        identity = hashlib.sha256(_address(service, privacy=False).encode()).hexdigest()[:16]
        failures = 0
        for message in messages:
            key = f"{identity} {message.reference}"
            if is_posted(key):
                continue
            if _send(service, message):
                posted(key)
                failures = 0
                continue
            failures += 1
            _log.warning("%s did not accept the message %r", _address(service, privacy=True), message.title)
            if failures == _FAILURES:
                break


def _services(connection_id: str, topic: str) -> list[NotifyBase]:
    from airflow.providers.apprise.hooks.apprise import AppriseHook
    from apprise import Apprise

    hook, found = AppriseHook(connection_id), Apprise()
    hook.set_config_from_conn(hook.get_connection(connection_id), found)
    if not len(found):
        _log.warning("The Airflow connection %s has no service that Apprise knows", connection_id)
    return [*found.find(tag=None), *found.find(tag=topic)]


def _send(service: NotifyBase, message: Message) -> bool:
    # Not AppriseNotifier, nor the hook's own notify(): neither says whether anybody has the message.
    from apprise import Apprise, NotifyFormat, OverflowMode

    if service.overflow_mode == OverflowMode.UPSTREAM:
        # Otherwise a service refuses what is longer than it takes.
        service.overflow_mode = OverflowMode.TRUNCATE
    only: Any = Apprise()
    only.add(service)
    return bool(only.notify(message.summary, message.title, body_format=NotifyFormat.TEXT, timeout=_SECONDS))


def _address(service: NotifyBase, privacy: bool) -> str:
    return str(service.url(privacy=privacy))  # type: ignore[no-untyped-call]  # Apprise's
