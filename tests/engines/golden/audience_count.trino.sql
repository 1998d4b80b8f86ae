WITH available_interactions AS (  -- as in audience.trino.sql
)
SELECT
  COUNT(*) AS user_count
FROM (
  WITH interaction_flags AS (
    SELECT
      seen.user_id AS user_id,
      BOOL_OR(CASE WHEN seen.source_id = :v1 THEN seen.interaction = :v2 END) AS interaction_1
    FROM available_interactions AS seen
    WHERE
      seen.interaction IN (:v2) AND (
        seen.source_id IN (:v1)
      )
    GROUP BY
      seen.user_id
  ), flagged AS (
    SELECT
      users.user_id AS user_id,
      interaction_flags.interaction_1 AS interaction_1
    FROM "lake"."messaging"."users" FOR VERSION AS OF 2009 AS users
    LEFT JOIN interaction_flags AS interaction_flags
      ON users.user_id = interaction_flags.user_id
  )
  SELECT
    flagged.user_id AS user_id
  FROM flagged AS flagged
  WHERE
    COALESCE(flagged.interaction_1, FALSE)
) AS audience
-- available_interactions_source_ids_1 = "it's spring"
-- available_interactions_source_ids_2 = 'journey'
-- v1 = "it's spring"
-- v2 = 'received'
