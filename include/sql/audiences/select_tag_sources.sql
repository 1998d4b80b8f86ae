-- The sources that tag filters look at: of those with a tag, the 200 that sent most recently (spec/filters.md).
-- Grain: one row a tag and source. Binds: $tags, in whose place the compiler puts one bind a tag.
-- R5, R14: expired sources count among the 200, and are missing (R16).
WITH tagged AS (
    SELECT DISTINCT
        source_id,
        tag
    FROM source_tags
    WHERE tag IN ($tags)
)

SELECT
    tag,
    source_id
FROM (
    SELECT
        tagged.tag,
        sources.source_id,
        row_number() OVER (
            PARTITION BY tagged.tag
            ORDER BY sources.last_sent_at DESC NULLS LAST, sources.source_id ASC
        ) AS place
    FROM sources
    INNER JOIN tagged ON sources.source_id = tagged.source_id
) AS placed
WHERE place <= 200
