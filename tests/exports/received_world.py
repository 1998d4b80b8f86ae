"""A workspace in which a few people received things, and everything they received, written out as it is expected."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from perennial.audiences.completeness import MissingSource
from perennial.exports.received import CampaignReceived, CanvasReceived, Engaged, StepReceived
from perennial.moves import Run, expire_sources, restore_sources
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.rows import EPOCH, append_hot, interaction
from tests.workspace import Workspace, received

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
DELETED_AT = datetime(2023, 5, 1, tzinfo=UTC)
HOSTILE = "it's a/b\\c \"x\" '; DROP TABLE users; -- 🌻\u202e"


def at(minutes: int) -> datetime:
    return EPOCH + timedelta(minutes=minutes)


def user(user_id: str, external_id: str | None = None, **fields: Any) -> dict[str, Any]:
    base = {"user_id": user_id, "external_user_id": external_id, "invalid_phone": False, "feature_flags": []}
    return base | fields


USERS = [
    user(
        "ann", "customer-1", email="ann@example.com", phone="+33123456789", first_name="Ann", last_name="O'Hara",
        country="FR", language="fr", time_zone="Europe/Paris", created_at=at(0), custom_attributes='{"vip": true, "n": null}',
    ),
    user("bob", "customer-2", custom_attributes='["no object"]'),
    user("bob again", "customer-2", custom_attributes="{broken"),
    user("eve", custom_attributes='{"score": NaN}'),
    user(HOSTILE, HOSTILE, first_name=HOSTILE, custom_attributes='{"a":' * 1000 + "1" + "}" * 1000),
]  # fmt: skip
PEOPLE = [str(row["user_id"]) for row in USERS]
SEGMENTS: dict[str, dict[str, Any]] = {
    "everybody": {"and": []},
    "nobody": {"or": []},
    "old": received("old"),
    "not-old": {"not": received("old")},
    HOSTILE: received(HOSTILE),
}


def contacts(source_id: str, kind: str, *rows: tuple[str, int, str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Interactions of one source: user, minute, interaction, further fields."""
    return [
        interaction(
            source_id, number, occurred_at=at(minute), user_id=user_id, source_kind=kind, interaction=what, **fields
        )
        for number, (user_id, minute, what, fields) in enumerate(rows)
    ]


BLUE, RED, NO_CHANNEL = {"variant_id": "blue"}, {"variant_id": "red"}, {"channel": None}
PUSH, IN_APP = {"channel": "push"}, {"channel": "in_app_message"}
CONVERTED = {"channel": None, "conversion_index": 0}
STEP_1, STEP_2 = {"canvas_step_id": "step 1", "variant_id": "left"}, {"canvas_step_id": "step 2", "variant_id": "left"}
HELD_OUT = {"channel": None, "variant_id": "held out"}

INTERACTIONS = [
    *contacts(
        "spring", "campaign",
        ("ann", 10, "received", BLUE), ("ann", 20, "received", RED), ("ann", 30, "received", {}),
        ("ann", 31, "opened", {"machine_open": False}), ("ann", 32, "clicked", {"link_alias": "shop"}),
        ("ann", 33, "opened", PUSH), ("ann", 34, "clicked", IN_APP), ("ann", 35, "converted", CONVERTED),
        # A machine's open, a secondary conversion and a click on something else are nothing that bob did.
        ("bob", 20, "received", BLUE), ("bob", 20, "received", RED), ("bob", 21, "opened", {"machine_open": True}),
        ("bob", 22, "converted", CONVERTED | {"conversion_index": 1}), ("bob", 23, "clicked", PUSH),
        ("bob", 24, "opened", NO_CHANNEL), ("bob", 25, "clicked", NO_CHANNEL), ("bob", 26, "replied", {"channel": "sms"}),
        # Nobody on the platform.
        ("ghost", 20, "received", BLUE),
    ),
    *contacts(HOSTILE, "campaign", ("ann", 5, "control", HELD_OUT), (HOSTILE, 6, "received", {"variant_id": HOSTILE})),
    # Without a received message or a place in the control group, it is on no list.
    *contacts("opened only", "campaign", ("ann", 40, "opened", {}), ("ann", 41, "converted", CONVERTED)),
    # The platform does not have it yet.
    *contacts("fresh", "campaign", ("ann", 30, "received", {"variant_id": "unknown"})),
    *contacts("old", "campaign", ("ann", 50, "received", {}), ("ann", 51, "opened", {}), ("bob", 52, "control", {})),
    *contacts(
        "journey", "canvas",
        ("ann", 60, "entered", {"channel": None, "variant_id": "left"}), ("ann", 61, "received", STEP_1),
        ("ann", 62, "received", STEP_2), ("ann", 63, "received", STEP_1), ("ann", 64, "received", {"canvas_step_id": "gone"}),
        ("bob", 60, "entered", {"channel": None, "variant_id": "left"}), ("bob", 61, "control", HELD_OUT),
    ),
    *contacts("old journey", "canvas", ("ann", 70, "entered", NO_CHANNEL), ("bob", 71, "received", STEP_1)),
    # Deleted by the previous policy, but not quite.
    *contacts("deleted", "campaign", ("ann", 90, "received", {})),
]  # fmt: skip
NOTHING = Engaged(
    opened_email=False, opened_push=False, clicked_email=False, clicked_triggered_in_app_message=False
)  # fmt: skip


def campaign(source_id: str, last_received: datetime | None, **fields: Any) -> CampaignReceived:
    base: dict[str, Any] = {
        "name": f"Name of {source_id}",
        "engaged": NOTHING,
        "converted": False,
        "in_control": False,
        "variation_name": None,
        "variation_api_id": None,
    }
    return CampaignReceived(api_campaign_id=source_id, last_received=last_received, **base | fields)


def canvas(source_id: str, **fields: Any) -> CanvasReceived:
    base: dict[str, Any] = {
        "name": f"Name of {source_id}",
        "last_received_message": None,
        "last_entered": None,
        "last_entered_control_at": None,
        "in_control": False,
        "variation_name": None,
        "steps_received": (),
    }
    return CanvasReceived(api_canvas_id=source_id, **base | fields)


def step(step_id: str, name: str, minute: int) -> StepReceived:
    return StepReceived(name=name, api_canvas_step_id=step_id, last_received=at(minute))


ALL_OF_IT = Engaged(
    opened_email=True, opened_push=True, clicked_email=True, clicked_triggered_in_app_message=True
)  # fmt: skip
# Newest first; of the two of minute 30, the smaller id first.
CAMPAIGNS = {
    "ann": (
        campaign("old", at(50), engaged=Engaged(**vars(NOTHING) | {"opened_email": True})),
        campaign("fresh", at(30), name="fresh", variation_api_id="unknown"),
        campaign(
            "spring", at(30), engaged=ALL_OF_IT, converted=True, variation_name="Red ❤", variation_api_id="red"
        ),
        campaign(HOSTILE, None, in_control=True, variation_name="Held out", variation_api_id="held out"),
    ),
    # Two variations in the same moment: the greater id.
    "bob": (
        campaign("old", None, in_control=True),
        campaign("spring", at(20), variation_name="Red ❤", variation_api_id="red"),
    ),
    "bob again": (),
    "eve": (),
    HOSTILE: (campaign(HOSTILE, at(6), variation_name=HOSTILE, variation_api_id=HOSTILE),),
}  # fmt: skip
CANVASES = {
    "ann": (
        canvas("old journey", last_entered=at(70)),
        canvas(
            "journey",
            last_received_message=at(64),
            last_entered=at(60),
            variation_name="Left",
            steps_received=(step("gone", "gone", 64), step("step 1", "Hello", 63), step("step 2", "Still there?", 62)),
        ),
    ),
    # The old journey's step is another one's namesake, so its id is all there is.
    "bob": (
        canvas("old journey", last_received_message=at(71), steps_received=(step("step 1", "step 1", 71),)),
        canvas(
            "journey", last_entered=at(60), last_entered_control_at=at(61), in_control=True, variation_name="Held out"
        ),
    ),
    "bob again": (),
    "eve": (),
    HOSTILE: (),
}  # fmt: skip


def missing(source_id: str, kind: str = "campaign", rows: int = 0) -> MissingSource:
    return MissingSource(
        source_id=source_id,
        kind=kind,
        name=f"Name of {source_id}",
        state="expired" if rows else "deleted",
        since=NOW if rows else DELETED_AT,
        archived_rows=rows,
    )


DELETED, OLD, OLD_JOURNEY = missing("deleted"), missing("old", rows=3), missing("old journey", "canvas", rows=2)


def build(home: Path) -> Warehouse:
    """Put it all into a new warehouse; nothing has expired."""
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(home)}))
    warehouse.create_tables()
    return filled(warehouse)


def filled(warehouse: Warehouse) -> Warehouse:
    """Put it all into an empty warehouse; nothing has expired."""
    workspace = Workspace(warehouse)
    for source_id in ("spring", HOSTILE, "opened only"):
        workspace.source(source_id, "active")
    workspace.source("journey", "active", kind="canvas")
    workspace.source("old")
    workspace.source("old journey", kind="canvas")
    workspace.source("deleted", interaction_data_deleted_at=DELETED_AT)
    for segment_id, definition in SEGMENTS.items():
        workspace.audience(f"segment:{segment_id}", definition)
    workspace.sync()
    workspace.replace("users", USERS)
    workspace.replace("source_variants", [
        {"source_id": source_id, "variant_id": variant_id, "name": name, "is_control": variant_id == "held out"}
        for source_id, variant_id, name in (
            ("spring", "blue", "Blue"), ("spring", "red", "Red ❤"), (HOSTILE, "held out", "Held out"),
            (HOSTILE, HOSTILE, HOSTILE), ("journey", "left", "Left"), ("journey", "held out", "Held out"),
        )
    ])  # fmt: skip
    workspace.replace("canvas_steps", [
        {"source_id": "journey", "step_id": "step 1", "name": "Hello"},
        {"source_id": "journey", "step_id": "step 2", "name": "Still there?"},
    ])  # fmt: skip
    append_hot(warehouse, INTERACTIONS)
    return warehouse


def expire(warehouse: Warehouse) -> None:
    """Run the daily expiry."""
    report = expire_sources(warehouse, Run("r1", NOW, "ann"))
    assert {source.source_id for source in report.sources} == {"old", "old journey"}


def restore(warehouse: Warehouse) -> None:
    """Bring back what expired."""
    request = {"source_ids": ["old", "old journey"], "notify": ["ann@example.com"]}
    assert restore_sources(warehouse, request, Run("r2", NOW, "ann")).state == "finished"
