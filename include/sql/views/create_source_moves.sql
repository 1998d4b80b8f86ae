-- Which way each source was moved last.
-- Grain: one row a source that was ever expired or restored. Reads lifecycle_events.
-- Rules: R8, R13. Moves count whatever their date, also when a past date is replayed: they say where the data is now.
CREATE VIEW source_moves AS
WITH moves AS (
    SELECT
        source_id,
        event,
        occurred_at,
        (coalesce(recorded_at, occurred_at), occurred_at, event) AS position
    FROM lifecycle_events
    WHERE event IN ('expired', 'restored')
)

SELECT
    source_id,
    max_by(event, position) AS last_event,
    max_by(occurred_at, position) AS last_moved_at,
    max(occurred_at) FILTER (event = 'restored') AS last_restored_at
FROM moves
GROUP BY source_id
