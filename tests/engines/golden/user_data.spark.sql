WITH available_interactions AS (  -- as in audience.spark.sql
), contacts AS (
  SELECT
    available_interactions.user_id AS user_id,
    MAX_BY(
      available_interactions.variant_id,
      (available_interactions.occurred_at, available_interactions.variant_id)
    ) FILTER(WHERE
      NOT available_interactions.variant_id IS NULL) AS variant_id,
    MAX_BY(
      available_interactions.canvas_step_id,
      (available_interactions.occurred_at, available_interactions.canvas_step_id)
    ) FILTER(WHERE
      NOT available_interactions.canvas_step_id IS NULL) AS last_step_id,
    BOOL_OR(available_interactions.interaction = 'control') AS in_control,
    MAX(available_interactions.occurred_at) FILTER(WHERE
      available_interactions.interaction = 'entered') AS last_entered_at,
    COUNT(*) FILTER(WHERE
      available_interactions.interaction = 'entered') AS entered_count,
    MIN(available_interactions.occurred_at) FILTER(WHERE
      available_interactions.interaction = 'received') AS first_received_at,
    MAX(available_interactions.occurred_at) FILTER(WHERE
      available_interactions.interaction = 'received') AS last_received_at,
    COUNT(*) FILTER(WHERE
      available_interactions.interaction = 'received') AS received_count,
    BOOL_OR(
      available_interactions.interaction = 'opened'
      AND available_interactions.channel = 'email'
      AND NOT available_interactions.machine_open IS TRUE
    ) AS opened_email,
    BOOL_OR(
      available_interactions.interaction = 'opened'
      AND available_interactions.channel = 'email'
      AND available_interactions.machine_open
    ) AS machine_opened_email,
    BOOL_OR(
      available_interactions.interaction = 'opened'
      AND available_interactions.channel = 'push'
    ) AS opened_push,
    BOOL_OR(
      available_interactions.interaction = 'clicked'
      AND available_interactions.channel = 'email'
    ) AS clicked_email,
    BOOL_OR(
      available_interactions.interaction = 'clicked'
      AND available_interactions.channel = 'in_app_message'
    ) AS clicked_in_app_message,
    BOOL_OR(available_interactions.interaction = 'replied') AS replied,
    BOOL_OR(
      available_interactions.interaction = 'converted'
      AND available_interactions.conversion_index = 0
    ) AS converted,
    MAX(available_interactions.occurred_at) AS last_interaction_at
  FROM available_interactions AS available_interactions
  GROUP BY
    available_interactions.user_id
)
SELECT
  contacts.user_id AS user_id,
  contacts.variant_id AS variant_id,
  contacts.last_step_id AS last_step_id,
  contacts.in_control AS in_control,
  contacts.last_entered_at AS last_entered_at,
  contacts.entered_count AS entered_count,
  contacts.first_received_at AS first_received_at,
  contacts.last_received_at AS last_received_at,
  contacts.received_count AS received_count,
  contacts.opened_email AS opened_email,
  contacts.machine_opened_email AS machine_opened_email,
  contacts.opened_push AS opened_push,
  contacts.clicked_email AS clicked_email,
  contacts.clicked_in_app_message AS clicked_in_app_message,
  contacts.replied AS replied,
  contacts.converted AS converted,
  contacts.last_interaction_at AS last_interaction_at,
  NOT users.user_id IS NULL AS has_profile,
  users.external_user_id AS external_user_id,
  users.email AS email,
  users.phone AS phone,
  users.first_name AS first_name,
  users.last_name AS last_name,
  users.country AS country,
  users.language AS language,
  users.time_zone AS time_zone,
  COALESCE(variants.name, contacts.variant_id) AS variation_name,
  COALESCE(steps.name, contacts.last_step_id) AS last_step_name
FROM contacts AS contacts
LEFT JOIN `lake`.`messaging`.`users` VERSION AS OF 2009 AS users
  ON contacts.user_id = users.user_id
LEFT JOIN `lake`.`messaging`.`source_variants` VERSION AS OF 6371 AS variants
  ON contacts.variant_id = variants.variant_id
LEFT JOIN `lake`.`messaging`.`canvas_steps` VERSION AS OF 9181 AS steps
  ON contacts.last_step_id = steps.step_id
-- available_interactions_source_ids_1 = "it's spring"
-- available_interactions_source_ids_2 = 'journey'
