-- How many bytes were moved on each day, to long-term storage and back.
-- Grain: one row a day on which something moved, in order. Reads lifecycle_events.
SELECT
    occurred_at::DATE AS moved_date,
    coalesce(sum(total_bytes) FILTER (event <> 'restored'), 0)::BIGINT AS archived_bytes,
    coalesce(sum(total_bytes) FILTER (event = 'restored'), 0)::BIGINT AS restored_bytes
FROM lifecycle_events
GROUP BY moved_date
ORDER BY moved_date
