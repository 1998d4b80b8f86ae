"""Numbers of things as a person reads them."""

from __future__ import annotations


def count(number: int, singular: str, plural: str | None = None) -> str:
    """Write `1 source`, `1,234 sources`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
