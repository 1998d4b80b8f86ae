WITH absent_sources_missed AS (  -- as in views.spark.sql
), absent_sources AS (  -- as in views.spark.sql
), known_sources AS (  -- as in views.spark.sql
), known_source_tags AS (  -- as in views.spark.sql
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
  FROM `lake`.`messaging`.`interactions` VERSION AS OF 8317 AS interactions
  WHERE
    interactions.source_id IN (:available_interactions_source_ids_1, :available_interactions_source_ids_2)
), tagged AS (
  SELECT DISTINCT
    known_source_tags.source_id AS source_id,
    known_source_tags.tag AS tag
  FROM known_source_tags AS known_source_tags
  WHERE
    known_source_tags.tag IN (:v12)
), tag_sources AS (
  SELECT
    looked_at.source_id AS source_id,
    BOOL_OR(looked_at.tag = :v12) AS tag_1
  FROM (
    SELECT
      placed.tag AS tag,
      placed.source_id AS source_id
    FROM (
      SELECT
        tagged.tag AS tag,
        known_sources.source_id AS source_id,
        ROW_NUMBER() OVER (
          PARTITION BY tagged.tag
          ORDER BY known_sources.last_sent_at DESC, known_sources.source_id ASC NULLS LAST
        ) AS place
      FROM known_sources AS known_sources
      INNER JOIN tagged AS tagged
        ON known_sources.source_id = tagged.source_id
    ) AS placed
    WHERE
      placed.place <= 200
  ) AS looked_at
  GROUP BY
    looked_at.source_id
), interaction_flags AS (
  SELECT
    seen.user_id AS user_id,
    BOOL_OR(CASE WHEN seen.source_id = :v1 THEN seen.interaction = :v2 END) AS interaction_1,
    BOOL_OR(CASE WHEN seen.source_id = :v3 THEN seen.interaction = :v4 END) AS interaction_2,
    BOOL_OR(CASE WHEN seen.source_id = :v3 THEN seen.interaction = :v5 END) AS interaction_3,
    BOOL_OR(
      CASE
        WHEN seen.source_id = :v1
        THEN seen.interaction = :v6 AND seen.channel = :v7 AND NOT seen.machine_open IS TRUE
      END
    ) AS interaction_4,
    MAX(CASE WHEN tag_sources.tag_1 AND seen.interaction = :v2 THEN seen.occurred_at END) AS interaction_5
  FROM available_interactions AS seen
  LEFT JOIN tag_sources AS tag_sources
    ON seen.source_id = tag_sources.source_id
  WHERE
    seen.interaction IN (:v2, :v4, :v5, :v6)
    AND (
      seen.source_id IN (:v1, :v3) OR NOT tag_sources.source_id IS NULL
    )
  GROUP BY
    seen.user_id
), summary_flags AS (
  SELECT
    user_message_summary.user_id AS user_id,
    MAX(
      CASE
        WHEN user_message_summary.measure = :v2 AND user_message_summary.dimension = :v7
        THEN user_message_summary.last_at
      END
    ) AS summary_1,
    SUM(
      CASE
        WHEN user_message_summary.measure = :v10
        THEN user_message_summary.event_count
      END
    ) AS summary_2
  FROM `lake`.`messaging`.`user_message_summary` VERSION AS OF 7392 AS user_message_summary
  WHERE
    user_message_summary.measure IN (:v2, :v10)
  GROUP BY
    user_message_summary.user_id
), flagged AS (
  SELECT
    users.user_id AS user_id,
    interaction_flags.interaction_1 AS interaction_1,
    interaction_flags.interaction_2 AS interaction_2,
    interaction_flags.interaction_3 AS interaction_3,
    interaction_flags.interaction_4 AS interaction_4,
    interaction_flags.interaction_5 AS interaction_5,
    summary_flags.summary_1 AS summary_1,
    summary_flags.summary_2 AS summary_2
  FROM `lake`.`messaging`.`users` VERSION AS OF 2009 AS users
  LEFT JOIN interaction_flags AS interaction_flags
    ON users.user_id = interaction_flags.user_id
  LEFT JOIN summary_flags AS summary_flags
    ON users.user_id = summary_flags.user_id
)
SELECT
  flagged.user_id AS user_id
FROM flagged AS flagged
WHERE
  (
    (
      COALESCE(flagged.interaction_1, FALSE)
      AND (
        (
          COALESCE(flagged.interaction_3, FALSE)
          AND NOT COALESCE(flagged.interaction_2, FALSE)
        )
        AND COALESCE(flagged.interaction_4, FALSE)
      )
    )
    AND (
      COALESCE(flagged.interaction_5 > :v8, FALSE)
      AND (
        COALESCE(flagged.summary_1 < :v9, FALSE)
        AND (
          COALESCE(flagged.summary_2, 0) > :v11
        )
      )
    )
  )
-- available_interactions_source_ids_1 = "it's spring"
-- available_interactions_source_ids_2 = 'journey'
-- v1 = "it's spring"
-- v10 = 'viewed_news_feed'
-- v11 = 3
-- v12 = 'promo'
-- v2 = 'received'
-- v3 = 'journey'
-- v4 = 'control'
-- v5 = 'entered'
-- v6 = 'opened'
-- v7 = 'email'
-- v8 = datetime.datetime(2026, 5, 2, 4, 0, tzinfo=datetime.timezone.utc)
-- v9 = datetime.datetime(2026, 5, 1, 0, 0, tzinfo=datetime.timezone.utc)
