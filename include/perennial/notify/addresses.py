"""Which e-mail addresses a request may name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.utils import getaddresses

from perennial.errors import TerminalRequestError
from perennial.refusals import not_known, sentences

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"

# One language for JSON schema (the trigger form, in JavaScript) and for Python: `$(?!\n)` because Python's `$` also
# matches before a final newline, and \Z means nothing in JavaScript.
ADDRESS_PATTERN = (
    rf"^(?=.{{3,254}}$(?!\n))(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_LABEL}$(?!\n)"
)  # fmt: skip
_ADDRESS = re.compile(ADDRESS_PATTERN)


def is_address(value: object) -> bool:
    """Return whether a value is a plain address: `name@domain.tld`, ASCII, no display name, at most 254 characters."""
    return isinstance(value, str) and _ADDRESS.search(value) is not None


def refuse_bad_addresses(addresses: Sequence[object]) -> None:
    """Accept a request only if each of its addresses is valid.

    Raises:
        TerminalRequestError: Names every bad address.
    """
    if isinstance(addresses, str) or not addresses:
        raise TerminalRequestError(
            f"notify is {addresses!r}; give a list of at least one e-mail address, such as ['you@example.com']."
        )
    bad = [address for address in addresses if not is_address(address)]
    if bad:
        raise TerminalRequestError(_not_addresses(bad))


def _not_addresses(bad: Sequence[object]) -> str:
    """Name each value that is not an address; at the end suggest what was probably meant."""
    meant = {str(value): nearest for value in bad if (nearest := _nearest(value))}
    other = [repr(value) for value in bad if str(value) not in meant]
    said = [not_known(value, "plain e-mail address", nearest, "") for value, nearest in meant.items()]
    if other:
        are = "is not an e-mail address" if len(other) == 1 else "are not e-mail addresses"
        said.insert(
            0,
            f"{', '.join(other)} {are}; write name@example.com, in ASCII letters (an international domain in its xn-- "
            "form), without a display name.",
        )
    return sentences(said)


def _nearest(value: object) -> str:
    """Return the address in a value, or the value with a typing error corrected; empty if neither is an address."""
    text = str(value).strip()
    found = [address for _, address in getaddresses([text])]
    slips = text.replace(" ", "").replace(",", ".").replace("..", ".").replace("@@", "@")
    candidates = [*(found if len(found) == 1 else []), slips]
    return next(filter(is_address, candidates), "")
