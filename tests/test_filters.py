"""The catalogue of filters, as the product's documentation lists it."""

from __future__ import annotations

import pytest

from perennial.audiences.filters import CHANNELS, FILTERS, INTERACTION_VALUES, INTERACTIONS, FilterGroup
from perennial.tables import INTERACTIONS as INTERACTIONS_TABLE
from perennial.tables import USERS

MOMENT = ("operator", "at", "days_ago")
SOURCE_FILTERS = {
    "clicked_alias_in_campaign": ("campaign_id", "alias", "exclude_suspected_bots"),
    "clicked_alias_in_canvas_step": ("canvas_id", "step_id", "alias", "exclude_suspected_bots"),
    "clicked_or_opened_campaign": ("campaign_id", "interaction", "keyword_category", "exclude_suspected_bots"),
    "clicked_or_opened_step": ("canvas_id", "step_id", "interaction", "keyword_category", "exclude_suspected_bots"),
    "converted_from_campaign": ("campaign_id",),
    "converted_from_canvas": ("canvas_id",),
    "entered_canvas_variation": ("canvas_id", "variant_id"),
    "in_campaign_control_group": ("campaign_id",),
    "in_canvas_control_group": ("canvas_id",),
    "last_received_message_from_campaign": ("campaign_id", *MOMENT),
    "last_received_message_from_canvas_step": ("canvas_id", "step_id", *MOMENT),
    "received_campaign_variant": ("campaign_id", "variant_id"),
    "received_message_from_campaign": ("campaign_id",),
    "received_message_from_canvas_step": ("canvas_id", "step_id"),
}
TAG_FILTERS = {
    "received_message_with_tag": ("tag",),
    "clicked_or_opened_with_tag": ("tag", "interaction", "keyword_category", "exclude_suspected_bots"),
    "last_received_message_with_tag": ("tag", *MOMENT),
}
OTHER_FILTERS = {
    "clicked_alias_in_any_message": ("alias",),
    "feature_flag": ("flag",),
    "hard_bounced": (),
    "marked_as_spam": (),
    "never_received_message": (),
    "invalid_phone_number": (),
    "last_engaged_with_message": MOMENT,
    "last_enrolled_in_any_control_group": MOMENT,
    "last_in_app_message_impression": MOMENT,
    "last_received_any_message": MOMENT,
    "last_received_email": MOMENT,
    "last_received_push": MOMENT,
    "last_received_sms": MOMENT,
    "last_received_webhook": MOMENT,
    "last_received_whatsapp": MOMENT,
    "last_sent_sms_keyword_category": ("keyword_category", *MOMENT),
    "last_viewed_news_feed": MOMENT,
    "news_feed_view_count": ("comparison", "count"),
}
MEASURES = {
    "clicked_alias", "received", "engaged", "control", "sms_keyword", "hard_bounced", "marked_as_spam", "viewed_news_feed",
}  # fmt: skip


def filter_names(group: FilterGroup) -> frozenset[str]:
    return frozenset(name for name, declared in FILTERS.items() if declared.group is group)


def _parameters(group: FilterGroup) -> dict[str, tuple[str, ...]]:
    return {name: tuple(p.name for p in FILTERS[name].parameters) for name in filter_names(group)}


@pytest.mark.parametrize(
    ("group", "expected", "count"),
    [
        pytest.param(FilterGroup.SOURCE, SOURCE_FILTERS, 14, id="14 source-specific"),
        pytest.param(FilterGroup.TAG, TAG_FILTERS, 3, id="3 tag"),
        pytest.param(FilterGroup.SEGMENT, {"segment_membership": ("segment_id",)}, 1, id="1 nesting"),
        pytest.param(FilterGroup.OTHER, OTHER_FILTERS, 18, id="18 others"),
    ],
)
def test_the_catalogue_has_every_filter_with_its_parameters(
    group: FilterGroup, expected: dict[str, tuple[str, ...]], count: int
) -> None:
    assert len(expected) == count
    assert _parameters(group) == expected


def test_only_source_filters_name_a_source_and_each_names_one_of_its_kind() -> None:
    for declared in FILTERS.values():
        reference = declared.reference
        if declared.group is FilterGroup.SOURCE:
            assert reference is not None
            assert reference.name == f"{declared.source_kind}_id"
        elif declared.group is FilterGroup.SEGMENT:
            assert reference is not None
            assert reference.names == "segment"
        else:
            assert reference is None


def test_filters_outside_interaction_data_read_the_summary_or_the_user_and_nothing_else() -> None:
    user_columns = {column.name for column in USERS.columns}
    for name in filter_names(FilterGroup.OTHER):
        declared = FILTERS[name]
        assert declared.interactions is None
        assert (declared.summary is None) != (declared.user_column is None)
        assert declared.summary is None or declared.summary.measure in MEASURES
        assert declared.user_column is None or declared.user_column in user_columns


def test_filters_over_interaction_data_compare_with_columns_that_interactions_have() -> None:
    columns = {column.name for column in INTERACTIONS_TABLE.columns}
    for name in filter_names(FilterGroup.SOURCE) | filter_names(FilterGroup.TAG):
        declared = FILTERS[name]
        assert declared.interactions is not None
        assert {parameter.column for parameter in declared.parameters} - {None} <= columns
        assert declared.interactions.interaction in (*INTERACTIONS, None)


def test_every_interaction_value_matches_an_interaction_on_a_channel() -> None:
    assert len(INTERACTION_VALUES) == 11
    for match in INTERACTION_VALUES.values():
        assert match.interaction in INTERACTIONS
        assert match.channel in CHANNELS
    assert INTERACTION_VALUES["opened_email"].machine_open is False
    assert INTERACTION_VALUES["machine_opened_email"].machine_open is True


def test_the_last_filters_and_no_others_look_at_the_latest_match() -> None:
    latest = {name for name, declared in FILTERS.items() if declared.latest}
    assert latest == {name for name in FILTERS if name.startswith("last_")}


def test_only_the_canvas_control_group_is_negated_among_entrants() -> None:
    assert [name for name, declared in FILTERS.items() if declared.negated_within == "entrants"] == [
        "in_canvas_control_group"
    ]
