"""Sending through Airflow's connection `smtp_default`. Airflow is imported only when something is sent."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any

from perennial.errors import TerminalDeliveryError, TransientDeliveryError
from perennial.notify.addresses import is_address
from perennial.notify.message import Letter, as_email

if TYPE_CHECKING:
    from types import TracebackType

CONNECTION_ID = "smtp_default"


@dataclass(frozen=True)
class Refusal:
    """Why one recipient did not get a mail.

    Attributes:
        reason: The server's words, or what is wrong with the connection.
        for_good: Whether a retry is useless.
    """

    reason: str
    for_good: bool


def send(posted: Iterable[tuple[Letter, str]], accepted: Callable[[Letter, str], None]) -> dict[str, Refusal]:
    """Send e-mails, each to one recipient: a refusal of one recipient affects nobody else.

    Args:
        posted: Each letter with one of its recipients.
        accepted: Called for each e-mail as soon as the server has accepted it.

    Returns:
        Who did not get the e-mail, and why. When the server cannot be used at all, this is everybody who is left.
    """
    refusals: dict[str, Refusal] = {}
    unusable: Refusal | None = None
    with _Server() as server:
        for letter, recipient in posted:
            try:
                refusal = unusable or server.take(letter, recipient)
            except (TerminalDeliveryError, TransientDeliveryError) as error:
                refusal = unusable = Refusal(str(error), isinstance(error, TerminalDeliveryError))
            if refusal is None:
                accepted(letter, recipient)
            else:
                refusals[recipient] = refusal
    return refusals


class _Server:
    """The mail server of `smtp_default`, connected when it is needed.

    SmtpHook itself sends HTML only; its connection, TLS and login are used, and the e-mail is built here.
    """

    def __init__(self) -> None:
        self._hook: Any = None
        self._is_used = False

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._hook is not None:
            with suppress(smtplib.SMTPException, OSError):
                self._hook._smtp_client.quit()
        self._close()

    def take(self, letter: Letter, recipient: str) -> Refusal | None:
        """Send one e-mail; None when the server has accepted it.

        Servers limit what one connection may do, or close it, so a temporary refusal counts only on a fresh connection.

        Raises:
            TransientDeliveryError: The server is down, or accepts no connection at the moment.
            TerminalDeliveryError: The connection is missing or wrong.
        """
        was_used = self._is_used
        refusal = self._try(letter, recipient)
        if was_used and refusal is not None and not refusal.for_good:
            self._close()
            refusal = self._try(letter, recipient)
        return refusal

    def _try(self, letter: Letter, recipient: str) -> Refusal | None:
        hook = self._connected()
        self._is_used = True
        client, sender = hook._smtp_client, hook.from_email
        to = [address for address in letter.to if is_address(address)]
        mail = as_email(letter.message, sender=sender, to=to, sent_at=datetime.now(UTC))
        try:
            # Not send_message: it writes with another policy, which puts ">" before a line that starts with "From ".
            client.sendmail(parseaddr(sender)[1], [recipient], mail.as_bytes())
        except smtplib.SMTPRecipientsRefused as error:
            return self._refused(*error.recipients[recipient])
        except smtplib.SMTPResponseException as error:
            return self._refused(error.smtp_code, error.smtp_error)
        except (smtplib.SMTPException, OSError) as error:
            # This e-mail may be what broke it: the next one is tried on a new connection.
            self._close()
            return Refusal(f"the connection broke: {error}", for_good=False)
        return None

    def _refused(self, code: int, answer: bytes | str) -> Refusal:
        if self._hook._smtp_client.sock is None:  # 421: the server has said goodbye
            self._close()
        return Refusal(f"{code} {_text(answer)}", for_good=code >= 500)

    def _connected(self) -> Any:
        if self._hook is None:
            self._hook = _connect()
        return self._hook

    def _close(self) -> None:
        if self._hook is not None:
            self._hook._smtp_client.close()
        self._hook, self._is_used = None, False


def _connect() -> Any:
    try:
        from airflow.providers.common.compat.sdk import AirflowException
        from airflow.providers.smtp.hooks.smtp import SmtpHook
    except Exception as error:  # the import reads Airflow's configuration, and may fail anywhere in it
        raise TerminalDeliveryError(
            f"Airflow, which holds the connection {CONNECTION_ID}, does not start ({error}); correct its configuration."
        ) from error
    try:
        hook = SmtpHook(CONNECTION_ID).get_conn()
    except AirflowException as error:
        # The hook raises it while it handles what the server did.
        if isinstance(error.__context__, smtplib.SMTPServerDisconnected):
            raise TransientDeliveryError(_unusable(f"hung up: {error}")) from error
        raise TerminalDeliveryError(
            f"The Airflow connection {CONNECTION_ID} cannot be used ({error}); create it, or set "
            "AIRFLOW_CONN_SMTP_DEFAULT, with conn type smtp, host, port and from_email in its extra fields."
        ) from error
    except smtplib.SMTPResponseException as error:
        text = _unusable(f"answered {error.smtp_code} {_text(error.smtp_error)}")
        if error.smtp_code >= 500:
            raise TerminalDeliveryError(f"{text} Correct the connection, then clear the task of the run.") from error
        raise TransientDeliveryError(text) from error
    except (smtplib.SMTPException, OSError) as error:
        raise TransientDeliveryError(_unusable(f"could not be used: {type(error).__name__}: {error}")) from error
    client, address = hook._smtp_client, parseaddr(hook.from_email or "")[1]
    assert isinstance(client, smtplib.SMTP)
    if "@" in address and address.isascii():
        return hook
    client.close()
    raise TerminalDeliveryError(
        f"The Airflow connection {CONNECTION_ID} has the sender {hook.from_email!r}; set from_email in its extra "
        "fields to an e-mail address in ASCII characters."
    )


def _unusable(what: str) -> str:
    return f"The mail server of the Airflow connection {CONNECTION_ID} {what}."


def _text(answer: bytes | str) -> str:
    text = answer.decode("utf-8", "backslashreplace") if isinstance(answer, bytes) else answer
    return " ".join(text.split())
