"""What the sample workspace is made of: campaigns, Canvases, segments, Content Cards, and what becomes of each.

A source's story decides its dates, and so the decision an expiry makes about it: at the first run, five weeks ago, and
at the second, now. Dates are days before now; three calendar months are at most 92 days.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

FIRST_RUN_DAYS = 35


@dataclass(frozen=True)
class Story:
    """What becomes of a source.

    Attributes:
        first: Decision at the first run; empty where the source does not exist yet.
        second: Decision at the second run.
        stopped: Days before now at which it is stopped, the longest ago; None if it is not.
        spread: Days over which the sources of one story are spread, towards now.
        restarted: Days before now at which it is started again.
        sends: Whether it ever sent anything.
        status: What it is once it is stopped.
    """

    first: str
    second: str
    stopped: int | None = None
    spread: int = 0
    restarted: int | None = None
    sends: bool = True
    status: str = "stopped"


STORIES = {
    "active": Story("active", "active"),
    "idle": Story("active", "active"),
    "new": Story("", "active"),
    "stopping": Story("active", "recent", stopped=28, spread=20),
    "recent": Story("recent", "recent", stopped=80, spread=40),
    "due": Story("recent", "expire", stopped=118, spread=18),
    "long stopped": Story("expire", "expired", stopped=290, spread=150),
    "archived": Story("expire", "expired", stopped=330, spread=60, status="archived"),
    "referenced": Story("referenced", "referenced", stopped=320, spread=160),
    "released": Story("referenced", "expire", stopped=240, spread=60),
    "restarted": Story("expire", "reactivated", stopped=170, spread=20, restarted=12),
    "late": Story("expire", "late", stopped=160, spread=20),
    "never sent": Story("empty", "empty", stopped=210, spread=60, sends=False),
    "draft": Story("empty", "empty", stopped=None, sends=False, status="draft"),
    "deleted": Story("deleted", "deleted", stopped=1500, spread=200, sends=False),
}


@dataclass(frozen=True)
class Source:
    """A campaign or Canvas of the sample workspace.

    Attributes:
        channels: One for a campaign; one a step for a Canvas.
        step_names: Of a Canvas.
        place: Its place among the sources of its story, from 0 to 1.
    """

    source_id: str
    name: str
    story_name: str
    channels: tuple[str, ...]
    tags: tuple[str, ...]
    owner_email: str
    step_names: tuple[str, ...]
    place: float

    @property
    def kind(self) -> str:
        return "canvas" if self.source_id.startswith("cnv-") else "campaign"

    @property
    def story(self) -> Story:
        return STORIES[self.story_name]

    @property
    def variant_names(self) -> tuple[str, ...]:
        """The last is the control group, where there is one."""
        if self.kind == "canvas":
            return ("Variant 1", "Variant 2", "Control")
        return ("Variant 1", "Variant 2", "Control Group") if self.channels[0] in ("email", "push") else ("Variant 1",)

    @property
    def variant_ids(self) -> tuple[str, ...]:
        return tuple(f"{self.source_id}-v{number}" for number in range(1, len(self.variant_names) + 1))

    @property
    def step_ids(self) -> tuple[str, ...]:
        return tuple(f"{self.source_id}-s{number}" for number in range(1, len(self.step_names) + 1))

    def stopped_at(self, now: datetime) -> datetime | None:
        story = self.story
        return None if story.stopped is None else now - timedelta(days=story.stopped - story.spread * self.place)

    def created_at(self, now: datetime) -> datetime:
        ages = {"new": 20, "idle": 700, "draft": 240, "active": 400, "deleted": 2400}
        stopped_at = self.stopped_at(now)
        if self.story_name in ages or stopped_at is None:
            return now - timedelta(days=ages.get(self.story_name, 400) + 30 * self.place)
        return stopped_at - timedelta(days=60 + 90 * self.place)


def sending_windows(source: Source, now: datetime) -> list[tuple[datetime, datetime]]:
    """Return when the source sends: from, to; the last send of a stopped source is a day before it is stopped."""
    if not source.story.sends:
        return []
    first = source.created_at(now) + timedelta(days=2)
    if source.story_name == "idle":
        return [(first, now - timedelta(days=400 - 40 * source.place))]
    stopped_at = source.stopped_at(now)
    windows = [(first, now - timedelta(hours=2) if stopped_at is None else stopped_at - timedelta(days=1))]
    if source.story.restarted is not None:
        windows.append((now - timedelta(days=source.story.restarted - 1), now - timedelta(hours=2)))
    return windows


# id | channels | story | tags | owner | name [: steps]
_SOURCES = """
cmp-weekly-digest    | email          | active       | newsletter,always-on | maya  | Weekly digest
cmp-new-arrivals     | email          | active       | newsletter           | maya  | New arrivals
cmp-order-shipped    | push           | active       | transactional        | tomas | Your order has shipped
cmp-delivery-survey  | sms            | active       | transactional,survey | tomas | How was your delivery?
cmp-back-in-stock    | push           | active       | always-on            | priya | Back in stock
cmp-loyalty-points   | email          | active       | loyalty              | jonas | Your points this month
cmp-birthday         | email          | active       | loyalty,always-on    | jonas | Happy birthday!
cmp-price-drop       | push           | active       | always-on            | priya | Price drop on your wish list
cmp-store-opening    | in_app_message | active       | stores               | lucia | A store near you
cmp-app-rating       | in_app_message | active       | survey               | lucia | Enjoying the app?
cmp-reorder          | whatsapp       | active       | always-on            | priya | Running low? Reorder
cmp-home-banner      | content_card   | active       | stores               | lucia | Click and collect
cmp-erp-webhook      | webhook        | active       | transactional        | tomas | Loyalty tiers to the tills
cmp-gift-guide       | email          | active       | season               | maya  | Gift guide
cmp-privacy-update   | email          | idle         | transactional        | tomas | Our privacy policy changes
cmp-size-guide       | content_card   | idle         | stores               | lucia | Find your size
cmp-early-access     | email          | new          | season,loyalty       | jonas | Early access for members
cmp-flash-weekend    | push           | stopping     | sale                 | priya | Flash weekend
cmp-autumn-lookbook  | email          | stopping     | season               | maya  | Autumn lookbook
cmp-back-to-school   | email          | recent       | season,sale          | maya  | Back to school
cmp-summer-clearance | push           | recent       | season,sale          | priya | Summer clearance
cmp-beta-invite      | in_app_message | recent       | product              | lucia | Try the new checkout
cmp-heatwave         | sms            | recent       | season               | tomas | Stay cool
cmp-summer-sale      | email          | due          | season,sale          | maya  | Summer sale
cmp-festival-push    | push           | due          | season               | priya | Festival essentials
cmp-pride-collection | email          | due          | season               | maya  | Pride collection
cmp-scavenger-hunt   | in_app_message | due          | product              | lucia | In-app scavenger hunt
cmp-spring-sale      | email          | long stopped | spring,sale          | maya  | Spring sale
cmp-spring-sale-push | push           | long stopped | spring,sale          | priya | Spring sale: last hours
cmp-spring-sms       | sms            | long stopped | spring,sale          | tomas | Spring sale: reply YES
cmp-mothers-day      | email          | long stopped | season               | maya  | Mother's Day – “thank you” 💐
cmp-easter-hunt      | content_card   | long stopped | spring               | lucia | Easter egg hunt
cmp-valentines       | email          | archived     | season               | maya  | Valentine's Day
cmp-new-year         | push           | archived     | season,sale          | priya | New year, new you
cmp-survey-swap-a    | email          | long stopped | survey               | jonas | Survey, wave A
cmp-survey-swap-b    | email          | long stopped | survey               | jonas | Survey, wave B
cmp-card-only        | email          | long stopped | product              | lucia | Checkout launch announcement
cmp-black-friday     | email          | referenced   | season,sale          | maya  | Black Friday
cmp-cyber-monday     | push           | referenced   | season,sale          | priya | Cyber Monday
cmp-vip-invite       | email          | referenced   | loyalty              | jonas | VIP evening invitation
cmp-outlet-sms       | sms            | released     | sale                 | tomas | Outlet weekend by SMS
cmp-members-preview  | email          | released     | loyalty              | jonas | Members' preview
cmp-rainy-day        | push           | restarted    | always-on            | priya | Rainy-day offer
cmp-winter-coats     | email          | late         | season               | maya  | Winter coats
cmp-radio-spot       | sms            | never sent   | stores               | tomas | Radio spot follow-up
cmp-store-closing    | email          | never sent   | stores               | lucia | Store closing notice
cmp-april-fool       | email          | draft        | season               | maya  | April fool (draft)
cmp-launch-2019      | email          | deleted      | product              | jonas | App launch
cmp-first-newsletter | email          | deleted      | newsletter           | maya  | The very first newsletter
cnv-welcome | email,push,in_app_message | active | onboarding,always-on | jonas | Welcome series : Hello, Look, Tips
cnv-abandoned-cart | push,email,sms | active | always-on | priya | Abandoned cart : Reminder, Your basket, Last call
cnv-win-back | email,email | active | loyalty | jonas | Win-back : We miss you, A gift for you
cnv-loyalty-onboarding | email,content_card | active | loyalty,onboarding | jonas | Loyalty start : Card, Benefits
cnv-trial-nurture | email,push | stopping | product | lucia | Trial nurture : Day 1, Day 3
cnv-summer-journey | email,whatsapp | due | season | maya | Summer journey : Inspiration, Ask us
cnv-spring-journey | email,push | long stopped | spring | maya | Spring journey : Inspiration, Reminder
cnv-onboarding-v1 | email,email | archived | onboarding | jonas | Welcome series, first version : Hello, Tips
cnv-holiday-countdown | email,push | referenced | season | maya | Holiday countdown : Twelve days, Last day
cnv-referral | email,sms | restarted | loyalty | jonas | Refer a friend : Invite, Thank you
cnv-refill-v1 | push,email | late | always-on | priya | Refill reminder : Nudge, Offer
cnv-store-tour | in_app_message,email | never sent | stores | lucia | Store tour : Map, Follow-up
"""
_OWNERS = {
    "maya": "maya.okafor@example.com",
    "tomas": "tomas.novak@example.com",
    "priya": "priya.raman@example.com",
    "jonas": "jonas.weber@example.com",
    "lucia": "lucia.ferrari@example.com",
}


def _sources() -> tuple[Source, ...]:
    rows = [[cell.strip() for cell in line.split("|")] for line in _SOURCES.strip().splitlines()]
    totals = {story: sum(row[2] == story for row in rows) for story in STORIES}
    seen = dict.fromkeys(STORIES, 0)
    sources = []
    for source_id, channels, story, tags, owner, title in rows:
        name, _, steps = title.partition(" : ")
        sources.append(
            Source(
                source_id=source_id,
                name=name,
                story_name=story,
                channels=tuple(channels.split(",")),
                tags=tuple(tag.strip() for tag in tags.split(",")),
                owner_email=_OWNERS[owner],
                step_names=tuple(step.strip() for step in steps.split(",")) if steps else (),
                place=seen[story] / max(totals[story] - 1, 1),
            )
        )
        seen[story] += 1
    return tuple(sources)


SOURCES = _sources()

# What the demo brings back: two by id, the others by tag.
RESTORED_SOURCES = ("cmp-mothers-day", "cnv-onboarding-v1")
RESTORED_TAG = "spring"
