-- The known source whose id or name is spelled most like a text; none where all are quite different.
-- Grain: at most one row. Binds: $name. Reads known_sources.
WITH likenesses AS (
    SELECT
        source_id,
        greatest(
            jaro_winkler_similarity(lower(source_id), lower($name::VARCHAR)),
            jaro_winkler_similarity(lower(name), lower($name::VARCHAR))
        ) AS likeness
    FROM known_sources
)

SELECT source_id
FROM likenesses
WHERE likeness >= 0.85
ORDER BY likeness DESC, source_id ASC
LIMIT 1
