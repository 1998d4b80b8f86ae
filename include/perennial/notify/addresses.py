"""Which e-mail addresses a request may name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from perennial.errors import TerminalRequestError

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"

# One language for JSON schema (the trigger form, in JavaScript) and for Python: `$(?!\n)` because Python's `$` also
# matches before a final newline, and \Z means nothing in JavaScript.
ADDRESS_PATTERN = (
    rf"^(?=.{{3,254}}$(?!\n))(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_LABEL}$(?!\n)"
)  # fmt: skip
_ADDRESS = re.compile(ADDRESS_PATTERN)


def is_address(value: object) -> bool:
    """Say whether a value is a plain address: `name@domain.tld` in ASCII, no display name, at most 254 characters."""
    return isinstance(value, str) and _ADDRESS.search(value) is not None


def refuse_bad_addresses(addresses: Sequence[object]) -> None:
    """Let a request through only if each of its addresses can be written to.

    Raises:
        TerminalRequestError: Names every bad address.
    """
    if isinstance(addresses, str) or not addresses:
        raise TerminalRequestError(
            f"notify is {addresses!r}; give a list of at least one e-mail address, such as ['you@example.com']."
        )
    bad = [address for address in addresses if not is_address(address)]
    if bad:
        raise TerminalRequestError(
            f"notify holds {len(bad)} value(s) that are no e-mail address: {', '.join(map(repr, bad))}. "
            "Write each as name@example.com, in ASCII letters (an international domain in its xn-- form), "
            "without a display name."
        )
