-- What one run moved.
-- Grain: one row an event. Binds: $run_id.
SELECT
    event,
    min(occurred_at) AS occurred_at,
    count(DISTINCT source_id) AS sources,
    sum(row_count)::BIGINT AS interactions,
    sum(file_count)::BIGINT AS files,
    sum(total_bytes)::BIGINT AS bytes
FROM lifecycle_events
WHERE run_id = $run_id
GROUP BY event
ORDER BY event
