-- What became of the sources that a restore was asked for: what its own events say, and where each source is.
-- Grain: one row a requested source.
-- Binds: $run_id and $now (ids of runs are used again, in other DAGs and in replays), $source_ids (list of text),
-- $until (a later run's events are not this one's). Reads lifecycle_events, source_totals, source_availability.
-- R12, R13. Another run may have brought a source back, or recorded it: then last_move shows that.
WITH asked AS (
    SELECT unnest($source_ids::VARCHAR[]) AS source_id
),

own AS (
    SELECT
        source_id,
        list(event_id) AS event_ids,
        sum(file_count)::BIGINT AS file_count,
        sum(row_count)::BIGINT AS row_count,
        sum(total_bytes)::BIGINT AS total_bytes
    FROM lifecycle_events
    WHERE run_id = $run_id AND occurred_at = $now AND event = 'restored'
    GROUP BY source_id
),

last_moves AS (
    SELECT
        source_id,
        max_by(event, (coalesce(recorded_at, occurred_at), occurred_at, event)) AS last_move
    FROM lifecycle_events
    WHERE event IN ('expired', 'restored') AND coalesce(recorded_at, occurred_at) <= $until
    GROUP BY source_id
),

archived AS (
    SELECT source_id
    FROM source_totals
    WHERE table_name = 'interactions_archive'
)

SELECT
    asked.source_id,
    coalesce(own.event_ids, []) AS event_ids,
    coalesce(own.file_count, 0)::BIGINT AS file_count,
    coalesce(own.row_count, 0)::BIGINT AS row_count,
    coalesce(own.total_bytes, 0)::BIGINT AS total_bytes,
    last_moves.last_move,
    archived.source_id IS NOT NULL AS is_archived,
    source_availability.expires_at
FROM asked
LEFT JOIN own ON asked.source_id = own.source_id
LEFT JOIN last_moves ON asked.source_id = last_moves.source_id
LEFT JOIN archived ON asked.source_id = archived.source_id
LEFT JOIN source_availability ON asked.source_id = source_availability.source_id
