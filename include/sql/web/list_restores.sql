-- The last restores.
-- Grain: one row a run that restored something, the latest first, at most 50. Reads lifecycle_events.
SELECT
    run_id,
    max(coalesce(recorded_at, occurred_at)) AS restored_at,
    max(requested_by) AS requested_by,
    count(DISTINCT source_id) AS source_count,
    sum(row_count)::BIGINT AS row_count,
    sum(total_bytes)::BIGINT AS total_bytes
FROM lifecycle_events
WHERE event = 'restored'
GROUP BY run_id
ORDER BY restored_at DESC, run_id DESC
LIMIT 50
