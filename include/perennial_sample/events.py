"""What the sample workspace's users did, as arrays: sends and what they lead to, source by source.

Everything is drawn from one seed, so a workspace can be made again exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from perennial_sample.catalog import FIRST_RUN_DAYS, SOURCES, Source, sending_windows

Events: TypeAlias = NDArray[Any]
"""Rows of EVENT."""

# `none` in every column that an event does not have.
NONE = -1
EVENT = np.dtype(
    [
        ("type", np.int16),
        ("time", np.int64),
        ("user", np.int32),
        ("source", np.int16),
        ("variant", np.int8),
        ("step", np.int8),
        ("dispatch", np.int32),
        ("alias", np.int8),
        ("machine", np.int8),
        ("control", np.int8),
        ("conversion", np.int8),
        ("keyword", np.int8),
        ("ordinal", np.int64),
        ("arrived", np.int64),
    ]
)
ALIASES = ("shop-now", "learn-more", "footer-preferences")
KEYWORDS = ("opt_in", "help", "opt_out")
_MACHINE_SHARE = 0.35
_CONTROL_SHARE = 0.08
_DAY = 86_400.0


@dataclass(frozen=True)
class Reaction:
    """What a message leads to.

    Attributes:
        event_type: Currents event type.
        rate: Share of messages that lead to it.
        hours: Mean time after the message.
    """

    event_type: str
    rate: float
    hours: float


@dataclass(frozen=True)
class Funnel:
    """A channel: the event of its send or impression, and what follows."""

    send: str
    reactions: tuple[Reaction, ...]


def _funnel(send: str, *reactions: tuple[str, float, float]) -> Funnel:
    prefix = "users.messages."
    return Funnel(prefix + send, tuple(Reaction(prefix + name, rate, hours) for name, rate, hours in reactions))


FUNNELS = {
    "email": _funnel(
        "email.Send", ("email.Open", 0.42, 5), ("email.Click", 0.07, 6), ("email.Bounce", 0.006, 0.1),
        ("email.MarkAsSpam", 0.0008, 8),
    ),
    "push": _funnel("pushnotification.Send", ("pushnotification.Open", 0.06, 2)),
    "sms": _funnel("sms.Send", ("sms.ShortLinkClick", 0.08, 1), ("sms.InboundReceive", 0.03, 0.5)),
    "whatsapp": _funnel(
        "whatsapp.Send", ("whatsapp.Read", 0.7, 1), ("whatsapp.Click", 0.1, 2), ("whatsapp.InboundReceive", 0.05, 3),
    ),
    "webhook": _funnel("webhook.Send"),
    "in_app_message": _funnel("inappmessage.Impression", ("inappmessage.Click", 0.18, 0.02)),
    "content_card": _funnel("contentcard.Impression", ("contentcard.Click", 0.06, 0.05)),
}  # fmt: skip
_CONVERSION_RATE = 0.018
_CAMPAIGN_CONVERSION = "users.campaigns.Conversion"
_CANVAS_CONVERSION = "users.canvas.Conversion"
_CANVAS_ENTRY = "users.canvas.Entry"
_CAMPAIGN_CONTROL = "users.campaigns.EnrollInControl"
_NEWS_FEED = "users.behaviors.app.NewsFeedImpression"
_SESSION_START = "users.behaviors.app.SessionStart"
_INBOUND_SMS = "users.messages.sms.InboundReceive"
# Which of their events reach no interaction, whatever they name.
NO_INTERACTION = ("users.messages.email.Bounce", "users.messages.email.MarkAsSpam", _NEWS_FEED, _SESSION_START)
IGNORED = (_SESSION_START,)

EVENT_TYPES = (
    *dict.fromkeys(
        name for funnel in FUNNELS.values() for name in (funnel.send, *(found.event_type for found in funnel.reactions))
    ),
    _CAMPAIGN_CONVERSION, _CANVAS_CONVERSION, _CANVAS_ENTRY, _CAMPAIGN_CONTROL, _NEWS_FEED, _SESSION_START,
)  # fmt: skip
_CODES = {name: code for code, name in enumerate(EVENT_TYPES)}


@dataclass(frozen=True)
class Draw:
    """What every draw needs: randomness, the number of users, and the moment the story ends."""

    rng: np.random.Generator
    user_count: int
    now: datetime


def generate_events(count: int, user_count: int, now: datetime, seed: int) -> Events:
    """Draw about `count` events up to `now`, in order of time; `ordinal` numbers them. They arrive at once."""
    weights = np.random.default_rng([seed, 2]).lognormal(0.0, 0.7, len(SOURCES))
    weights *= [source.story.sends for source in SOURCES]
    budgets = 0.97 * count * weights / weights.sum()
    parts = [_app_activity(Draw(np.random.default_rng([seed, 3]), user_count, now), max(count * 3 // 100, 30))]
    for index, source in enumerate(SOURCES):
        if source.story.sends:
            draw = Draw(np.random.default_rng([seed, 4, index]), user_count, now)
            found = _source_events(draw, source, index, max(float(budgets[index]), 12.0))
            parts.append(found[found["time"] < int(now.timestamp())])
    events = np.concatenate(parts)
    # Ten million events take half a gigabyte: no copy is kept that is not needed.
    parts.clear()
    events = events[np.argsort(events["time"], kind="stable")]
    events["ordinal"] = np.arange(len(events))
    events["arrived"] = events["time"]
    return events


def _blank(draw: Draw, count: int, event_type: str) -> Events:
    events = np.full(count, NONE, dtype=EVENT)
    events["type"] = _CODES[event_type]
    events["user"] = draw.rng.integers(0, draw.user_count, count)
    return events


def _source_events(draw: Draw, source: Source, index: int, budget: float) -> Events:
    windows = sending_windows(source, draw.now)
    # The old days weigh more than what follows a restart.
    shares = (1.0,) if len(windows) == 1 else (0.85, 0.15)
    parts = []
    for share, window in zip(shares, windows, strict=True):
        made = _canvas_events if source.kind == "canvas" else _campaign_events
        parts.append(made(draw, source, window, budget * share))
    if source.story_name == "late":
        parts.append(_late_reactions(draw, parts[0]))
    events = np.concatenate(parts)
    events["source"] = index
    return events


def _campaign_events(draw: Draw, source: Source, window: tuple[datetime, datetime], budget: float) -> Events:
    funnel = FUNNELS[source.channels[0]]
    count = max(round(budget / (1 + sum(found.rate for found in funnel.reactions) + _CONVERSION_RATE)), 5)
    sends = _blank(draw, count, funnel.send)
    _dispatch(draw, sends, window)
    if len(source.variant_ids) == 1:
        sends["variant"] = 0
        return _with_reactions(draw, sends, funnel, _CAMPAIGN_CONVERSION)
    sends["variant"] = draw.rng.integers(0, len(source.variant_ids) - 1, count)
    held_out = draw.rng.random(count) < _CONTROL_SHARE
    control = sends[held_out].copy()
    control["type"] = _CODES[_CAMPAIGN_CONTROL]
    control["variant"] = len(source.variant_ids) - 1
    return np.concatenate([control, _with_reactions(draw, sends[~held_out], funnel, _CAMPAIGN_CONVERSION)])


def _canvas_events(draw: Draw, source: Source, window: tuple[datetime, datetime], budget: float) -> Events:
    """Entries, and a message a day from then on; each step reaches four fifths of those before it."""
    per_entry = 1.0 + sum(
        0.8**step * (1 + sum(found.rate for found in FUNNELS[channel].reactions))
        for step, channel in enumerate(source.channels)
    )
    entries = _blank(draw, max(round(budget / per_entry), 5), _CANVAS_ENTRY)
    start, end = window
    last_entry = max(end - timedelta(days=len(source.channels)), start + timedelta(hours=1))
    entries["time"] = draw.rng.integers(int(start.timestamp()), int(last_entry.timestamp()), len(entries))
    control = draw.rng.random(len(entries)) < _CONTROL_SHARE
    entries["control"] = control
    entries["variant"] = np.where(control, 2, draw.rng.integers(0, 2, len(entries)))
    parts = [entries]
    reached = entries[~control]
    for step, channel in enumerate(source.channels):
        funnel = FUNNELS[channel]
        sends = reached[draw.rng.random(len(reached)) < 0.8].copy() if step else reached.copy()
        sends["type"] = _CODES[funnel.send]
        sends["control"] = NONE
        sends["step"] = step
        sends["time"] += 3600 + int(step * _DAY)
        sends["dispatch"] = (sends["time"] // 3600).astype(np.int32)
        parts.append(_with_reactions(draw, sends, funnel, _CANVAS_CONVERSION))
        reached = sends
    return np.concatenate(parts)


def _dispatch(draw: Draw, sends: Events, window: tuple[datetime, datetime]) -> None:
    """Send in a few dispatches, at full hours, each within twenty minutes or so."""
    start, end = (int(moment.timestamp()) for moment in window)
    moments = np.sort(draw.rng.integers(start, end, max(min(len(sends) // 150, 60), 2))) // 3600 * 3600
    moments[-1] = end - 3600
    chosen = draw.rng.integers(0, len(moments), len(sends))
    sends["dispatch"] = chosen
    sends["time"] = moments[chosen] + draw.rng.exponential(400, len(sends)).clip(0, 3599).astype(np.int64)


def _with_reactions(draw: Draw, sends: Events, funnel: Funnel, conversion: str) -> Events:
    reactions = (*funnel.reactions, Reaction(conversion, _CONVERSION_RATE, 9))
    return np.concatenate([sends, *(_react(draw, sends, reaction) for reaction in reactions)])


def _react(draw: Draw, sends: Events, reaction: Reaction) -> Events:
    rng = draw.rng
    events = sends[rng.random(len(sends)) < reaction.rate].copy()
    count = len(events)
    events["type"] = _CODES[reaction.event_type]
    events["time"] += 1 + rng.exponential(reaction.hours * 3600, count).astype(np.int64)
    if reaction.event_type.endswith("email.Open"):
        events["machine"] = rng.random(count) < _MACHINE_SHARE
    elif reaction.event_type.endswith("email.Click"):
        events["alias"] = rng.choice(len(ALIASES), count, p=(0.6, 0.3, 0.1))
    elif reaction.event_type.endswith("InboundReceive"):
        events["keyword"] = rng.choice(len(KEYWORDS), count, p=(0.6, 0.3, 0.1))
    elif reaction.event_type.endswith("Conversion"):
        events["conversion"] = rng.choice(2, count, p=(0.8, 0.2))
        events["step"] = NONE
    return events


def _late_reactions(draw: Draw, events: Events) -> Events:
    """Old messages that are opened long after their source has expired (R9)."""
    sends = events[np.isin(events["type"], [_CODES["users.messages.email.Send"]])]
    late = sends[draw.rng.permutation(len(sends))[: max(len(sends) // 60, 3)]].copy()
    late["type"] = _CODES["users.messages.email.Open"]
    late["machine"] = 0
    first = draw.now - timedelta(days=FIRST_RUN_DAYS - 4)
    last = draw.now - timedelta(days=1)
    late["time"] = draw.rng.integers(int(first.timestamp()), int(last.timestamp()), len(late))
    return late


def _app_activity(draw: Draw, count: int) -> Events:
    """What belongs to no campaign: sessions, news feed views, text messages out of the blue."""
    parts = []
    for event_type, share in ((_SESSION_START, 0.5), (_NEWS_FEED, 0.4), (_INBOUND_SMS, 0.1)):
        events = _blank(draw, max(round(count * share), 3), event_type)
        first, last = draw.now - timedelta(days=300), draw.now - timedelta(hours=2)
        events["time"] = draw.rng.integers(int(first.timestamp()), int(last.timestamp()), len(events))
        if event_type == _INBOUND_SMS:
            events["keyword"] = draw.rng.integers(0, len(KEYWORDS), len(events))
        parts.append(events)
    return np.concatenate(parts)
