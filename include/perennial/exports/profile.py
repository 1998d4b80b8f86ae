"""The lists *Campaigns received* and *Canvas messages received* of a user's profile (R14, R16)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perennial.audiences.completeness import FIRST_PAGE, Completeness, MissingPage
from perennial.errors import TerminalRequestError
from perennial.exports.received import CAMPAIGNS, CANVASES, CampaignReceived, CanvasReceived, open_received
from perennial.settings import dag_id

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a user received, newest first.

    Attributes:
        user_id: The platform's user id.
        campaigns_received: *Campaigns received*.
        campaigns_completeness: The expired and deleted campaigns, counted, and a page of them named; any may have held
            something of this user.
        canvas_messages_received: *Canvas messages received*.
        canvases_completeness: The expired and deleted Canvases, likewise.
    """

    user_id: str
    campaigns_received: tuple[CampaignReceived, ...]
    campaigns_completeness: Completeness
    canvas_messages_received: tuple[CanvasReceived, ...]
    canvases_completeness: Completeness


def read_profile(warehouse: Warehouse, user_id: str, page: MissingPage = FIRST_PAGE) -> Profile:
    """Read what a user received of the sources whose interactions are available.

    Args:
        warehouse: Where everything is.
        user_id: The platform's user id.
        page: Which of the sources that each list leaves out are named.

    Raises:
        TerminalRequestError: The platform has no such user.
    """
    with open_received(warehouse, CAMPAIGNS | CANVASES) as received:
        received.ask_for([user_id])
        users = list(received.users())
        if not users:
            raise TerminalRequestError(
                f"No user {user_id!r} is known; give the platform's user id, and run {dag_id('sync_sources')} if the "
                "user is new there."
            )
        return Profile(
            user_id=user_id,
            campaigns_received=users[0].campaigns,
            campaigns_completeness=received.find_missing(CAMPAIGNS, page),
            canvas_messages_received=users[0].canvases,
            canvases_completeness=received.find_missing(CANVASES, page),
        )
