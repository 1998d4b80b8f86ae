"""People: found by an id or an e-mail address, and what they received (R14, R16)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from perennial.audiences.completeness import FIRST_PAGE, MissingPage
from perennial.errors import TerminalRequestError
from perennial.exports.models import CompletenessObject, completeness_object
from perennial.exports.received import CampaignReceived, CanvasReceived
from perennial.statements import statement
from perennial.tables import USERS
from perennial.web.access import READ, MayExportDep
from perennial.web.dependencies import MissingPageDep, WarehouseDep
from perennial.web.listing import form_method
from perennial.web.pages import render
from perennial.web.problems import NotFoundError

if TYPE_CHECKING:
    from perennial.audiences.completeness import Completeness
    from perennial.exports.profile import Profile
    from perennial.warehouse import Warehouse

router = APIRouter(dependencies=[READ], tags=["users"])

FOUND_LIMIT = 20
# How many ids the address of a restore holds; more are requested by what they have in common.
_ADDRESS_IDS = 50
Wanted = Annotated[str, Query(max_length=1_000, description="User id, external id or e-mail address, exactly")]
UserId = Annotated[str, Query(alias="id", min_length=1, max_length=1_000, description="The platform's user id")]


# Fields by which a person can be reached or recognised; the lists of received messages need the others.
_PERSONAL = ("email", "phone", "first_name", "last_name", "custom_attributes")


class PlatformUser(BaseModel):
    """A user as known to the platform, or as much of that as the reader may see."""

    user_id: str
    external_user_id: str | None
    email: str | None
    phone: str | None
    first_name: str | None
    last_name: str | None
    country: str | None
    language: str | None
    time_zone: str | None
    created_at: datetime | None
    invalid_phone: bool
    feature_flags: list[str] = Field(description="Feature flags that are on")
    custom_attributes: str | None = Field(description="JSON, as the platform wrote it")
    withheld: bool = Field(
        False, description=f"Whether the reader may not export people's data, so that {', '.join(_PERSONAL)} are null"
    )


class FoundUsers(BaseModel):
    """The users that were found."""

    users: list[PlatformUser] = Field(description=f"At most {FOUND_LIMIT}, in order of user id")
    more: bool = Field(description="Whether there are others")


class UserProfile(BaseModel):
    """A user, what they received, newest first, and what the lists leave out."""

    user: PlatformUser
    campaigns_received: tuple[CampaignReceived, ...]
    campaigns_completeness: CompletenessObject
    canvas_messages_received: tuple[CanvasReceived, ...]
    canvases_completeness: CompletenessObject


@router.get("/users", response_class=HTMLResponse, include_in_schema=False)
def users_page(request: Request, warehouse: WarehouseDep, may_export: MayExportDep, q: Wanted = "") -> HTMLResponse:
    """Look for users."""
    return render(request, "users.html.j2", q=q, found=_found(warehouse, q, may_export), limit=FOUND_LIMIT)


@router.get("/api/users", summary="Find users by an id or an e-mail address")
def find_users(warehouse: WarehouseDep, may_export: MayExportDep, q: Wanted) -> FoundUsers:
    """Find the users with exactly this user id, external id or e-mail address."""
    return _found(warehouse, q, may_export)


@router.get("/user", response_class=HTMLResponse, include_in_schema=False)
def user_page(request: Request, warehouse: WarehouseDep, may_export: MayExportDep, user_id: UserId) -> HTMLResponse:
    """Show a user."""
    user, profile = _read(warehouse, user_id, may_export)
    lists = (
        ("campaign", profile.campaigns_completeness, _restore_query("campaign", profile.campaigns_completeness)),
        ("canvas", profile.canvases_completeness, _restore_query("canvas", profile.canvases_completeness)),
    )
    return render(request, "user.html.j2", user=user, profile=profile, lists=lists)


@router.get("/api/user", summary="A user, and what they received")
def read_user(
    warehouse: WarehouseDep, may_export: MayExportDep, user_id: UserId, missing: MissingPageDep
) -> UserProfile:
    """Read a profile. The expired and deleted sources that may have had interactions of the user are counted, and a
    page of them is named for each list."""
    user, profile = _read(warehouse, user_id, may_export, missing)
    return UserProfile(
        user=user,
        campaigns_received=profile.campaigns_received,
        campaigns_completeness=completeness_object(profile.campaigns_completeness),
        canvas_messages_received=profile.canvas_messages_received,
        canvases_completeness=completeness_object(profile.canvases_completeness),
    )


def _read(
    warehouse: Warehouse, user_id: str, may_export: bool, page: MissingPage = FIRST_PAGE
) -> tuple[PlatformUser, Profile]:
    from perennial.exports.profile import read_profile

    try:
        profile = read_profile(warehouse, user_id, page)
    except TerminalRequestError as error:
        raise NotFoundError(str(error)) from error
    user = next((user for user in _found(warehouse, user_id, may_export).users if user.user_id == user_id), None)
    if user is None:
        raise NotFoundError(f"User {user_id!r} has just been removed from the platform.")
    return user, profile


def _found(warehouse: Warehouse, wanted: str, may_export: bool) -> FoundUsers:
    from perennial.engines.duckdb import open_session

    if not wanted:
        return FoundUsers(users=[], more=False)
    with open_session(warehouse, [USERS.name]) as session:
        binds = {"wanted": wanted, "most": FOUND_LIMIT + 1}
        rows = session.execute(statement("web/find_users"), binds).fetchall()
    # The columns are in the order of the fields; the last one does not come from the platform.
    users = [PlatformUser(**dict(zip(PlatformUser.model_fields, row, strict=False))) for row in rows]
    if not may_export:
        users = [user.model_copy(update={**dict.fromkeys(_PERSONAL), "withheld": True}) for user in users]
    return FoundUsers(users=users[:FOUND_LIMIT], more=len(users) > FOUND_LIMIT)


def _restore_query(kind: str, completeness: Completeness) -> str:
    """Write what to restore as a query string: ids, or all expired sources of a kind."""
    ids = completeness.restorable
    if len(ids) == completeness.restorable_count <= _ADDRESS_IDS and form_method(ids) == "get":
        return urlencode([("id", source_id) for source_id in ids])
    return urlencode({"kind": kind, "state": "expired", "all": "1"})
