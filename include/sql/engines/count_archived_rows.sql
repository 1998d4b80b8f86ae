-- How many interactions the recorded moves have put into the archive and not taken out again.
-- Grain: one row. Reads lifecycle_events. Rules: R8, R9, R16.
WITH moves AS (
    SELECT
        source_id,
        event,
        row_count,
        coalesce(recorded_at, occurred_at) AS moved_at
    FROM lifecycle_events
),

restores AS (
    SELECT
        source_id,
        max(moved_at) AS restored_at
    FROM moves
    WHERE event = 'restored'
    GROUP BY source_id
)

SELECT coalesce(sum(moves.row_count), 0)::BIGINT AS row_count
FROM moves
LEFT JOIN restores ON moves.source_id = restores.source_id
WHERE moves.event <> 'restored' AND (restores.restored_at IS NULL OR moves.moved_at > restores.restored_at)
