-- Where the interactions of one source are.
-- Grain: one row. Reads listed_sources. Binds: $source_id.
SELECT
    source_id,
    kind,
    name,
    status,
    vanished_at,
    state,
    since,
    clock_started_at,
    expires_at,
    kept_by,
    hot_rows,
    archived_rows
FROM listed_sources
WHERE source_id = $source_id
