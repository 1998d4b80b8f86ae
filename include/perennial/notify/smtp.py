"""Sending through Airflow's connection `smtp_default`. Airflow is imported only when something is sent."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from perennial.errors import TerminalDeliveryError, TransientDeliveryError
from perennial.notify.message import Message, as_email

if TYPE_CHECKING:
    from email.message import EmailMessage

CONNECTION_ID = "smtp_default"

Refused = Mapping[str, tuple[int, bytes]]
Transport = Callable[[Message, list[str]], Refused]


def send(message: Message, to: list[str], transport: Transport | None = None) -> None:
    """Send one message to all its recipients, as one mail.

    Delivery is at least once: a retry after a lost answer repeats the mail, under the same Message-ID.

    Args:
        message: What to send.
        to: Addresses, checked already.
        transport: Hands the mail over and returns who was refused; through `smtp_default` unless given.

    Raises:
        TransientDeliveryError: The server is down, or refuses for now (4xx).
        TerminalDeliveryError: The connection is missing or wrong, or the server refuses for good (5xx); names the
            refused addresses.
    """
    try:
        refused = (transport or through_airflow)(message, to)
    except smtplib.SMTPRecipientsRefused as error:
        refused = error.recipients
    except smtplib.SMTPResponseException as error:
        raise _failed(error.smtp_code, f"answered {error.smtp_code} {_text(error.smtp_error)}") from error
    except (smtplib.SMTPException, OSError) as error:
        raise _failed(None, f"could not be used: {type(error).__name__}: {error}") from error
    if refused:
        raise _recipients_refused(refused, to)


def through_airflow(message: Message, to: list[str]) -> Refused:
    """Hand the mail to the server of `smtp_default`.

    SmtpHook itself sends HTML only; its connection, TLS and login are used, and the mail is built here.

    Returns:
        The recipients that were refused, each with the server's code and text.
    """
    from airflow.providers.common.compat.sdk import AirflowException
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    try:
        hook = SmtpHook(CONNECTION_ID).get_conn()
    except AirflowException as error:
        raise _unusable(error) from error
    with hook:
        client = hook._smtp_client
        assert isinstance(client, smtplib.SMTP)
        mail = _addressed(message, hook.from_email, to)
        # Not send_message: it writes with another policy, which turns a line that starts with "From " into ">From ".
        refused = client.sendmail(mail["From"], to, mail.as_bytes())
        with suppress(smtplib.SMTPException, OSError):  # accepted already: a lost goodbye must not send it again
            client.quit()
        return refused


def _addressed(message: Message, sender: str | None, to: list[str]) -> EmailMessage:
    if not sender:
        raise TerminalDeliveryError(
            f"The Airflow connection {CONNECTION_ID} names no sender; set from_email in its extra fields."
        )
    return as_email(message, sender=sender, to=to, sent_at=datetime.now(UTC))


def _unusable(error: Exception) -> TerminalDeliveryError | TransientDeliveryError:
    if "Unable to connect" in str(error):
        return TransientDeliveryError(f"The mail server of the Airflow connection {CONNECTION_ID} hung up: {error}")
    return TerminalDeliveryError(
        f"The Airflow connection {CONNECTION_ID} cannot be used ({error}); create it with conn type smtp, host, port "
        "and from_email in its extra fields."
    )


def _failed(code: int | None, what: str) -> TerminalDeliveryError | TransientDeliveryError:
    text = f"The mail server of the Airflow connection {CONNECTION_ID} {what}."
    if code is not None and code >= 500:
        return TerminalDeliveryError(f"{text} Correct the connection, then clear the task to send the message.")
    return TransientDeliveryError(f"{text} The message is sent when the task is tried again.")


def _recipients_refused(refused: Refused, to: list[str]) -> TerminalDeliveryError | TransientDeliveryError:
    listed = "; ".join(f"{address} ({code} {_text(reason)})" for address, (code, reason) in refused.items())
    others = "the others received the message" if len(refused) < len(to) else "nobody received the message"
    text = f"The mail server refused {listed}; {others}."
    if any(code < 500 for code, _ in refused.values()):
        return TransientDeliveryError(f"{text} It is sent again when the task is tried again.")
    return TerminalDeliveryError(f"{text} Correct the address, or tell the person another way.")


def _text(answer: bytes | str) -> str:
    return answer.decode("utf-8", "backslashreplace") if isinstance(answer, bytes) else answer
