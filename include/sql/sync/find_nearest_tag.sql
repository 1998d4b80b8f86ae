-- The known tag that is spelled most like a text; none where all are quite different.
-- Grain: at most one row. Binds: $name. Reads known_source_tags.
WITH likenesses AS (
    SELECT DISTINCT
        tag,
        jaro_winkler_similarity(lower(tag), lower($name::VARCHAR)) AS likeness
    FROM known_source_tags
)

SELECT tag
FROM likenesses
WHERE likeness >= 0.85
ORDER BY likeness DESC, tag ASC
LIMIT 1
