"""*Campaigns received* and *Canvas messages received* of a profile, before an expiry, after it, and after a restore."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

from perennial.audiences.completeness import Completeness
from perennial.exports.profile import Profile
from tests.exports.conftest import Story
from tests.exports.received_world import CAMPAIGNS, CANVASES, DELETED, OLD, OLD_JOURNEY, PEOPLE


@pytest.mark.parametrize("user_id", PEOPLE)
def test_a_profile_lists_what_the_user_received_newest_first(story: Story, user_id: str) -> None:
    assert story.before.profiles[user_id] == Profile(
        user_id=user_id,
        campaigns_received=CAMPAIGNS[user_id],
        campaigns_completeness=Completeness((DELETED,)),
        canvas_messages_received=CANVASES[user_id],
        canvases_completeness=Completeness(),
    )


@pytest.mark.parametrize("user_id", PEOPLE)
def test_r14_r16_an_expiry_takes_the_expired_sources_off_the_lists_and_names_them(story: Story, user_id: str) -> None:
    before = story.before.profiles[user_id]
    kept = [campaign for campaign in before.campaigns_received if campaign.api_campaign_id != "old"]
    kept_canvases = [canvas for canvas in before.canvas_messages_received if canvas.api_canvas_id != "old journey"]
    assert story.expired.profiles[user_id] == replace(
        before,
        campaigns_received=tuple(kept),
        campaigns_completeness=Completeness((OLD, DELETED)),
        canvas_messages_received=tuple(kept_canvases),
        canvases_completeness=Completeness((OLD_JOURNEY,)),
    )


def test_r17_after_a_restore_every_profile_is_what_it_was(story: Story) -> None:
    assert story.restored.profiles == story.before.profiles


@pytest.mark.parametrize("user_id", ["ghost", "", "nul\0", "'; DROP TABLE users; --"])
def test_a_user_whom_the_platform_does_not_know_is_refused_by_name(story: Story, user_id: str) -> None:
    printed = story.run("profile", "--", user_id)
    assert printed.exit_code == 1
    assert f"No user {user_id!r} is known" in printed.stderr
    assert "sync_sources" in printed.stderr


def test_the_command_prints_both_lists(story: Story) -> None:
    printed = story.before.printed["profile ann"]
    assert printed.exit_code == 0
    lines = [" ".join(line.split()) for line in printed.stdout.splitlines()]
    assert "fresh fresh 2026-01-01 00:30 - - - unknown" in lines
    assert "Name of old old 2026-01-01 00:50 opened email - - -" in lines
    assert "Name of old journey old journey - 2026-01-01 01:10 - - -" in lines
    journey = "Name of journey journey 2026-01-01 01:04 2026-01-01 01:00 - Left gone, Hello, Still there?"
    assert journey in lines
    assert [line for line in lines if line.endswith("rows")] == ["4 rows", "2 rows"]


def test_r16_the_command_says_what_is_left_out_and_how_to_bring_it_back(story: Story) -> None:
    said = story.expired.printed["profile ann"].stderr.splitlines()
    assert said == [
        "Left out: 3 expired interactions of campaign 'old' (since 2026-06-01); "
        "deleted under the previous policy: campaign 'deleted' (since 2023-05-01). "
        "So the lists of received messages may be incomplete.",
        f"To bring it back: {Completeness((OLD,)).restore.command}",  # type: ignore[union-attr]
        "Left out: 2 expired interactions of canvas 'old journey' (since 2026-06-01). "
        "So the lists of received messages may be incomplete.",
        f"To bring it back: {Completeness((OLD_JOURNEY,)).restore.command}",  # type: ignore[union-attr]
    ]
    assert shlex.split(said[1])[4:6] == ["perennial", "restore"]
