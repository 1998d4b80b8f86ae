-- The sources that tag filters look at: of those with a tag, the 200 that sent most recently.
-- Grain: one row a tag and source. In place of $tags stands one bind a tag, or a SELECT of the tags.
-- R5, R14: expired sources count among the 200, and are missing (R16); so do those that the platform has no longer.
WITH tagged AS (
    SELECT DISTINCT
        source_id,
        tag
    FROM known_source_tags
    WHERE tag IN ($tags)
)

SELECT
    tag,
    source_id
FROM (
    SELECT
        tagged.tag,
        known_sources.source_id,
        row_number() OVER (
            PARTITION BY tagged.tag
            ORDER BY known_sources.last_sent_at DESC NULLS LAST, known_sources.source_id ASC
        ) AS place
    FROM known_sources
    INNER JOIN tagged ON known_sources.source_id = tagged.source_id
) AS placed
WHERE place <= 200
