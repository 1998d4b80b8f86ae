"""Requests and answers of the users export, as in the product's `/users/export/ids` and `/users/export/segment`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    model_validator,
)

from perennial.audiences.completeness import Completeness
from perennial.errors import TerminalRequestError
from perennial.exports.received import CampaignReceived, CanvasReceived, Kind

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

ID_LIMIT = 50
# Mistakes that an error names; it counts the rest.
_NAMED = 5
_LIST = "give a list of at least one string"
_TEXT = "give a string of at least one character (and no half of a surrogate pair)"
RECEIVED_FIELDS: dict[str, Kind] = {"campaigns_received": "campaign", "canvases_received": "canvas"}
# Fields of the product that the warehouse holds nothing for.
UNAVAILABLE_FIELDS = (
    "apps", "attributed_ad", "attributed_adgroup", "attributed_campaign", "attributed_source", "cards_clicked",
    "custom_events", "devices", "dob", "email_opted_in_at", "email_subscribe", "email_unsubscribed_at", "gender",
    "home_city", "last_coordinates", "purchases", "push_opted_in_at", "push_subscribe", "push_tokens",
    "push_unsubscribed_at", "random_bucket", "total_revenue", "uninstalled_at", "user_aliases",
)  # fmt: skip


class UserObject(BaseModel):
    """A user as exported. A field that is null, or was not asked for, is left out of the JSON."""

    external_id: str | None = None
    braze_id: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    phone: str | None = None
    country: str | None = None
    language: str | None = None
    time_zone: str | None = None
    created_at: datetime | None = None
    custom_attributes: dict[str, Any] | None = None
    campaigns_received: tuple[CampaignReceived, ...] | None = None
    canvases_received: tuple[CanvasReceived, ...] | None = None

    def to_json(self) -> str:
        """Write it on one line."""
        return self.model_dump_json(exclude_none=True)


class MissingSourceObject(BaseModel):
    """A source whose interactions are not in the lists."""

    source_id: str
    kind: str
    name: str
    state: Literal["expired", "deleted", "archived"]
    since: datetime | None
    archived_rows: int


class CompletenessObject(BaseModel):
    """What the lists leave out.

    Attributes:
        complete: Whether they leave out nothing.
        missing_count: How many sources that is: expired and deleted ones, any of which may have held something of the
            users.
        restorable_count: How many of them a restore brings back.
        missing: Some of them, those that left last first; `missing_from` and `missing_limit` ask for others. All that a
            segment names itself come before them, on every page.
        missing_next: What `missing_from` of the next page is; null where none comes after these.
        restore_command: The command that brings back what is named here and can come back, at most 200 sources.
    """

    complete: bool
    missing_count: int
    restorable_count: int
    missing: tuple[MissingSourceObject, ...]
    missing_next: int | None
    restore_command: str | None


def completeness_object(completeness: Completeness) -> CompletenessObject:
    """Write what is left out as programs read it."""
    return CompletenessObject(
        complete=completeness.complete,
        missing_count=completeness.missing_count,
        restorable_count=completeness.restorable_count,
        missing=tuple(
            MissingSourceObject.model_validate(source, from_attributes=True) for source in completeness.missing
        ),
        missing_next=completeness.next_from,
        restore_command=completeness.restore.command if completeness.restore else None,
    )


class ExportResponse(BaseModel):
    """The answer to an export by ids.

    Attributes:
        message: As in the product.
        users: In order of braze_id.
        invalid_user_ids: Ids that are nobody's, in the order of the request.
        unavailable_fields: Fields that were asked for and that the warehouse holds nothing for.
        completeness: What the lists leave out; None where no list was asked for.
    """

    message: Literal["success"] = "success"
    users: tuple[UserObject, ...]
    invalid_user_ids: tuple[str, ...]
    unavailable_fields: tuple[str, ...]
    completeness: Annotated[Completeness, PlainSerializer(completeness_object)] | None

    def to_json(self) -> str:
        """Write it for people and programs."""
        return self.model_dump_json(exclude_none=True, indent=2)


def _known_field(name: str) -> str:
    if name not in UserObject.model_fields and name not in UNAVAILABLE_FIELDS:
        known = sorted([*UserObject.model_fields, *UNAVAILABLE_FIELDS])
        raise ValueError(f"use fields of the product: {', '.join(known)}")
    return name


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


_Id = Annotated[str, StringConstraints(min_length=1)]
_FieldName = Annotated[str, AfterValidator(_known_field)]


class FieldsRequest(BaseModel):
    """What every export may be asked.

    Attributes:
        fields_to_export: Names of fields, the product's; None for all that there are.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    fields_to_export: Annotated[list[_FieldName], Field(min_length=1)] | None = None

    @property
    def fields(self) -> frozenset[str]:
        """The fields of `UserObject` to fill."""
        return frozenset(UserObject.model_fields).intersection(self.fields_to_export or UserObject.model_fields)

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds of sources whose interactions it takes to fill them."""
        return frozenset(kind for name, kind in RECEIVED_FIELDS.items() if name in self.fields)

    @property
    def unavailable_fields(self) -> tuple[str, ...]:
        """The fields asked for that the warehouse holds nothing for."""
        return tuple(name for name in dict.fromkeys(self.fields_to_export or ()) if name in UNAVAILABLE_FIELDS)


class ExportRequest(FieldsRequest):
    """An export by ids, up to 50 of both kinds together.

    Attributes:
        external_ids: The customer's own user ids; one that is the id of several users stands for all of them.
        braze_id: The platform's user ids; one may be given without a list, as in the product.
    """

    external_ids: list[_Id] = Field(default_factory=list)
    braze_id: Annotated[list[_Id], BeforeValidator(_listed, json_schema_input_type=_Id | list[_Id])] = Field(
        default_factory=list
    )

    @model_validator(mode="after")
    def _check_number(self) -> Self:
        count = len(self.external_ids) + len(self.braze_id)
        if not 1 <= count <= ID_LIMIT:
            raise ValueError(f"external_ids and braze_id have {count} ids; give 1 to {ID_LIMIT} of them together")
        return self


class SegmentExportRequest(FieldsRequest):
    """An export of all users in a segment.

    Attributes:
        segment_id: Id of the segment.
    """

    segment_id: _Id


_Request = TypeVar("_Request", bound=FieldsRequest)


def parse_request(mapping: Mapping[str, Any]) -> ExportRequest:
    """Check a request by ids.

    Raises:
        TerminalRequestError: Something is wrong with it; names each field, its value and what to give instead.
    """
    return _parsed(ExportRequest, mapping)


def parse_segment_request(mapping: Mapping[str, Any]) -> SegmentExportRequest:
    """Check a request by segment.

    Raises:
        TerminalRequestError: As in `parse_request`.
    """
    return _parsed(SegmentExportRequest, mapping)


def _parsed(model: type[_Request], mapping: Mapping[str, Any]) -> _Request:
    try:
        return model.model_validate(mapping)
    except ValidationError as error:
        found = [_sentence(model, each) for each in error.errors()]
        more = f" And {len(found) - _NAMED:,} more." if len(found) > _NAMED else ""
        raise TerminalRequestError(f"The export cannot be done. {' '.join(found[:_NAMED])}{more}") from error


def _sentence(model: type[_Request], mistake: ErrorDetails) -> str:
    kind, message = mistake["type"], mistake["msg"].removeprefix("Value error, ")
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in mistake["loc"]).removeprefix(".")
    takes = f"the request takes {', '.join(model.model_fields)}"
    if kind == "missing":
        return f"{path} is missing; {takes}."
    if kind == "value_error":
        return f"{path} is {_shown(mistake['input'])}; {message}." if path else f"{message}."
    remedies = {"extra_forbidden": takes, "model_type": takes, "list_type": _LIST, "too_short": _LIST}
    return f"{path or 'It'} is {_shown(mistake['input'])}; {remedies.get(kind, _TEXT)}."


def _shown(value: object) -> str:
    text = json.dumps(value, default=repr)
    return text if len(text) <= 80 else text[:77] + "…"
