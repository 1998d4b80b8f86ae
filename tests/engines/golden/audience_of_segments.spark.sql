WITH available_interactions AS (  -- as in audience.spark.sql
), interaction_flags AS (
  SELECT
    seen.user_id AS user_id,
    BOOL_OR(CASE WHEN seen.source_id = :v2 THEN seen.interaction = :v3 END) AS interaction_1
  FROM available_interactions AS seen
  WHERE
    seen.interaction IN (:v3) AND (
      seen.source_id IN (:v2)
    )
  GROUP BY
    seen.user_id
), flagged AS (
  SELECT
    users.user_id AS user_id,
    ARRAY_CONTAINS(users.feature_flags, :v1) AS profile_1,
    interaction_flags.interaction_1 AS interaction_1
  FROM `lake`.`messaging`.`users` VERSION AS OF 2009 AS users
  LEFT JOIN interaction_flags AS interaction_flags
    ON users.user_id = interaction_flags.user_id
), perennial_layer_1 AS (
  SELECT
    flagged.user_id AS user_id,
    flagged.profile_1 AS profile_1,
    flagged.interaction_1 AS interaction_1,
    flagged.profile_1 AS segment_1
  FROM flagged AS flagged
), perennial_layer_2 AS (
  SELECT
    perennial_layer_1.user_id AS user_id,
    perennial_layer_1.profile_1 AS profile_1,
    perennial_layer_1.interaction_1 AS interaction_1,
    perennial_layer_1.segment_1 AS segment_1,
    (
      perennial_layer_1.segment_1
      OR NOT COALESCE(perennial_layer_1.interaction_1, FALSE)
    ) AS segment_2
  FROM perennial_layer_1 AS perennial_layer_1
)
SELECT
  perennial_layer_2.user_id AS user_id
FROM perennial_layer_2 AS perennial_layer_2
GROUP BY
  perennial_layer_2.user_id
HAVING
  BOOL_OR(perennial_layer_2.segment_2)
-- available_interactions_source_ids_1 = "it's spring"
-- available_interactions_source_ids_2 = 'journey'
-- v1 = 'beta'
-- v2 = "it's spring"
-- v3 = 'received'
