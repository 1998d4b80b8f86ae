-- Some sources: the expired first, then what expires next.
-- Grain: one row a source. Reads listed_sources, known_source_tags.
-- Binds: $state (available, kept, expired or deleted), $tag; null: of any. $row_limit; null: all.
SELECT
    source_id,
    kind,
    name,
    status,
    state,
    since,
    expires_at,
    kept_by,
    hot_rows,
    archived_rows
FROM listed_sources
WHERE
    ($state::VARCHAR IS NULL OR $state IN (state, CASE WHEN kept_by IS NOT NULL THEN 'kept' END))
    AND (
        $tag::VARCHAR IS NULL
        OR source_id IN (
            SELECT known_source_tags.source_id
            FROM known_source_tags
            WHERE known_source_tags.tag = $tag
        )
    )
ORDER BY state = 'available', expires_at NULLS LAST, name, source_id
LIMIT $row_limit::BIGINT
