"""The catalogue of audience filters as plain values: the parameters of each, and what it names and reads.

Parsing, reference tracking, evaluation and the JSON Schema are all driven by `FILTERS`; nothing else lists filters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from types import MappingProxyType
from typing import Literal

ParameterType = Literal["string", "integer", "timestamp", "boolean"]
SourceKind = Literal["campaign", "canvas"]

CHANNELS = (
    "email", "push", "sms", "whatsapp", "webhook", "rcs", "line", "in_app_message", "content_card", "banner",
)  # fmt: skip
INTERACTIONS = ("received", "opened", "clicked", "replied", "converted", "entered", "control")
OPERATORS = ("before", "after")
COMPARISONS = ("more_than", "less_than", "exactly")

TIMESTAMP_PATTERN = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?)?"
)
_TIMESTAMP = re.compile(TIMESTAMP_PATTERN)

# A century is enough for every real filter, and a date that far back can always be computed.
DAYS_AGO_LIMIT = 36_500
COUNT_LIMIT = 2**53 - 1


class FilterGroup(Enum):
    """How expiry treats a filter."""

    SOURCE = "source"
    """Names one source: keeps it (R4) and leaves out expired data (R14)."""
    TAG = "tag"
    """Names a tag: keeps nothing (R5) and leaves out expired data (R14)."""
    SEGMENT = "segment"
    """Names a segment: passes on what the segment keeps."""
    OTHER = "other"
    """Never reads interactions: same answer before and after an expiry (R15)."""


@dataclass(frozen=True)
class InteractionValue:
    """What one value of the parameter `interaction` matches.

    Attributes:
        interaction: `interactions.interaction`.
        channel: `interactions.channel`.
        machine_open: What `interactions.machine_open` must be; None if it does not matter.
    """

    interaction: str
    channel: str
    machine_open: bool | None = None


INTERACTION_VALUES = MappingProxyType(
    {
        "clicked_email": InteractionValue("clicked", "email"),
        "opened_email": InteractionValue("opened", "email", machine_open=False),
        "machine_opened_email": InteractionValue("opened", "email", machine_open=True),
        "opened_push": InteractionValue("opened", "push"),
        "clicked_in_app_message": InteractionValue("clicked", "in_app_message"),
        "viewed_in_app_message": InteractionValue("received", "in_app_message"),
        "clicked_content_card": InteractionValue("clicked", "content_card"),
        "viewed_content_card": InteractionValue("received", "content_card"),
        "replied_sms": InteractionValue("replied", "sms"),
        "clicked_sms_link": InteractionValue("clicked", "sms"),
        "read_whatsapp": InteractionValue("opened", "whatsapp"),
    }
)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a filter.

    Attributes:
        name: Its key in the JSON.
        type: `string` (never empty), `integer`, `boolean`, or `timestamp` (ISO 8601; UTC if it has no offset).
        doc: What it means.
        allowed: The only allowed values; empty if any is allowed.
        minimum: Smallest integer.
        maximum: Largest integer.
        names: The kind of thing that the string is an id of, if it is an id.
        column: The column whose value it is compared with.
        only_with: `(parameter, values)`: refused where that parameter has another value; required with these, unless
            it is optional.
        optional: Whether it may be left out.
        alternative: Exactly one of the filter's alternative parameters is given.
    """

    name: str
    type: ParameterType
    doc: str
    allowed: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int = COUNT_LIMIT
    names: Literal["source", "segment", "step", "variant", "tag"] | None = None
    column: str | None = None
    only_with: tuple[str, tuple[str, ...]] | None = None
    optional: bool = False
    alternative: bool = False


@dataclass(frozen=True)
class InteractionMatch:
    """Which interactions a source or tag filter selects, in addition to its parameters; None means any."""

    interaction: str | None = None
    channel: str | None = None
    conversion_index: int | None = None


@dataclass(frozen=True)
class SummaryMatch:
    """Which rows of `user_message_summary` a filter selects; `dimension` None: the value of its parameter, or any."""

    measure: str
    dimension: str | None = None


@dataclass(frozen=True)
class Filter:
    """One filter.

    Attributes:
        name: Its name in the JSON.
        group: How expiry treats it.
        parameters: Its parameters; only optional ones may be missing, and no others are accepted.
        source_kind: Kind of the source it names (group SOURCE).
        interactions: Interactions it selects (groups SOURCE and TAG).
        summary: Summary rows it selects (group OTHER).
        user_column: Column of `users` it reads (group OTHER).
        latest: Whether only the user's latest match counts (the *last …* filters).
        absent: Whether it selects the users without a match.
        negated_within: The users to whom its `not` applies: all, or those who entered the Canvas.
    """

    name: str
    group: FilterGroup
    parameters: tuple[Parameter, ...] = ()
    source_kind: SourceKind | None = None
    interactions: InteractionMatch | None = None
    summary: SummaryMatch | None = None
    user_column: str | None = None
    latest: bool = False
    absent: bool = False
    negated_within: Literal["users", "entrants"] = "users"

    @property
    def required(self) -> tuple[Parameter, ...]:
        """The parameters that are always required; exactly one of the alternative ones is required as well."""
        return tuple(p for p in self.parameters if not (p.alternative or p.optional or p.only_with))

    @property
    def reference(self) -> Parameter | None:
        """The parameter that names a source or a segment, if any (R4)."""
        return next((parameter for parameter in self.parameters if parameter.names in ("source", "segment")), None)


CAMPAIGN_ID = Parameter("campaign_id", "string", "Campaign.", names="source", column="source_id")
CANVAS_ID = Parameter("canvas_id", "string", "Canvas.", names="source", column="source_id")
SEGMENT_ID = Parameter("segment_id", "string", "Segment.", names="segment")
TAG = Parameter("tag", "string", "Tag; the 200 sources with it that sent most recently are looked at.", names="tag")
STEP_ID = Parameter("step_id", "string", "Step of the Canvas.", names="step", column="canvas_step_id")
VARIANT_ID = Parameter("variant_id", "string", "Variation of the source.", names="variant", column="variant_id")
ALIAS = Parameter("alias", "string", "Alias of the clicked link.", column="link_alias")
FLAG = Parameter("flag", "string", "Feature flag.", column="feature_flags")
KEYWORD_CATEGORY = Parameter("keyword_category", "string", "Category of the SMS keyword.", column="keyword_category")
INTERACTION = Parameter("interaction", "string", "What the user did.", allowed=tuple(INTERACTION_VALUES))
OPERATOR = Parameter("operator", "string", "Which side of the moment the latest match lies on.", allowed=OPERATORS)
AT = Parameter("at", "timestamp", "The moment itself.", alternative=True)
DAYS_AGO = Parameter(
    "days_ago", "integer", "The moment, in days before the evaluation.", maximum=DAYS_AGO_LIMIT, alternative=True
)
COMPARISON = Parameter("comparison", "string", "How the number of events compares.", allowed=COMPARISONS)
COUNT = Parameter("count", "integer", "Number of events.", column="event_count")
EXCLUDE_SUSPECTED_BOTS = Parameter(
    "exclude_suspected_bots", "boolean", "Whether clicks of suspected link scanners are left out.", optional=True
)

_CLICKS = tuple(name for name, value in INTERACTION_VALUES.items() if value.interaction == "clicked")
_INTERACTION = (
    INTERACTION,
    replace(KEYWORD_CATEGORY, only_with=("interaction", ("replied_sms",))),
    replace(EXCLUDE_SUSPECTED_BOTS, only_with=("interaction", _CLICKS)),
)
_MOMENT = (OPERATOR, AT, DAYS_AGO)
_RECEIVED = InteractionMatch("received")
_CONTROL = InteractionMatch("control")
_CLICKED_EMAIL = InteractionMatch("clicked", "email")
_PRIMARY_CONVERSION = InteractionMatch("converted", conversion_index=0)
_ANY_INTERACTION = InteractionMatch()


def _campaign(name: str, match: InteractionMatch, *parameters: Parameter, latest: bool = False) -> Filter:
    takes = (CAMPAIGN_ID, *parameters)
    return Filter(name, FilterGroup.SOURCE, takes, source_kind="campaign", interactions=match, latest=latest)


def _canvas(name: str, match: InteractionMatch, *parameters: Parameter, latest: bool = False) -> Filter:
    takes = (CANVAS_ID, *parameters)
    return Filter(name, FilterGroup.SOURCE, takes, source_kind="canvas", interactions=match, latest=latest)


def _tag(name: str, match: InteractionMatch, *parameters: Parameter, latest: bool = False) -> Filter:
    return Filter(name, FilterGroup.TAG, (TAG, *parameters), interactions=match, latest=latest)


def _summary(name: str, measure: str, *parameters: Parameter, dimension: str | None = None) -> Filter:
    latest = OPERATOR in parameters
    return Filter(name, FilterGroup.OTHER, parameters, summary=SummaryMatch(measure, dimension), latest=latest)


_CATALOGUE = (
    _campaign("clicked_alias_in_campaign", _CLICKED_EMAIL, ALIAS, EXCLUDE_SUSPECTED_BOTS),
    _canvas("clicked_alias_in_canvas_step", _CLICKED_EMAIL, STEP_ID, ALIAS, EXCLUDE_SUSPECTED_BOTS),
    _campaign("clicked_or_opened_campaign", _ANY_INTERACTION, *_INTERACTION),
    _canvas("clicked_or_opened_step", _ANY_INTERACTION, STEP_ID, *_INTERACTION),
    _campaign("converted_from_campaign", _PRIMARY_CONVERSION),
    _canvas("converted_from_canvas", _PRIMARY_CONVERSION),
    _canvas("entered_canvas_variation", InteractionMatch("entered"), VARIANT_ID),
    _campaign("in_campaign_control_group", _CONTROL),
    replace(_canvas("in_canvas_control_group", _CONTROL), negated_within="entrants"),
    _campaign("last_received_message_from_campaign", _RECEIVED, *_MOMENT, latest=True),
    _canvas("last_received_message_from_canvas_step", _RECEIVED, STEP_ID, *_MOMENT, latest=True),
    _campaign("received_campaign_variant", _RECEIVED, VARIANT_ID),
    _campaign("received_message_from_campaign", _RECEIVED),
    _canvas("received_message_from_canvas_step", _RECEIVED, STEP_ID),
    _tag("received_message_with_tag", _RECEIVED),
    _tag("clicked_or_opened_with_tag", _ANY_INTERACTION, *_INTERACTION),
    _tag("last_received_message_with_tag", _RECEIVED, *_MOMENT, latest=True),
    Filter("segment_membership", FilterGroup.SEGMENT, (SEGMENT_ID,)),
    _summary("clicked_alias_in_any_message", "clicked_alias", replace(ALIAS, column="dimension")),
    Filter("feature_flag", FilterGroup.OTHER, (FLAG,), user_column="feature_flags"),
    _summary("hard_bounced", "hard_bounced"),
    _summary("marked_as_spam", "marked_as_spam"),
    replace(_summary("never_received_message", "received"), absent=True),
    Filter("invalid_phone_number", FilterGroup.OTHER, user_column="invalid_phone"),
    _summary("last_engaged_with_message", "engaged", *_MOMENT),
    _summary("last_enrolled_in_any_control_group", "control", *_MOMENT),
    _summary("last_in_app_message_impression", "received", *_MOMENT, dimension="in_app_message"),
    _summary("last_received_any_message", "received", *_MOMENT),
    _summary("last_received_email", "received", *_MOMENT, dimension="email"),
    _summary("last_received_push", "received", *_MOMENT, dimension="push"),
    _summary("last_received_sms", "received", *_MOMENT, dimension="sms"),
    _summary("last_received_webhook", "received", *_MOMENT, dimension="webhook"),
    _summary("last_received_whatsapp", "received", *_MOMENT, dimension="whatsapp"),
    _summary("last_sent_sms_keyword_category", "sms_keyword", replace(KEYWORD_CATEGORY, column="dimension"), *_MOMENT),
    _summary("last_viewed_news_feed", "viewed_news_feed", *_MOMENT),
    _summary("news_feed_view_count", "viewed_news_feed", COMPARISON, COUNT),
)

FILTERS = MappingProxyType({declared.name: declared for declared in _CATALOGUE})
"""Every filter by name."""


def timestamp(text: str) -> datetime | None:
    """Parse the parameter `at`: ISO 8601, in UTC if it has no offset; None if it is not a timestamp."""
    if not _TIMESTAMP.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
