WITH
interaction_flags AS (
    SELECT
        user_id,
        bool_or(CASE WHEN seen.source_id = $v2 THEN interaction = $v3 END) AS interaction_1
    FROM available_interactions AS seen
    WHERE interaction IN ($v3) AND (seen.source_id IN ($v2))
    GROUP BY user_id
),
flagged AS (
    SELECT
        users.user_id,
        list_contains(users.feature_flags, $v1) AS profile_1,
        interaction_flags.interaction_1
    FROM users
    LEFT JOIN interaction_flags ON users.user_id = interaction_flags.user_id
),
perennial_layer_1 AS MATERIALIZED (
    SELECT
        *,
        profile_1 AS segment_1
    FROM flagged
),
perennial_layer_2 AS MATERIALIZED (
    SELECT
        *,
        (segment_1 OR NOT COALESCE(interaction_1, FALSE)) AS segment_2
    FROM perennial_layer_1
)
SELECT user_id FROM perennial_layer_2
WHERE segment_2
-- v1 = 'beta'
-- v2 = "it's spring"
-- v3 = 'received'
