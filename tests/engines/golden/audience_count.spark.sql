WITH available_interactions AS (
  SELECT
    interactions.event_id AS event_id,
    interactions.event_type AS event_type,
    interactions.occurred_at AS occurred_at,
    interactions.user_id AS user_id,
    interactions.external_user_id AS external_user_id,
    interactions.source_id AS source_id,
    interactions.source_kind AS source_kind,
    interactions.canvas_step_id AS canvas_step_id,
    interactions.variant_id AS variant_id,
    interactions.channel AS channel,
    interactions.interaction AS interaction,
    interactions.link_alias AS link_alias,
    interactions.machine_open AS machine_open,
    interactions.conversion_index AS conversion_index,
    interactions.keyword_category AS keyword_category,
    interactions.dispatch_id AS dispatch_id,
    interactions.send_id AS send_id,
    interactions.is_suspected_bot_click AS is_suspected_bot_click
  FROM `lake`.`messaging`.`interactions` VERSION AS OF 7 AS interactions
  WHERE
    interactions.source_id IN (:available_interactions_source_ids_1, :available_interactions_source_ids_2)
), interaction_flags AS (
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
  FROM `lake`.`messaging`.`users` VERSION AS OF 6 AS users
  LEFT JOIN interaction_flags AS interaction_flags
    ON users.user_id = interaction_flags.user_id
)
SELECT
  COUNT(*) AS user_count
FROM (
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
