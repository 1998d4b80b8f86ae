-- Purpose: the landing files of one load, in the order of their numbers.
-- Grain: landing file. `event_type` comes from its path; `counted_count` are records of an ignored type, left unread.
CREATE TABLE batch_files (
    file_no INTEGER NOT NULL,
    file_uri VARCHAR NOT NULL,
    file_bytes BIGINT NOT NULL,
    modified_at TIMESTAMPTZ NOT NULL,
    event_type VARCHAR,
    known_before BOOLEAN NOT NULL,
    record_count BIGINT NOT NULL,
    counted_count BIGINT NOT NULL
)
