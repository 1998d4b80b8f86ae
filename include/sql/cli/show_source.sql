-- Where the interactions of one source are.
-- Grain: one row. Binds: $source_id.
SELECT
    source_id,
    kind,
    name,
    CASE WHEN vanished_at IS NULL THEN status ELSE 'no longer in the platform' END AS status,
    vanished_at,
    state,
    since,
    clock_started_at,
    expires_at,
    hot_rows,
    archived_rows
FROM source_availability
WHERE source_id = $source_id
