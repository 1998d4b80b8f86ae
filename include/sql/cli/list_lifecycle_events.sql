-- What has happened to one source.
-- Grain: one row an event, the latest first. Binds: $source_id.
SELECT
    occurred_at,
    event,
    row_count,
    file_count,
    total_bytes,
    requested_by,
    reason,
    run_id
FROM lifecycle_events
WHERE source_id = $source_id
ORDER BY coalesce(recorded_at, occurred_at) DESC
