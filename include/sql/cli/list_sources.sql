-- Where the interactions of every source are: the expired first, then what expires next.
-- Grain: one row a source.
SELECT
    source_id,
    kind,
    name,
    CASE WHEN vanished_at IS NULL THEN status ELSE 'no longer in the platform' END AS status,
    state,
    since,
    expires_at,
    hot_rows,
    archived_rows
FROM source_availability
ORDER BY state = 'available', expires_at NULLS LAST, name, source_id
