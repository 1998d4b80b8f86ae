-- Purpose: the ids of this load's events that the ledger has from an earlier load.
-- Grain: event; filled by load/insert_known_events, one span of days after the other.
CREATE TABLE known_events (
    id VARCHAR NOT NULL
)
