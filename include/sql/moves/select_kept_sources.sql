-- Sources whose rows hot or archive must hold: what their last return brought back, and what has been archived since.
-- Grain: one row a source; row_count is the most that one of these moves took along, moved_at the time of the latest.
-- R8, R12
WITH
returns AS (
    SELECT
        source_id,
        max(coalesce(recorded_at, occurred_at)) FILTER (WHERE event = 'restored') AS returned_at
    FROM lifecycle_events
    GROUP BY source_id
)

SELECT
    lifecycle_events.source_id,
    max(lifecycle_events.row_count) AS row_count,
    max(coalesce(lifecycle_events.recorded_at, lifecycle_events.occurred_at)) AS moved_at
FROM lifecycle_events
INNER JOIN returns ON lifecycle_events.source_id = returns.source_id
WHERE
    returns.returned_at IS NULL
    OR coalesce(lifecycle_events.recorded_at, lifecycle_events.occurred_at) >= returns.returned_at
GROUP BY lifecycle_events.source_id
HAVING max(lifecycle_events.row_count) > 0
