SELECT count(*) AS user_count FROM (
WITH
interaction_flags AS (
    SELECT
        user_id,
        bool_or(CASE WHEN seen.source_id = $v1 THEN interaction = $v2 END) AS interaction_1
    FROM available_interactions AS seen
    WHERE interaction IN ($v2) AND (seen.source_id IN ($v1))
    GROUP BY user_id
),
flagged AS (
    SELECT
        users.user_id,
        interaction_flags.interaction_1
    FROM users
    LEFT JOIN interaction_flags ON users.user_id = interaction_flags.user_id
)
SELECT user_id FROM flagged
WHERE COALESCE(interaction_1, FALSE)
) AS audience
-- v1 = "it's spring"
-- v2 = 'received'
