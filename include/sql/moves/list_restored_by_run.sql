-- The sources that one run has brought back, as far as it is recorded.
-- Grain: one row a source. Binds: $run_id. Rules: R23.
SELECT DISTINCT source_id
FROM lifecycle_events
WHERE run_id = $run_id AND event = 'restored'
ORDER BY source_id
