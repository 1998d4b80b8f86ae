-- The platform database of the embedded default, in which the demo plays the messaging platform.
-- Grain: the synced tables of the contract, one to one. Runs on SQLite and on PostgreSQL.
CREATE TABLE sources (
    source_id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at TIMESTAMP NOT NULL,
    stopped_at TIMESTAMP,
    last_sent_at TIMESTAMP,
    owner_email TEXT,
    interaction_data_deleted_at TIMESTAMP
);
CREATE TABLE source_tags (
    source_id TEXT NOT NULL REFERENCES sources (source_id),
    tag TEXT NOT NULL,
    PRIMARY KEY (source_id, tag)
);
CREATE TABLE source_variants (
    variant_id TEXT PRIMARY KEY,
    source_id TEXT NOT NULL REFERENCES sources (source_id),
    name TEXT NOT NULL,
    is_control BOOLEAN NOT NULL
);
CREATE TABLE canvas_steps (
    step_id TEXT PRIMARY KEY,
    source_id TEXT NOT NULL REFERENCES sources (source_id),
    name TEXT NOT NULL
);
CREATE TABLE audiences (
    owner_kind TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    owner_name TEXT,
    owner_status TEXT NOT NULL,
    part TEXT NOT NULL,
    definition TEXT NOT NULL,
    PRIMARY KEY (owner_kind, owner_id, part)
);
CREATE TABLE users (
    user_id TEXT PRIMARY KEY,
    external_user_id TEXT,
    email TEXT,
    phone TEXT,
    first_name TEXT,
    last_name TEXT,
    country TEXT,
    language TEXT,
    time_zone TEXT,
    created_at TIMESTAMP,
    invalid_phone BOOLEAN NOT NULL,
    feature_flags TEXT NOT NULL,
    custom_attributes TEXT
);
