-- Who keeps each source: the referrers that name it, and those that cannot be read and could name any source.
-- Grain: one row a source. Reads source_states, source_referrers. Rules: R4, R6.
CREATE VIEW source_keepers AS
WITH named AS (
    SELECT
        source_id,
        list_sort(list(path)) AS paths
    FROM source_referrers
    WHERE source_id IS NOT NULL
    GROUP BY source_id
),

unread AS (
    -- Said of every source: ten are enough to see why, and audience_violations lists all.
    SELECT coalesce(list_sort(list(path))[:10], []) AS paths
    FROM source_referrers
    WHERE source_id IS NULL
)

SELECT
    states.source_id,
    list_concat(coalesce(named.paths, []), unread.paths) AS referenced_by,
    CASE
        WHEN named.source_id IS NOT NULL THEN 'active referrers name it'
        ELSE 'what cannot be read might: ' || unread.paths[1]
    END AS keeping
FROM source_states AS states
CROSS JOIN unread
LEFT JOIN named ON states.source_id = named.source_id
