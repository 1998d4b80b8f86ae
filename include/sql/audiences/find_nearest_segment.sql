-- The segment whose id or name is spelled most like a text; none where all are quite different.
-- Grain: at most one row. Binds: $name. Reads audiences.
WITH likenesses AS (
    SELECT
        owner_id,
        greatest(
            jaro_winkler_similarity(lower(owner_id), lower($name::VARCHAR)),
            jaro_winkler_similarity(lower(owner_name), lower($name::VARCHAR))
        ) AS likeness
    FROM audiences
    WHERE owner_kind = 'segment'
)

SELECT owner_id
FROM likenesses
WHERE likeness >= 0.85
ORDER BY likeness DESC, owner_id ASC
LIMIT 1
