-- What lists show of every source, kept outside the database: there, looking up a page costs more than all the rest.
-- Grain: one row a source, in order of position. Reads listed_sources.
-- Times are UTC without their zone, which makes them cheap to hand over. state_at and tag_order order the list.
SELECT
    position,
    source_id,
    kind,
    name,
    status,
    vanished_at AT TIME ZONE 'UTC' AS vanished_at,
    state,
    since AT TIME ZONE 'UTC' AS since,
    expires_at AT TIME ZONE 'UTC' AS expires_at,
    is_kept,
    is_held,
    last_sent_at AT TIME ZONE 'UTC' AS last_sent_at,
    hot_rows,
    archived_rows,
    hot_rows + archived_rows AS row_count,
    total_bytes,
    tags,
    array_to_string(nullif(tags, []), chr(31)) AS tag_order,
    CASE WHEN state <> 'available' THEN since WHEN NOT is_kept THEN expires_at END AS state_at
FROM listed_sources
ORDER BY position
