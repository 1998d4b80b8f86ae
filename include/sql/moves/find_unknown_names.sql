-- Ids and tags of a restore request that nothing is known of.
-- Grain: one row a name. Binds: $source_ids, $tags (lists of text).
-- R12. What the platform has no longer is still known, and so is an id of which a table holds interactions.
WITH known_ids AS (
    SELECT source_id FROM known_sources
    UNION
    SELECT source_id FROM source_totals
)

SELECT
    'source' AS kind,
    asked.name
FROM (SELECT unnest($source_ids::VARCHAR[]) AS name) AS asked
WHERE asked.name NOT IN (SELECT source_id FROM known_ids)
UNION ALL
SELECT
    'tag' AS kind,
    asked.name
FROM (SELECT unnest($tags::VARCHAR[]) AS name) AS asked
WHERE asked.name NOT IN (SELECT tag FROM known_source_tags)
