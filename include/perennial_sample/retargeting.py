"""Who retargets whom in the sample workspace: audiences, nested segments, Content Cards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from perennial_sample.catalog import SOURCES


@dataclass(frozen=True)
class Audience:
    """An audience of the sample workspace; that of a source has the status of its source, others are active."""

    owner_kind: str
    owner_id: str
    owner_name: str
    part: str
    definition: dict[str, Any]


def _filter(name: str, **parameters: object) -> dict[str, Any]:
    return {"filter": name, **parameters}


def _segment(segment_id: str) -> dict[str, Any]:
    return _filter("segment_membership", segment_id=segment_id)


def _all(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"and": list(nodes)}


def _any(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"or": list(nodes)}


_SOURCE_AUDIENCES: dict[str, dict[str, Any]] = {
    "cmp-weekly-digest": {"not": _any(_filter("hard_bounced"), _filter("marked_as_spam"))},
    "cmp-new-arrivals": _all(_segment("seg-engaged"), {"not": _filter("hard_bounced")}),
    "cmp-delivery-survey": {"not": _filter("invalid_phone_number")},
    # Directly referenced, and negated (R6).
    "cmp-gift-guide": _all(
        _filter("received_message_from_campaign", campaign_id="cmp-black-friday"),
        {"not": _filter("converted_from_campaign", campaign_id="cmp-black-friday")},
    ),
    "cmp-loyalty-points": _any(
        _filter("received_campaign_variant", campaign_id="cmp-vip-invite", variant_id="cmp-vip-invite-v2"),
        _filter("feature_flag", flag="loyalty-app"),
    ),
    # Tag filters keep nothing (R5).
    "cmp-price-drop": _filter("clicked_or_opened_with_tag", tag="spring", interaction="opened_push"),
    "cmp-back-in-stock": _filter("last_received_message_with_tag", tag="sale", operator="before", days_ago=30),
    # Through two segments (R4).
    "cnv-win-back": _all(
        _segment("seg-lapsed-buyers"), _filter("last_engaged_with_message", operator="before", days_ago=60)
    ),
    "cnv-welcome": _filter("never_received_message"),
    "cnv-loyalty-onboarding": _any(_segment("seg-vip"), _filter("feature_flag", flag="loyalty-app")),
    # This one is stopped between the two runs, and keeps two sources no longer.
    "cmp-flash-weekend": _any(
        _filter(
            "clicked_or_opened_campaign",
            campaign_id="cmp-outlet-sms",
            interaction="replied_sms",
            keyword_category="opt_in",
        ),
        _filter("clicked_alias_in_campaign", campaign_id="cmp-members-preview", alias="shop-now"),
    ),
    # Stopped referrers keep nothing, not even each other.
    "cmp-survey-swap-a": _filter("received_message_from_campaign", campaign_id="cmp-survey-swap-b"),
    "cmp-survey-swap-b": _filter("received_message_from_campaign", campaign_id="cmp-survey-swap-a"),
    "cmp-april-fool": _filter("received_message_from_campaign", campaign_id="cmp-spring-sale"),
}  # fmt: skip
_STEP_AUDIENCES: dict[str, tuple[int, dict[str, Any]]] = {
    "cnv-abandoned-cart": (
        2,
        {"not": _filter("in_canvas_control_group", canvas_id="cnv-holiday-countdown")},
    ),
}
_SEGMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "seg-engaged": ("Engaged in the last month", _filter("last_engaged_with_message", operator="after", days_ago=30)),
    "seg-sale-buyers": (
        "Bought in a big sale",
        _any(
            _filter("converted_from_campaign", campaign_id="cmp-black-friday"),
            _filter("clicked_or_opened_campaign", campaign_id="cmp-cyber-monday", interaction="opened_push"),
        ),
    ),
    "seg-lapsed-buyers": (
        "Lapsed buyers",
        _all(_segment("seg-sale-buyers"), {"not": _segment("seg-engaged")}),
    ),
    "seg-vip": ("VIP guests", _filter("received_message_from_campaign", campaign_id="cmp-vip-invite")),
    # A segment that stands alone keeps nothing by default (R6).
    "seg-spring-shoppers": (
        "Spring shoppers",
        _all(
            _filter("received_message_from_campaign", campaign_id="cmp-spring-sale"),
            {"not": _filter("converted_from_campaign", campaign_id="cmp-spring-sale")},
        ),
    ),
}
_CONTENT_CARDS: dict[str, tuple[str, dict[str, Any]]] = {
    # Content Cards keep nothing by default (R6).
    "card-checkout-tips": ("Checkout tips", _filter("received_message_from_campaign", campaign_id="cmp-card-only")),
    "card-free-returns": ("Free returns", _segment("seg-engaged")),
}


def _audiences() -> tuple[Audience, ...]:
    named = {source.source_id: source for source in SOURCES}
    found = [
        Audience(named[owner].kind, owner, named[owner].name, "audience", definition)
        for owner, definition in _SOURCE_AUDIENCES.items()
    ]
    for owner, (step, definition) in _STEP_AUDIENCES.items():
        found.append(Audience("canvas", owner, named[owner].name, named[owner].step_ids[step], definition))
    for kind, owners in (("segment", _SEGMENTS), ("content_card", _CONTENT_CARDS)):
        found += [Audience(kind, owner, name, "audience", definition) for owner, (name, definition) in owners.items()]
    return tuple(found)


AUDIENCES = _audiences()
