-- Ids and tags of a restore request that nothing is known of.
-- Grain: one row a name. Binds: $source_ids, $tags (lists of text).
-- R12. An id that the platform has dropped is still known while a table holds its interactions.
WITH known_sources AS (
    SELECT source_id FROM sources
    UNION
    SELECT source_id FROM source_totals
)

SELECT
    'source' AS kind,
    asked.name
FROM (SELECT unnest($source_ids::VARCHAR[]) AS name) AS asked
WHERE asked.name NOT IN (SELECT source_id FROM known_sources)
UNION ALL
SELECT
    'tag' AS kind,
    asked.name
FROM (SELECT unnest($tags::VARCHAR[]) AS name) AS asked
WHERE asked.name NOT IN (SELECT tag FROM source_tags)
