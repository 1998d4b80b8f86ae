"""Commands about users: `profile | users-export`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from perennial.audiences.completeness import MISSING_LIMIT, MISSING_LIMIT_MOST, MissingPage
from perennial.cli.printing import console, opened_warehouse, print_rows, say, say_left_out
from perennial.errors import TerminalRequestError

if TYPE_CHECKING:
    from perennial.exports.received import CampaignReceived, CanvasReceived
    from perennial.warehouse import Warehouse

app = typer.Typer()

MissingFrom = Annotated[
    int | None,
    typer.Option(
        "--missing-from", min=0, help="List the sources that are left out, the latest first, after skipping this many."
    ),
]
MissingLimit = Annotated[
    int, typer.Option("--missing-limit", min=1, max=MISSING_LIMIT_MOST, help="How many of them to list at a time.")
]
_CAMPAIGN_COLUMNS = ["campaign", "id", "last received", "engaged", "converted", "control", "variation"]
_CANVAS_COLUMNS = ["canvas", "id", "last message", "last entered", "control", "variation", "steps"]


@app.command()
def profile(
    user: Annotated[str, typer.Argument(help="Id of a user on the platform.")],
    missing_from: MissingFrom = None,
    missing_limit: MissingLimit = MISSING_LIMIT,
) -> None:
    """List the campaigns and Canvas messages a user received; what is left out is reported on standard error."""
    from perennial.exports.profile import read_profile

    with opened_warehouse() as warehouse:
        found = read_profile(warehouse, user, MissingPage(missing_from or 0, missing_limit))
        console.print("[bold]Campaigns received[/]")
        print_rows(_CAMPAIGN_COLUMNS, [_campaign_row(campaign) for campaign in found.campaigns_received])
        say_left_out(found.campaigns_completeness, True, missing_from)
        console.print("\n[bold]Canvas messages received[/]")
        print_rows(_CANVAS_COLUMNS, [_canvas_row(canvas) for canvas in found.canvas_messages_received])
        say_left_out(found.canvases_completeness, True, missing_from)


@app.command()
def users_export(
    external_id: Annotated[list[str] | None, typer.Option(help="External id of a user; may be repeated.")] = None,
    braze_id: Annotated[list[str] | None, typer.Option(help="Id of a user on the platform; may be repeated.")] = None,
    field: Annotated[list[str] | None, typer.Option(help="A field to export; may be repeated. Default: all.")] = None,
    segment: Annotated[str | None, typer.Option(help="Id of a segment whose users to export, instead of ids.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse rather than leave expired data out.")] = False,
    missing_from: MissingFrom = None,
    missing_limit: MissingLimit = MISSING_LIMIT,
) -> None:
    """Export up to 50 users as JSON, or a segment as JSON lines; what is left out is reported on standard error."""
    fields = {"fields_to_export": field} if field else {}
    naming = Naming(strict, missing_from, missing_limit)
    with opened_warehouse() as warehouse:
        if segment is None:
            _export_ids(warehouse, {"external_ids": external_id or [], "braze_id": braze_id or [], **fields}, naming)
        elif external_id or braze_id:
            raise TerminalRequestError("Give either ids or --segment, and not both.")
        else:
            _export_segment(warehouse, {"segment_id": segment, **fields}, naming)


@dataclass(frozen=True)
class Naming:
    """Whether an export may leave sources out, and which of these it names."""

    strict: bool
    missing_from: int | None
    missing_limit: int

    @property
    def page(self) -> MissingPage:
        return MissingPage(self.missing_from or 0, self.missing_limit)


def _export_ids(warehouse: Warehouse, asked: Mapping[str, Any], naming: Naming) -> None:
    from perennial.exports.models import parse_request
    from perennial.exports.users import export_users

    response = export_users(warehouse, parse_request(asked), naming.strict, naming.page)
    if response.completeness is not None:
        say_left_out(response.completeness, True, naming.missing_from)
    sys.stdout.write(f"{response.to_json()}\n")


def _export_segment(warehouse: Warehouse, asked: Mapping[str, Any], naming: Naming) -> None:
    from perennial.exports.models import parse_segment_request
    from perennial.exports.users import open_segment_export

    request = parse_segment_request(asked)
    with open_segment_export(warehouse, request, datetime.now(UTC), naming.strict, naming.page) as export:
        # Before the first user: somebody who reads only the first few has to know as well.
        say_left_out(export.completeness, bool(request.kinds), naming.missing_from)
        if export.unavailable_fields:
            say(escape(f"No data is available for these fields: {', '.join(export.unavailable_fields)}."))
        sys.stdout.writelines(f"{user.to_json()}\n" for user in export.users())


def _campaign_row(campaign: CampaignReceived) -> tuple[Any, ...]:
    engaged = [name.replace("_", " ") for name, happened in vars(campaign.engaged).items() if happened]
    return (
        campaign.name,
        campaign.api_campaign_id,
        campaign.last_received,
        ", ".join(engaged) or None,
        _yes(campaign.converted),
        _yes(campaign.in_control),
        campaign.variation_name or campaign.variation_api_id,
    )


def _canvas_row(canvas: CanvasReceived) -> tuple[Any, ...]:
    return (
        canvas.name,
        canvas.api_canvas_id,
        canvas.last_received_message,
        canvas.last_entered,
        _yes(canvas.in_control),
        canvas.variation_name,
        ", ".join(step.name for step in canvas.steps_received) or None,
    )


def _yes(flag: bool) -> str | None:
    return "yes" if flag else None
