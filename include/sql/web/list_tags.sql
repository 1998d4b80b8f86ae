-- The tags that a person can choose from, the most used first.
-- Grain: one row a tag, the 200 most used. Reads listed_sources.
WITH tagged AS (
    SELECT unnest(tags) AS tag
    FROM listed_sources
)

SELECT
    tag,
    count(*) AS source_count
FROM tagged
GROUP BY tag
ORDER BY source_count DESC, tag ASC
LIMIT 200
