"""The lists *Campaigns received* and *Canvas messages received* of a user's profile (R14, R16)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perennial.errors import TerminalRequestError
from perennial.features.completeness import Completeness
from perennial.features.received import CAMPAIGNS, CANVASES, CampaignReceived, CanvasReceived, missing_of, open_received

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a user received, newest first.

    Attributes:
        user_id: The platform's user id.
        campaigns_received: *Campaigns received*.
        campaigns_completeness: The expired and deleted campaigns; any of them may have held something of this user.
        canvas_messages_received: *Canvas messages received*.
        canvases_completeness: The expired and deleted Canvases, likewise.
    """

    user_id: str
    campaigns_received: tuple[CampaignReceived, ...]
    campaigns_completeness: Completeness
    canvas_messages_received: tuple[CanvasReceived, ...]
    canvases_completeness: Completeness


def read_profile(warehouse: Warehouse, user_id: str) -> Profile:
    """Read what a user received of the sources whose interactions are available.

    Args:
        warehouse: Where everything is.
        user_id: The platform's user id.

    Raises:
        TerminalRequestError: The platform has no such user.
    """
    with open_received(warehouse, CAMPAIGNS | CANVASES) as received:
        received.ask_for([user_id])
        user = next(received.users(), None)
    if user is None:
        raise TerminalRequestError(
            f"No user {user_id!r} is known; give the platform's user id, and run sync_sources if the user is new there."
        )
    return Profile(
        user_id=user_id,
        campaigns_received=user.campaigns,
        campaigns_completeness=missing_of(CAMPAIGNS, received.completeness),
        canvas_messages_received=user.canvases,
        canvases_completeness=missing_of(CANVASES, received.completeness),
    )
