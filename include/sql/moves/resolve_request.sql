-- Every source a restore request means, and what will become of it.
-- Grain: one row a source, in order of id. Binds: $source_ids, $tags (lists of text).
-- R11: tags are resolved when this runs; those last known of a source that the platform has no longer count as well.
-- R12: the outcomes. R18: what the previous policy deleted stays deleted.
WITH requested AS (
    SELECT unnest($source_ids::VARCHAR[]) AS source_id
    UNION
    SELECT source_id FROM known_source_tags
    WHERE tag IN (SELECT unnest($tags::VARCHAR[]))
),

held AS (
    SELECT
        source_id,
        coalesce(sum(row_count) FILTER (WHERE table_name = 'interactions'), 0)::BIGINT AS hot_rows,
        coalesce(sum(row_count) FILTER (WHERE table_name = 'interactions_archive'), 0)::BIGINT AS archived_rows
    FROM source_totals
    GROUP BY source_id
)

SELECT
    requested.source_id,
    coalesce(source_availability.name, requested.source_id) AS name,
    coalesce(source_availability.kind, 'source') AS kind,
    CASE
        WHEN source_availability.state = 'deleted' THEN 'deleted under the previous policy'
        WHEN source_availability.state = 'expired' OR held.archived_rows > 0 THEN 'restored'
        WHEN held.hot_rows > 0 THEN 'already available'
        ELSE 'never had data'
    END AS outcome,
    coalesce(held.archived_rows, 0) AS archived_rows,
    coalesce(source_availability.state = 'expired', FALSE) AS was_expired
FROM requested
LEFT JOIN source_availability USING (source_id)
LEFT JOIN held USING (source_id)
ORDER BY requested.source_id
