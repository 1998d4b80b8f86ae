from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from perennial.errors import TerminalRequestError
from perennial.notify import ADDRESS_PATTERN, is_address, refuse_bad_addresses

GOOD = ["ada@example.com", "a.b+c@sub.example.co.uk", "o'neil@example.com", "x@xn--bcher-kva.example", "1@2.de"]
BAD = [
    "a@", "@example.com", "a@b", "a b@example.com", "a@example..com", ".a@example.com", "a.@example.com",
    "a..b@example.com", "a@-example.com", "a@example-.com", "Ada <ada@example.com>", "a@example.com,b@example.com",
    "ada@example.com\n", "ada@example.com\r\nBcc: x@example.com", "\nada@example.com", "adá@example.com",
    "a" * 65 + "@example.com", "a@" + "b" * 64 + ".com", "a@" + ("b" * 60 + ".") * 5 + "com", "", " ", "a@exa_mple.com",
    "a@example.com ", "a@[127.0.0.1]", '"a b"@example.com',
]  # fmt: skip
SCHEMA = Draft202012Validator({"type": "string", "pattern": ADDRESS_PATTERN})


@pytest.mark.parametrize("address", GOOD)
def test_an_address_that_can_be_written_to_passes(address: str) -> None:
    refuse_bad_addresses([address])
    assert SCHEMA.is_valid(address)


@pytest.mark.parametrize("address", BAD, ids=ascii)
def test_an_address_that_cannot_be_written_to_is_refused_by_code_and_by_the_form(address: str) -> None:
    with pytest.raises(TerminalRequestError):
        refuse_bad_addresses([address])
    assert not SCHEMA.is_valid(address)


def test_every_bad_address_is_named_and_no_good_one() -> None:
    with pytest.raises(TerminalRequestError) as refused:
        refuse_bad_addresses(["ada@example.com", "a@", None, "b c@d.e"])
    assert all(name in str(refused.value) for name in ("'a@'", "None", "'b c@d.e'", "are not e-mail addresses"))
    assert "ada@" not in str(refused.value)


@pytest.mark.parametrize("addresses", [[], "ada@example.com", None], ids=["none", "a bare string", "null"])
def test_something_else_than_a_list_of_addresses_is_refused(addresses: object) -> None:
    with pytest.raises(TerminalRequestError, match="at least one e-mail address"):
        refuse_bad_addresses(addresses)  # type: ignore[arg-type]


NASTY = '\r\n\0 ,;<>()"é\u2028'


@given(st.text(alphabet=NASTY + "a.@", max_size=3), st.text(alphabet=NASTY + "a.@", max_size=3))
def test_no_address_that_passes_can_hold_a_second_line_or_a_second_recipient(before: str, after: str) -> None:
    address = f"{before}ada@example.com{after}"
    assert not is_address(address) or set(address).isdisjoint(NASTY)


@given(st.text(alphabet="ab@.-\n\r +é", max_size=12))
def test_code_and_form_speak_the_same_language(text: str) -> None:
    assert is_address(text) == SCHEMA.is_valid(text)
