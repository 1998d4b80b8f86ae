"""What users received of each campaign and Canvas: the one reading behind profiles and exports (R14, R16, R17)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from perennial.audiences.completeness import NOTHING_MISSING, Completeness, MissingPage, find_missing_page
from perennial.engines.protocol import BATCH_ROWS
from perennial.statements import statement
from perennial.tables import CANVAS_STEPS, SOURCE_VARIANTS, USERS

if TYPE_CHECKING:
    from perennial.engines.sessions import FeatureSession
    from perennial.warehouse import Warehouse

Kind = Literal["campaign", "canvas"]
CAMPAIGNS: frozenset[Kind] = frozenset({"campaign"})
CANVASES: frozenset[Kind] = frozenset({"canvas"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_Row = dict[str, Any]
_Listed = TypeVar("_Listed")


@dataclass(frozen=True, kw_only=True)
class Engaged:
    """What a user did with the messages of a campaign; opens by machines are not the user's."""

    opened_email: bool
    opened_push: bool
    clicked_email: bool
    clicked_triggered_in_app_message: bool


@dataclass(frozen=True, kw_only=True)
class CampaignReceived:
    """A campaign that a user received, or is in the control group of; names as the product has them.

    Attributes:
        name: Name of the campaign; its id where the platform has it no longer.
        api_campaign_id: Id of the campaign.
        last_received: Latest message; None for who has only been in the control group.
        engaged: What the user did with it.
        converted: Whether the primary conversion event happened.
        in_control: Whether the user was in the control group the last time.
        variation_name: Name of the variation of the last time; None where the platform does not have it.
        variation_api_id: Its id; None where no interaction names one.
    """

    name: str
    api_campaign_id: str
    last_received: datetime | None
    engaged: Engaged
    converted: bool
    in_control: bool
    variation_name: str | None
    variation_api_id: str | None


@dataclass(frozen=True, kw_only=True)
class StepReceived:
    """A step of a Canvas that a user received a message from."""

    name: str
    api_canvas_step_id: str
    last_received: datetime


@dataclass(frozen=True, kw_only=True)
class CanvasReceived:
    """A Canvas that a user entered, was put in the control group of, or received messages from.

    Attributes:
        name: Name of the Canvas; its id where the platform has it no longer.
        api_canvas_id: Id of the Canvas.
        last_received_message: Latest message; None for who received none.
        last_entered: Latest entry, the control group apart.
        last_entered_control_at: Latest entry into the control group.
        in_control: Whether the latest entry was into the control group.
        variation_name: Name of the variation of the last time; None where the platform does not have it.
        steps_received: The steps that sent something, newest first.
    """

    name: str
    api_canvas_id: str
    last_received_message: datetime | None
    last_entered: datetime | None
    last_entered_control_at: datetime | None
    in_control: bool
    variation_name: str | None
    steps_received: tuple[StepReceived, ...]


@dataclass(frozen=True)
class UserRecord:
    """A user, with what was received, newest first.

    Attributes:
        profile: The columns of `users` by name.
        campaigns: Empty too where campaigns were not asked for.
        canvases: Likewise.
    """

    profile: dict[str, Any]
    campaigns: tuple[CampaignReceived, ...]
    canvases: tuple[CanvasReceived, ...]


@dataclass(frozen=True)
class ReceivedSession:
    """Where what users received is asked, as of one moment of the warehouse.

    Attributes:
        session: With `tables` of `RECEIVED_TABLES` in place.
        kinds: Whose interactions are asked for.
    """

    session: FeatureSession
    kinds: frozenset[Kind]

    def ask_for(self, user_ids: Collection[str], external_ids: Collection[str] = ()) -> None:
        """Say which users are meant; once a session."""
        binds = {"user_ids": sorted(user_ids), "external_ids": sorted(external_ids)}
        self.session.queries.define("asked_users", statement("exports/select_asked_users"), binds)

    def users(self, batch_rows: int = BATCH_ROWS) -> Iterator[UserRecord]:
        """Stream the users in relation `asked_users`, in order of id, in memory that does not grow with their number.

        Args:
            batch_rows: Rows that are fetched at a time.
        """
        # Left to itself, DuckDB looks the few users up in a hash table of all interactions.
        self.session.connection.execute("SET disabled_optimizers = 'build_side_probe_side'")
        self.session.queries.define("source_names", statement("exports/select_source_names"))
        asked = self.session.queries.query(
            statement("exports/list_received"), {"kinds": sorted(self.kinds)}, batch_rows
        )
        rows = (row for batch in asked for row in batch.to_pylist())
        for _, of_user in groupby(rows, key=itemgetter("user_id")):
            yield _user(list(of_user))

    def is_for_nobody(self) -> bool:
        """Whether no user is asked for, so that no list can be short."""
        counted = self.session.queries.query(statement("exports/count_asked_users")).read_all()
        return not counted["user_count"][0].as_py()

    def find_missing(
        self, kinds: frozenset[Kind], page: MissingPage, named: Completeness = NOTHING_MISSING
    ) -> Completeness:
        """Find out what lists of these kinds leave out; not while users are being streamed.

        Every source of a kind that is expired or deleted counts: the archive may lie where it cannot be read (Glacier),
        so nobody can tell which of them hold something of a user.

        Args:
            kinds: Of `kinds`; with none, there is no list.
            page: Which sources to name.
            named: What the answer leaves out besides.
        """
        return find_missing_page(self.session.connection, kinds, page, named) if kinds else named


RECEIVED_TABLES = (USERS.name, CANVAS_STEPS.name, SOURCE_VARIANTS.name)


@contextmanager
def open_received(warehouse: Warehouse, kinds: frozenset[Kind]) -> Iterator[ReceivedSession]:
    """Open what users received of some kinds of sources; with none, no interaction is opened."""
    # Not above: the routes describe their answers by what stands here, in processes that never open a database.
    from perennial.engines.sessions import open_feature_session

    source_ids = None if kinds else ()
    with open_feature_session(warehouse, RECEIVED_TABLES, lambda opening: opening.session(source_ids)) as session:
        yield ReceivedSession(session, kinds)


def _user(rows: list[_Row]) -> UserRecord:
    sources: dict[tuple[str, str], list[_Row]] = {}
    profile: _Row = {}
    for row in rows:
        if row["source_id"] is None:
            profile = row
        else:
            sources.setdefault((row["source_kind"], row["source_id"]), []).append(row)
    campaigns = (_campaign(source_id, found) for (kind, source_id), found in sources.items() if kind == "campaign")
    canvases = (_canvas(source_id, found) for (kind, source_id), found in sources.items() if kind == "canvas")
    return UserRecord(profile, _newest_first(campaigns), _newest_first(canvases))


# When it was (microseconds since 1970), its id, and what it is.
_Dated = tuple[int, str, _Listed]


def _newest_first(dated: Iterable[_Dated[_Listed] | None]) -> tuple[_Listed, ...]:
    """Order by time, the newest first, then by id."""
    by_id = sorted((found for found in dated if found is not None), key=itemgetter(1))
    return tuple(item for _, _, item in sorted(by_id, key=itemgetter(0), reverse=True))


def _campaign(source_id: str, rows: list[_Row]) -> _Dated[CampaignReceived] | None:
    received, control = _latest(rows, "received_us"), _latest(rows, "control_us")
    listed_by = control if received is None else received
    if listed_by is None:
        return None
    variant_id, variant_name = _variation(rows, "received_us", "control_us")
    campaign = CampaignReceived(
        name=rows[0]["source_name"],
        api_campaign_id=source_id,
        last_received=_moment(received),
        engaged=Engaged(
            opened_email=_any(rows, "opened_email"),
            opened_push=_any(rows, "opened_push"),
            clicked_email=_any(rows, "clicked_email"),
            clicked_triggered_in_app_message=_any(rows, "clicked_in_app_message"),
        ),
        converted=_any(rows, "converted"),
        in_control=_is_control(control, received),
        variation_name=variant_name,
        variation_api_id=variant_id,
    )
    return listed_by, source_id, campaign


def _canvas(source_id: str, rows: list[_Row]) -> _Dated[CanvasReceived] | None:
    received, entered, control = (_latest(rows, f"{what}_us") for what in ("received", "entered", "control"))
    began = max((at for at in (entered, control) if at is not None), default=None)
    listed_by = began if received is None else received
    if listed_by is None:
        return None
    canvas = CanvasReceived(
        name=rows[0]["source_name"],
        api_canvas_id=source_id,
        last_received_message=_moment(received),
        last_entered=_moment(entered),
        last_entered_control_at=_moment(control),
        in_control=_is_control(control, entered),
        variation_name=_variation(rows, "received_us", "entered_us", "control_us")[1],
        steps_received=_steps(rows),
    )
    return listed_by, source_id, canvas


def _steps(rows: list[_Row]) -> tuple[StepReceived, ...]:
    """List the steps; one that was received in several variations has several rows."""
    steps: dict[str, list[_Row]] = {}
    for row in rows:
        if row["step_id"] is not None:
            steps.setdefault(row["step_id"], []).append(row)
    return _newest_first(_step(step_id, found) for step_id, found in steps.items())


def _step(step_id: str, rows: list[_Row]) -> _Dated[StepReceived] | None:
    received = _latest(rows, "received_us")
    if received is None:
        return None
    name = rows[0]["step_name"]
    return received, step_id, StepReceived(name=name, api_canvas_step_id=step_id, last_received=_at(received))


def _variation(rows: list[_Row], *columns: str) -> tuple[str | None, str | None]:
    """Return id and name of the variation of the latest of these times that has one; of a tie, the greater id."""
    dated = [
        (row[column], row["variant_id"], row["variant_name"])
        for row in rows
        for column in columns
        if row["variant_id"] is not None and row[column] is not None
    ]
    _, variant_id, name = max(dated, key=itemgetter(0, 1), default=(None, None, None))
    return variant_id, name


def _is_control(control: int | None, otherwise: int | None) -> bool:
    return control is not None and (otherwise is None or control >= otherwise)


def _latest(rows: list[_Row], column: str) -> int | None:
    return max([row[column] for row in rows if row[column] is not None], default=None)


def _any(rows: list[_Row], flag: str) -> bool:
    # A flag is null where no row says either way.
    return any(row[flag] for row in rows)


def _moment(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _at(microseconds)


def _at(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
