-- What one run brought back, and when it expires again.
-- Grain: one row a source. Binds: $run_id and $now: ids of runs are used again, in other DAGs and in replays.
-- R12, R13
SELECT
    lifecycle_events.source_id,
    sum(lifecycle_events.file_count)::BIGINT AS file_count,
    sum(lifecycle_events.row_count)::BIGINT AS row_count,
    sum(lifecycle_events.total_bytes)::BIGINT AS total_bytes,
    any_value(source_availability.expires_at) AS expires_at
FROM lifecycle_events
LEFT JOIN source_availability USING (source_id)
WHERE
    lifecycle_events.run_id = $run_id
    AND lifecycle_events.occurred_at = $now
    AND lifecycle_events.event = 'restored'
GROUP BY lifecycle_events.source_id
