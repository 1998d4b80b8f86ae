"""Every table of the warehouse: columns, partitioning, one line of documentation. Field ids follow column order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ColumnType = Literal["string", "boolean", "int", "long", "date", "timestamptz", "list<string>"]


@dataclass(frozen=True)
class Column:
    """One column. `required` columns are never null; those added in a later version must not be required."""

    name: str
    type: ColumnType
    required: bool
    doc: str


@dataclass(frozen=True)
class Table:
    """One table of the contract.

    Attributes:
        name: Name inside the namespace.
        doc: What a row is.
        columns: In order; a new version only ever appends.
        partition_by: The identity-partitioned column, if any.
        sort_by: The order rows have inside a file, so that statistics prune.
        row_group_rows: How many rows of a file are read at least; for a table of which a query needs few.
    """

    name: str
    doc: str
    columns: tuple[Column, ...]
    partition_by: str | None = None
    sort_by: tuple[str, ...] = ()
    row_group_rows: int = 122_880


@dataclass(frozen=True)
class View:
    """One view that everybody may query; its own purpose is in the header of `include/sql/views/create_NAME.sql`.

    Attributes:
        name: Its name.
        like: The table whose columns mean the same here.
        own: What its other columns mean, and those that mean something else here.
    """

    name: str
    like: Table
    own: dict[str, str] = field(default_factory=dict)

    @property
    def docs(self) -> dict[str, str]:
        """What its columns mean, by name; some of the table's may not be in the view."""
        return {column.name: column.doc for column in self.like.columns} | self.own


def _columns(text: str) -> tuple[Column, ...]:
    """Read `name[*] type documentation`, one column a line; `*` marks a required one."""
    columns = []
    for line in text.strip().splitlines():
        name, kind, doc = line.strip().split(maxsplit=2)
        columns.append(Column(name.rstrip("*"), kind, name.endswith("*"), doc))  # type: ignore[arg-type]  # checked by the catalog
    return tuple(columns)


_INTERACTION_COLUMNS = _columns("""
    event_id* string Id of the Currents event, unique
    event_type* string Currents event type
    occurred_at* timestamptz When it happened
    user_id* string The platform's user id
    external_user_id string The customer's own user id
    source_id* string Campaign or Canvas
    source_kind* string campaign or canvas
    canvas_step_id string Step of the Canvas
    variant_id string Message variation of a campaign, variation of a Canvas
    channel string email, push, sms, whatsapp, webhook, rcs, line, in_app_message, content_card or banner
    interaction* string received, opened, clicked, replied, converted, entered or control
    link_alias string Alias of the clicked link
    machine_open boolean Whether a machine, not a person, opened the e-mail
    conversion_index int Which conversion event; 0 is the primary one
    keyword_category string Category of an inbound SMS
    dispatch_id string Dispatch of the message
    send_id string Send of the message
    is_suspected_bot_click boolean Whether the click looks like that of a link scanner, not of a person
""")

SOURCES = Table("sources", "A campaign or Canvas, as known to the platform.", _columns("""
    source_id* string Id of the campaign or Canvas
    kind* string campaign or canvas
    name* string Name
    status* string draft, active, stopped or archived
    created_at* timestamptz When it was created
    stopped_at timestamptz When it was stopped
    last_sent_at timestamptz When it last sent a message
    owner_email string Whom to notify when its data expires
    interaction_data_deleted_at timestamptz When the previous policy deleted its data (R18)
"""))  # fmt: skip
SOURCE_TAGS = Table("source_tags", "A tag of a source.", _columns("""
    source_id* string Id of the campaign or Canvas
    tag* string Tag
"""))  # fmt: skip
SOURCE_VARIANTS = Table("source_variants", "A variation of a source.", _columns("""
    variant_id* string Id of the variation
    source_id* string Id of the campaign or Canvas
    name* string Name
    is_control* boolean Whether it is the control group
"""))  # fmt: skip
CANVAS_STEPS = Table("canvas_steps", "A step of a Canvas.", _columns("""
    step_id* string Id of the step
    source_id* string Id of the Canvas
    name* string Name
"""))  # fmt: skip
AUDIENCES = Table("audiences", "An audience definition of a campaign, Canvas, segment or Content Card.", _columns("""
    owner_kind* string campaign, canvas, segment or content_card
    owner_id* string Id of the owner
    owner_name string Name of the owner
    owner_status* string draft, active, stopped or archived
    part* string audience, or the id of the Canvas step whose own audience this is
    definition* string JSON of the filter catalogue
"""))  # fmt: skip
USERS = Table("users", "A user of the messaging platform.", _columns("""
    user_id* string The platform's user id
    external_user_id string The customer's own user id
    email string E-mail address
    phone string Phone number
    first_name string First name
    last_name string Last name
    country string Country
    language string Language
    time_zone string Time zone
    created_at timestamptz When the profile was created
    invalid_phone* boolean Whether the phone number is invalid
    feature_flags* list<string> Feature flags the user is in
    custom_attributes string JSON of custom attributes
"""))  # fmt: skip

INTERACTIONS = Table(
    "interactions", "Hot: one user's contact with one source.", _INTERACTION_COLUMNS,
    partition_by="source_id", sort_by=("occurred_at",),
)  # fmt: skip
INTERACTIONS_ARCHIVE = Table(
    "interactions_archive", "Long-term storage: the same rows once they have expired.", _INTERACTION_COLUMNS,
    partition_by="source_id", sort_by=("occurred_at",),
)  # fmt: skip
USER_MESSAGE_SUMMARY = Table("user_message_summary", "What one load saw of a user; take max(last_at), sum(event_count).",
    _columns("""
    user_id* string The platform's user id
    measure* string received, engaged, clicked_alias, control, sms_keyword, hard_bounced, marked_as_spam, viewed_news_feed
    dimension* string Channel, alias, source kind or keyword category
    last_at* timestamptz Latest event of this load
    event_count* long Events of this load
"""), sort_by=("user_id",))  # fmt: skip
SOURCE_DAILY_STATS = Table("source_daily_stats", "What one load saw of a source on a day; take sum(event_count).",
    _columns("""
    source_id* string Campaign or Canvas
    stat_date* date Day in UTC
    interaction* string Kind of interaction
    channel string Channel
    event_count* long Events of this load
"""), sort_by=("source_id", "stat_date"))  # fmt: skip

LIFECYCLE_EVENTS = Table("lifecycle_events", "A source was expired, restored, or had late rows archived.", _columns("""
    event_id* string Id, the same when a step is repeated
    event* string expired, restored or late_archived
    source_id* string Campaign or Canvas
    occurred_at* timestamptz The run's own now
    run_id* string Run that did it
    requested_by string Who asked for it
    reason string Why
    file_count* long Files moved
    row_count* long Interactions moved
    total_bytes* long Bytes moved
    recorded_at timestamptz Wall clock; orders the events of a source
"""))  # fmt: skip
EXPIRY_DECISIONS = Table("expiry_decisions", "What an expiry run decided about a source, and why.", _columns("""
    as_of* timestamptz The run's own now
    run_id* string Run that decided
    source_id* string Campaign or Canvas
    decision* string deleted, reactivated, late, expired, active, recent, held, referenced, empty or expire
    reason* string The same, for a person
    clock_started_at timestamptz Start of its clock (R3)
    expires_at timestamptz End of its clock (R3)
    referenced_by* list<string> Each referrer's whole path (R4); at most ten paths of referrers that might name any source
"""))  # fmt: skip
HOLDS = Table("holds", "A hold was placed or lifted: while it lasts, its sources stay hot (R19).", _columns("""
    hold_id* string Id, the same in the row that lifts it
    source_id string Campaign or Canvas; null in a hold on a tag
    tag string Tag: whatever carries it when a run decides; null in a hold on a source
    held_by* string Who placed or lifted it
    reason* string Why, in their words
    held_at* timestamptz Wall clock
    until timestamptz End; null: until it is lifted
    event* string placed or lifted
"""))  # fmt: skip
NOTICES = Table("notices", "Somebody was notified that a source will expire, or that a hold will end (R19, R20).", _columns("""
    source_id string Campaign or Canvas; null where it is about a hold
    hold_id string Hold; null where it is about a source
    clock_started_at timestamptz Start of the clock of the source: one notice each
    ends_at* timestamptz When the source was due, or the hold to end
    recipient* string Who was notified; empty where the platform names no owner
    noticed_at* timestamptz Wall clock
    run_id* string Run that notified them
"""))  # fmt: skip
LOADED_FILES = Table("loaded_files", "A landing file that has been loaded.", _columns("""
    file_uri* string Address of the file
    loaded_at* timestamptz When its load was prepared
    row_count* long Interactions it added
    rejected_count* long Records kept in rejected_events
    ignored_count* long Records of other event types
    file_bytes long Size when it was read
    modified_at timestamptz Modification time when it was read; null where an erasure is about to replace it (R22)
    duplicate_count long Records known from an earlier delivery
    load_id string Load that read it, or erasure that replaced it by one without some people
    erased_count long Records of people who were erased, which are not stored (R22)
"""))  # fmt: skip
REJECTED_EVENTS = Table("rejected_events", "A record that could not be read.", _columns("""
    file_uri* string Address of the file
    line* long Line of a JSON file, ordinal of the record in an Avro file, from 1; 0 for the file itself
    reason* string What is wrong with it
    payload* string The record as far as it could be read
    rejected_at* timestamptz When its load was prepared
"""))  # fmt: skip
LOADED_EVENTS = Table("loaded_events", "The id of every event ever loaded: the ledger behind exactly-once loading.",
    _columns("""
    event_id* string Id of the Currents event
    occurred_at* timestamptz When it happened; a second delivery carries the same time
"""), sort_by=("occurred_at",), row_group_rows=16_384)  # fmt: skip
ARCHIVED_FILES = Table("archived_files", "A data file as it was when it entered the archive.", _columns("""
    file_uri* string Address in the archive
    source_id* string Campaign or Canvas
    original_uris* list<string> The hot files it holds the rows of
    row_count* long Interactions
    file_bytes* long Size
    checksum* string Checksum of its content, `algorithm:value`
    move_id* string Move that wrote it
    archived_at* timestamptz Wall clock
"""))  # fmt: skip

AUDIENCE_VIOLATIONS = Table("audience_violations", "What is wrong with an audience, as of the last sync.", _columns("""
    checked_at* timestamptz The run's own now
    owner_kind* string campaign, canvas, segment or content_card
    owner_id* string Id of the owner
    owner_name string Name of the owner
    owner_status* string draft, active, stopped or archived
    part* string audience, or the id of the Canvas step whose own audience this is
    violation* string forbidden, incomplete, unknown or unreadable
    filter string Filter that is wrong
    path* string Where: a JSON path, in a segment that the audience uses preceded by `segment:<id>`
    named_id string The source, step, variation, segment or tag that the filter names
    detail* string What is wrong, for a person
    remedy* string What to do about it; for incomplete the command that restores what can come back
"""))  # fmt: skip
ADOPTED_DELETIONS = Table("adopted_deletions", "A source that the previous policy deleted before this project (R18).",
    _columns("""
    source_id* string Campaign or Canvas
    deleted_at timestamptz The cutoff it was adopted at: start of that day; null takes an earlier mark back
    reason* string Why the previous policy deleted it, or why not
    adopted_at* timestamptz Wall clock
    requested_by string Who asked for it
"""))  # fmt: skip
VANISHED_SOURCES = Table("vanished_sources", "What was last known of a source when a sync first missed it.", _columns("""
    source_id* string Id of the campaign or Canvas
    kind string campaign or canvas; null where it vanished before this table existed, as is all that is not known
    name string Name
    status string draft, active, stopped or archived
    created_at timestamptz When it was created
    stopped_at timestamptz When it was stopped
    last_sent_at timestamptz When it last sent a message
    owner_email string Whom to notify when its data expires
    interaction_data_deleted_at timestamptz When the previous policy deleted its data (R18)
    tags* list<string> Its tags
    missed_at* timestamptz Wall clock of the sync; the last row of a source counts, until the platform has it again
    run_id* string Run that missed it
"""))  # fmt: skip
ARCHIVE_CHECKS = Table("archive_checks", "A check of an archived file: whether what is there can be restored.",
    _columns("""
    file_uri* string Address in the archive
    source_id* string Campaign or Canvas
    checked_at* timestamptz Wall clock
    outcome* string sound, damaged, missing or cold: not readable before it is thawed, so not checked
    run_id* string Run that checked it
    detail string What is wrong, for a person
"""))  # fmt: skip
ERASURES = Table("erasures", "A step of the erasure of a person, whom it does not name (R22).", _columns("""
    request_id* string Request
    user_id_hash* string Keyed hash of the platform's user id, PERENNIAL_ERASURE_KEY; never the id itself
    event* string requested, approved, located, waiting, removed, purged, verified, refused or forgotten
    at* timestamptz Wall clock
    requested_by string Who asked for this step
    due_at* timestamptz By when everything of the person has to be gone
    detail* string JSON: files, rows by table, what waits for a thaw, and the mark of the key
"""))  # fmt: skip

TABLES = (
    SOURCES, SOURCE_TAGS, SOURCE_VARIANTS, CANVAS_STEPS, AUDIENCES, USERS,
    INTERACTIONS, INTERACTIONS_ARCHIVE, USER_MESSAGE_SUMMARY, SOURCE_DAILY_STATS,
    LIFECYCLE_EVENTS, EXPIRY_DECISIONS, HOLDS, NOTICES, LOADED_FILES, REJECTED_EVENTS, LOADED_EVENTS, ARCHIVED_FILES,
    AUDIENCE_VIOLATIONS, ADOPTED_DELETIONS, VANISHED_SOURCES, ARCHIVE_CHECKS, ERASURES,
)  # fmt: skip
_NAMES = {
    "source_name": "Name of the campaign or Canvas; null where it is not known",
    "variation_name": "Name of the variation; null where it is not known",
}
VIEWS = (
    View("available_interactions", INTERACTIONS),
    View("campaign_interactions", INTERACTIONS, _NAMES),
    View("canvas_interactions", INTERACTIONS, _NAMES | {"step_name": "Name of the step; null where it is not known"}),
    View("source_analytics", SOURCE_DAILY_STATS, {
        "kind": "campaign or canvas", "name": "Name", "event_count": "Events of that day",
    }),
    View("user_message_summary_latest", USER_MESSAGE_SUMMARY, {
        "last_at": "When it last happened, over all sources", "event_count": "How often it happened, over all sources",
    }),
    View("source_availability", SOURCES, {
        "state": "available, expired (a restore brings its interactions back) or deleted (R18)",
        "since": "Since when it has been in this state",
        "clock_started_at": "Start of its clock (R3); null while the clock does not run",
        "expires_at": "End of its clock (R3); null while the clock does not run",
        "hot_rows": "Interactions in the hot table",
        "archived_rows": "Interactions in the archive",
        "vanished_at": "Since when the platform no longer has it; null while it does",
    }),
    View("known_source_tags", SOURCE_TAGS),
)  # fmt: skip
# New names of columns, and those they had: `perennial init` renames, and the values stay.
RENAMED_COLUMNS = {ARCHIVED_FILES.name: {"checksum": "sha256"}}
SYNCED = (SOURCES, SOURCE_TAGS, SOURCE_VARIANTS, CANVAS_STEPS, AUDIENCES, USERS)
# Tables that add up, by name: what one of them has lost, no sync and no other run writes again.
COUNTED = tuple(table.name for table in TABLES if table not in (*SYNCED, AUDIENCE_VIOLATIONS))
