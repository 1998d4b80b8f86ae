"""Addresses of the pages that e-mails link to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

PAGE_PATH = "/perennial"
"""Below Airflow's own address."""
# Mail readers, and gateways that check links, break longer ones.
LINK_CHARACTERS = 2_000


def page_url(base_url: str) -> str:
    """Return the address of the page below Airflow's own."""
    return f"{base_url.rstrip('/')}{PAGE_PATH}"


def source_link(page: str | None, source_id: str) -> str | None:
    """Return the address of a source's page; None where there is no page, or an address would be too long."""
    return _short(f"{page}/source?id={_quoted(source_id)}") if page else None


def run_link(page: str | None, run_id: str) -> str | None:
    """Return the address of a restore's page; None where there is no page."""
    return _short(f"{page}/restores/run?id={_quoted(run_id)}") if page else None


def erasure_link(page: str | None, request_id: str) -> str | None:
    """Return the address of the page of a request to erase people; None where there is no page."""
    return _short(f"{page}/erasure?id={_quoted(request_id)}") if page else None


@dataclass(frozen=True)
class RestoreLink:
    """The page on which a restore is requested, with sources selected.

    Attributes:
        url: Its address.
        source_count: How many are selected: the first ones, as many as an address holds.
        expired_url: Address of the list of everything that has expired.
    """

    url: str
    source_count: int
    expired_url: str


def restore_link(page: str | None, source_ids: Sequence[str], tags: Sequence[str] = ()) -> RestoreLink | None:
    """Return the address at which to request a restore; None where there is no page, or an address has no room."""
    if not page:
        return None
    url, ticked = f"{page}/restore?", 0
    fields = [*(f"tags={_quoted(tag)}&" for tag in tags), *(f"id={_quoted(source_id)}&" for source_id in source_ids)]
    for field in fields:
        if len(url) + len(field) > LINK_CHARACTERS:
            break
        url += field
        ticked += 1
    if ticked < max(1, len(tags)):
        return None
    return RestoreLink(url.rstrip("&"), ticked - len(tags), f"{page}/sources?state=expired&sort=state&order=desc")


def _short(url: str) -> str | None:
    return url if len(url) <= LINK_CHARACTERS else None


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")
