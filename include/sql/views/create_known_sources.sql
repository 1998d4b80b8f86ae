-- The sources that the platform has, and those that it has no longer, as they were last known.
-- Grain: one row a source. Reads sources, absent_sources. vanished_at is null while the platform has the source.
CREATE VIEW known_sources AS
SELECT
    source_id,
    kind,
    name,
    status,
    created_at,
    stopped_at,
    last_sent_at,
    owner_email,
    interaction_data_deleted_at,
    NULL::TIMESTAMPTZ AS vanished_at
FROM sources
UNION ALL
SELECT
    source_id,
    kind,
    name,
    status,
    created_at,
    stopped_at,
    last_sent_at,
    owner_email,
    interaction_data_deleted_at,
    vanished_at
FROM absent_sources
