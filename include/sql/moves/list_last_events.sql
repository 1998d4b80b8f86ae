-- The end of the trail of some sources: which way each was moved last, and when its last event was recorded.
-- Grain: one row a source, nulls where there is no event. Binds: $source_ids (list of text).
-- Reads lifecycle_events, source_moves.
WITH asked AS (
    SELECT unnest($source_ids::VARCHAR[]) AS source_id
)

SELECT
    asked.source_id,
    any_value(source_moves.last_event) AS move,
    max(coalesce(lifecycle_events.recorded_at, lifecycle_events.occurred_at)) AS recorded_at
FROM asked
LEFT JOIN source_moves ON asked.source_id = source_moves.source_id
LEFT JOIN lifecycle_events ON asked.source_id = lifecycle_events.source_id
GROUP BY asked.source_id
