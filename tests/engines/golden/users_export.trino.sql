WITH absent_sources AS (  -- as in views.trino.sql
), known_sources AS (  -- as in views.trino.sql
), available_interactions AS (
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
  FROM "lake"."messaging"."interactions" FOR VERSION AS OF 8317 AS interactions
  WHERE
    NOT interactions.source_id IN (:available_interactions_hidden_ids_1)
), asked_users AS (
  SELECT DISTINCT
    users.user_id AS user_id
  FROM "lake"."messaging"."users" FOR VERSION AS OF 2009 AS users
  WHERE
    users.user_id IN (:asked_users_user_ids_1, :asked_users_user_ids_2) OR FALSE
), source_names AS (
  SELECT
    known_sources.source_id AS source_id,
    MAX(known_sources.name) AS name
  FROM known_sources AS known_sources
  GROUP BY
    known_sources.source_id
), received AS (
  SELECT
    seen.user_id AS user_id,
    seen.source_kind AS source_kind,
    seen.source_id AS source_id,
    seen.canvas_step_id AS step_id,
    seen.variant_id AS variant_id,
    CAST(CAST(ROUND(
      TO_UNIXTIME(MAX(seen.occurred_at) FILTER(WHERE
        seen.interaction = 'received')) * 1000000
    ) AS BIGINT) AS BIGINT) AS received_us,
    CAST(CAST(ROUND(
      TO_UNIXTIME(MAX(seen.occurred_at) FILTER(WHERE
        seen.interaction = 'entered')) * 1000000
    ) AS BIGINT) AS BIGINT) AS entered_us,
    CAST(CAST(ROUND(
      TO_UNIXTIME(MAX(seen.occurred_at) FILTER(WHERE
        seen.interaction = 'control')) * 1000000
    ) AS BIGINT) AS BIGINT) AS control_us,
    BOOL_OR(
      seen.interaction = 'opened'
      AND seen.channel = 'email'
      AND NOT COALESCE(seen.machine_open, FALSE)
    ) AS opened_email,
    BOOL_OR(seen.interaction = 'opened' AND seen.channel = 'push') AS opened_push,
    BOOL_OR(seen.interaction = 'clicked' AND seen.channel = 'email') AS clicked_email,
    BOOL_OR(seen.interaction = 'clicked' AND seen.channel = 'in_app_message') AS clicked_in_app_message,
    BOOL_OR(seen.interaction = 'converted' AND seen.conversion_index = 0) AS converted
  FROM available_interactions AS seen
  WHERE
    seen.user_id IN (
      SELECT
        asked_users.user_id AS user_id
      FROM asked_users AS asked_users
    )
    AND seen.source_kind IN (:kinds_1, :kinds_2)
  GROUP BY
    seen.user_id,
    seen.source_kind,
    seen.source_id,
    seen.canvas_step_id,
    seen.variant_id
)
SELECT
  received.user_id AS user_id,
  received.source_kind AS source_kind,
  received.source_id AS source_id,
  received.step_id AS step_id,
  received.variant_id AS variant_id,
  received.received_us AS received_us,
  received.entered_us AS entered_us,
  received.control_us AS control_us,
  received.opened_email AS opened_email,
  received.opened_push AS opened_push,
  received.clicked_email AS clicked_email,
  received.clicked_in_app_message AS clicked_in_app_message,
  received.converted AS converted,
  COALESCE(source_names.name, received.source_id) AS source_name,
  COALESCE(canvas_steps.name, received.step_id) AS step_name,
  source_variants.name AS variant_name,
  CAST(NULL AS VARCHAR) AS external_user_id,
  CAST(NULL AS VARCHAR) AS email,
  CAST(NULL AS VARCHAR) AS phone,
  CAST(NULL AS VARCHAR) AS first_name,
  CAST(NULL AS VARCHAR) AS last_name,
  CAST(NULL AS VARCHAR) AS country,
  CAST(NULL AS VARCHAR) AS language,
  CAST(NULL AS VARCHAR) AS time_zone,
  CAST(NULL AS TIMESTAMP WITH TIME ZONE) AS created_at,
  CAST(NULL AS VARCHAR) AS custom_attributes
FROM received AS received
LEFT JOIN source_names AS source_names
  ON received.source_id = source_names.source_id
LEFT JOIN "lake"."messaging"."canvas_steps" FOR VERSION AS OF 9181 AS canvas_steps
  ON received.source_id = canvas_steps.source_id
  AND received.step_id = canvas_steps.step_id
LEFT JOIN "lake"."messaging"."source_variants" FOR VERSION AS OF 6371 AS source_variants
  ON received.source_id = source_variants.source_id
  AND received.variant_id = source_variants.variant_id
UNION ALL
SELECT
  users.user_id AS user_id,
  CAST(NULL AS VARCHAR) AS source_kind,
  CAST(NULL AS VARCHAR) AS source_id,
  CAST(NULL AS VARCHAR) AS step_id,
  CAST(NULL AS VARCHAR) AS variant_id,
  CAST(NULL AS BIGINT) AS received_us,
  CAST(NULL AS BIGINT) AS entered_us,
  CAST(NULL AS BIGINT) AS control_us,
  CAST(NULL AS BOOLEAN) AS opened_email,
  CAST(NULL AS BOOLEAN) AS opened_push,
  CAST(NULL AS BOOLEAN) AS clicked_email,
  CAST(NULL AS BOOLEAN) AS clicked_in_app_message,
  CAST(NULL AS BOOLEAN) AS converted,
  CAST(NULL AS VARCHAR) AS source_name,
  CAST(NULL AS VARCHAR) AS step_name,
  CAST(NULL AS VARCHAR) AS variant_name,
  users.external_user_id AS external_user_id,
  users.email AS email,
  users.phone AS phone,
  users.first_name AS first_name,
  users.last_name AS last_name,
  users.country AS country,
  users.language AS language,
  users.time_zone AS time_zone,
  users.created_at AS created_at,
  users.custom_attributes AS custom_attributes
FROM "lake"."messaging"."users" FOR VERSION AS OF 2009 AS users
WHERE
  users.user_id IN (
    SELECT
      asked_users.user_id AS user_id
    FROM asked_users AS asked_users
  )
ORDER BY
  user_id
-- asked_users_user_ids_1 = 'ann'
-- asked_users_user_ids_2 = 'bob'
-- available_interactions_hidden_ids_1 = 'old'
-- kinds_1 = 'campaign'
-- kinds_2 = 'canvas'
