-- How much some runs brought back.
-- Grain: one row a run that brought something back. Binds: $run_ids (list of text).
SELECT
    run_id,
    sum(total_bytes)::BIGINT AS total_bytes
FROM lifecycle_events
WHERE
    event = 'restored'
    AND run_id IN (SELECT unnest($run_ids::VARCHAR[]))
GROUP BY run_id
HAVING sum(total_bytes) > 0
