WITH source_totals AS (
  SELECT
    'interactions' AS table_name,
    interactions_partitions.source_id AS source_id,
    interactions_partitions.file_count AS file_count,
    interactions_partitions.row_count AS row_count,
    interactions_partitions.total_bytes AS total_bytes
  FROM (
    SELECT
      "partition".source_id AS source_id,
      file_count AS file_count,
      record_count AS row_count,
      total_size AS total_bytes
    FROM "lake"."messaging"."interactions$partitions"
  ) AS interactions_partitions
  UNION ALL
  SELECT
    'interactions_archive' AS table_name,
    interactions_archive_partitions.source_id AS source_id,
    interactions_archive_partitions.file_count AS file_count,
    interactions_archive_partitions.row_count AS row_count,
    interactions_archive_partitions.total_bytes AS total_bytes
  FROM (
    SELECT
      "partition".source_id AS source_id,
      file_count AS file_count,
      record_count AS row_count,
      total_size AS total_bytes
    FROM "lake"."messaging"."interactions_archive$partitions"
  ) AS interactions_archive_partitions
), retention AS (
  SELECT
    CAST(:retention_months AS INTEGER) AS months
), absent_sources AS (
  WITH absent_sources_missed AS (
    SELECT
      vanished_sources.source_id AS source_id,
      vanished_sources.kind AS kind,
      vanished_sources.name AS name,
      vanished_sources.status AS status,
      vanished_sources.created_at AS created_at,
      vanished_sources.stopped_at AS stopped_at,
      vanished_sources.last_sent_at AS last_sent_at,
      vanished_sources.owner_email AS owner_email,
      vanished_sources.interaction_data_deleted_at AS interaction_data_deleted_at,
      vanished_sources.tags AS tags,
      vanished_sources.missed_at AS missed_at,
      vanished_sources.run_id AS run_id,
      ROW_NUMBER() OVER (
        PARTITION BY vanished_sources.source_id
        ORDER BY vanished_sources.missed_at DESC, vanished_sources.run_id ASC
      ) AS place
    FROM "lake"."messaging"."vanished_sources" FOR VERSION AS OF 1455 AS vanished_sources
  )
  SELECT
    missed.source_id AS source_id,
    COALESCE(missed.kind, 'source') AS kind,
    COALESCE(missed.name, missed.source_id) AS name,
    CASE missed.status
      WHEN 'draft'
      THEN 'draft'
      WHEN 'archived'
      THEN 'archived'
      ELSE 'stopped'
    END AS status,
    COALESCE(missed.created_at, missed.missed_at) AS created_at,
    missed.stopped_at AS stopped_at,
    missed.last_sent_at AS last_sent_at,
    missed.owner_email AS owner_email,
    missed.interaction_data_deleted_at AS interaction_data_deleted_at,
    missed.tags AS tags,
    missed.missed_at AS vanished_at
  FROM absent_sources_missed AS missed
  WHERE
    missed.place = 1
    AND NOT EXISTS(
      SELECT
        1 AS "1"
      FROM "lake"."messaging"."sources" FOR VERSION AS OF 6306 AS sources
      WHERE
        sources.source_id = missed.source_id
    )
), known_sources AS (
  SELECT
    sources.source_id AS source_id,
    sources.kind AS kind,
    sources.name AS name,
    sources.status AS status,
    sources.created_at AS created_at,
    sources.stopped_at AS stopped_at,
    sources.last_sent_at AS last_sent_at,
    sources.owner_email AS owner_email,
    sources.interaction_data_deleted_at AS interaction_data_deleted_at,
    CAST(NULL AS TIMESTAMP WITH TIME ZONE) AS vanished_at
  FROM "lake"."messaging"."sources" FOR VERSION AS OF 6306 AS sources
  UNION ALL
  SELECT
    absent_sources.source_id AS source_id,
    absent_sources.kind AS kind,
    absent_sources.name AS name,
    absent_sources.status AS status,
    absent_sources.created_at AS created_at,
    absent_sources.stopped_at AS stopped_at,
    absent_sources.last_sent_at AS last_sent_at,
    absent_sources.owner_email AS owner_email,
    absent_sources.interaction_data_deleted_at AS interaction_data_deleted_at,
    absent_sources.vanished_at AS vanished_at
  FROM absent_sources AS absent_sources
), source_moves AS (
  WITH source_moves_moves AS (
    SELECT
      lifecycle_events.source_id AS source_id,
      lifecycle_events.event AS event,
      lifecycle_events.occurred_at AS occurred_at,
      (
        COALESCE(lifecycle_events.recorded_at, lifecycle_events.occurred_at),
        lifecycle_events.occurred_at,
        lifecycle_events.event
      ) AS position
    FROM "lake"."messaging"."lifecycle_events" FOR VERSION AS OF 8961 AS lifecycle_events
    WHERE
      lifecycle_events.event IN ('expired', 'restored')
  )
  SELECT
    moves.source_id AS source_id,
    MAX_BY(moves.event, moves.position) FILTER(WHERE
      NOT moves.event IS NULL) AS last_event,
    MAX_BY(moves.occurred_at, moves.position) FILTER(WHERE
      NOT moves.occurred_at IS NULL) AS last_moved_at,
    MAX(moves.occurred_at) FILTER(WHERE
      moves.event = 'restored') AS last_restored_at
  FROM source_moves_moves AS moves
  GROUP BY
    moves.source_id
), source_states AS (
  WITH source_states_listed AS (
    SELECT
      known_sources.source_id AS source_id,
      MAX(known_sources.kind) AS kind,
      MAX(known_sources.name) AS name,
      CASE
        WHEN BOOL_OR(known_sources.status = 'active')
        THEN 'active'
        ELSE MIN(known_sources.status)
      END AS status,
      MAX(known_sources.created_at) FILTER(WHERE
        known_sources.created_at >= CAST('2000-01-01 00:00:00 UTC' AS TIMESTAMP WITH TIME ZONE)) AS created_at,
      MAX(known_sources.stopped_at) FILTER(WHERE
        known_sources.stopped_at >= CAST('2000-01-01 00:00:00 UTC' AS TIMESTAMP WITH TIME ZONE)) AS stopped_at,
      MAX(known_sources.last_sent_at) FILTER(WHERE
        known_sources.last_sent_at >= CAST('2000-01-01 00:00:00 UTC' AS TIMESTAMP WITH TIME ZONE)) AS last_sent_at,
      MAX(known_sources.interaction_data_deleted_at) FILTER(WHERE
        known_sources.interaction_data_deleted_at BETWEEN CAST('2000-01-01 00:00:00 UTC' AS TIMESTAMP WITH TIME ZONE) AND NOW()) AS deleted_at,
      MAX(known_sources.vanished_at) AS vanished_at
    FROM known_sources AS known_sources
    GROUP BY
      known_sources.source_id
  ), source_states_clocks AS (
    SELECT
      COALESCE(listed.source_id, source_moves.source_id) AS source_id,
      listed.kind AS kind,
      listed.name AS name,
      listed.status AS status,
      listed.created_at AS created_at,
      listed.stopped_at AS stopped_at,
      listed.last_sent_at AS last_sent_at,
      listed.deleted_at AS deleted_at,
      listed.vanished_at AS vanished_at,
      source_moves.last_event AS last_event,
      source_moves.last_moved_at AS last_moved_at,
      source_moves.last_restored_at AS last_restored_at,
      NOT listed.source_id IS NULL AS known,
      CASE
        WHEN NOT listed.deleted_at IS NULL
        THEN 'deleted'
        WHEN source_moves.last_event = 'expired'
        THEN 'expired'
        ELSE 'available'
      END AS state,
      CASE
        WHEN listed.deleted_at IS NULL AND listed.status <> 'active'
        THEN ARRAY_MAX(
          FILTER(
            ARRAY[listed.created_at, listed.stopped_at, listed.last_sent_at, source_moves.last_restored_at, listed.vanished_at],
            x -> NOT x IS NULL
          )
        )
      END AS clock_started_at
    FROM source_states_listed AS listed
    FULL OUTER JOIN source_moves AS source_moves
      ON listed.source_id = source_moves.source_id
  )
  SELECT
    clocks.source_id AS source_id,
    clocks.known AS known,
    clocks.kind AS kind,
    clocks.name AS name,
    clocks.status AS status,
    clocks.state AS state,
    clocks.created_at AS created_at,
    clocks.stopped_at AS stopped_at,
    clocks.last_sent_at AS last_sent_at,
    clocks.last_restored_at AS last_restored_at,
    clocks.vanished_at AS vanished_at,
    CASE clocks.state
      WHEN 'deleted'
      THEN clocks.deleted_at
      ELSE COALESCE(clocks.last_moved_at, clocks.created_at)
    END AS since,
    clocks.clock_started_at AS clock_started_at,
    CASE
      WHEN NOT clocks.clock_started_at IS NULL
      THEN ARRAY_MIN(
        FILTER(
          ARRAY[(
            DATE_ADD('month', retention.months, clocks.clock_started_at)
          ), CAST('9999-12-31 00:00:00 UTC' AS TIMESTAMP WITH TIME ZONE)],
          x -> NOT x IS NULL
        )
      )
    END AS expires_at
  FROM source_states_clocks AS clocks
  CROSS JOIN retention AS retention
), known_source_tags AS (
  SELECT
    source_tags.source_id AS source_id,
    source_tags.tag AS tag
  FROM "lake"."messaging"."source_tags" FOR VERSION AS OF 7093 AS source_tags
  UNION
  SELECT
    absent_sources.source_id AS source_id,
    listed.tag AS tag
  FROM absent_sources AS absent_sources
  CROSS JOIN UNNEST(absent_sources.tags) AS listed(tag)
), source_availability AS (
  WITH source_availability_held AS (
    SELECT
      source_totals.source_id AS source_id,
      SUM(source_totals.row_count) FILTER(WHERE
        source_totals.table_name = 'interactions') AS hot_rows,
      SUM(source_totals.row_count) FILTER(WHERE
        source_totals.table_name = 'interactions_archive') AS archived_rows
    FROM source_totals AS source_totals
    GROUP BY
      source_totals.source_id
  )
  SELECT
    states.source_id AS source_id,
    states.kind AS kind,
    states.name AS name,
    states.status AS status,
    states.state AS state,
    states.since AS since,
    states.clock_started_at AS clock_started_at,
    states.expires_at AS expires_at,
    CAST(COALESCE(held.hot_rows, 0) AS BIGINT) AS hot_rows,
    CAST(COALESCE(held.archived_rows, 0) AS BIGINT) AS archived_rows,
    states.vanished_at AS vanished_at
  FROM source_states AS states
  LEFT JOIN source_availability_held AS held
    ON states.source_id = held.source_id
  WHERE
    states.known
), hidden_sources AS (
  SELECT
    source_states.source_id AS source_id,
    source_states.state AS state
  FROM source_states AS source_states
  WHERE
    source_states.state <> 'available'
    AND NOT (
      source_states.state = 'deleted' AND source_states.status = 'active'
    )
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
    NOT EXISTS(
      SELECT
        1 AS "1"
      FROM hidden_sources AS hidden
      WHERE
        hidden.source_id = interactions.source_id
    )
), campaign_interactions AS (
  SELECT
    interactions.event_id AS event_id,
    interactions.event_type AS event_type,
    interactions.occurred_at AS occurred_at,
    interactions.user_id AS user_id,
    interactions.external_user_id AS external_user_id,
    interactions.source_id AS source_id,
    known_sources.name AS source_name,
    interactions.variant_id AS variant_id,
    variants.name AS variation_name,
    interactions.channel AS channel,
    interactions.interaction AS interaction,
    interactions.link_alias AS link_alias,
    interactions.machine_open AS machine_open,
    interactions.conversion_index AS conversion_index,
    interactions.keyword_category AS keyword_category,
    interactions.dispatch_id AS dispatch_id,
    interactions.send_id AS send_id,
    interactions.is_suspected_bot_click AS is_suspected_bot_click
  FROM available_interactions AS interactions
  LEFT JOIN known_sources AS known_sources
    ON interactions.source_id = known_sources.source_id
  LEFT JOIN "lake"."messaging"."source_variants" FOR VERSION AS OF 6371 AS variants
    ON interactions.variant_id = variants.variant_id
  WHERE
    interactions.source_kind = 'campaign'
), canvas_interactions AS (
  SELECT
    interactions.event_id AS event_id,
    interactions.event_type AS event_type,
    interactions.occurred_at AS occurred_at,
    interactions.user_id AS user_id,
    interactions.external_user_id AS external_user_id,
    interactions.source_id AS source_id,
    known_sources.name AS source_name,
    interactions.canvas_step_id AS canvas_step_id,
    steps.name AS step_name,
    interactions.variant_id AS variant_id,
    variants.name AS variation_name,
    interactions.channel AS channel,
    interactions.interaction AS interaction,
    interactions.link_alias AS link_alias,
    interactions.machine_open AS machine_open,
    interactions.conversion_index AS conversion_index,
    interactions.keyword_category AS keyword_category,
    interactions.dispatch_id AS dispatch_id,
    interactions.send_id AS send_id,
    interactions.is_suspected_bot_click AS is_suspected_bot_click
  FROM available_interactions AS interactions
  LEFT JOIN known_sources AS known_sources
    ON interactions.source_id = known_sources.source_id
  LEFT JOIN "lake"."messaging"."source_variants" FOR VERSION AS OF 6371 AS variants
    ON interactions.variant_id = variants.variant_id
  LEFT JOIN "lake"."messaging"."canvas_steps" FOR VERSION AS OF 9181 AS steps
    ON interactions.canvas_step_id = steps.step_id
  WHERE
    interactions.source_kind = 'canvas'
), source_analytics AS (
  WITH source_analytics_counts AS (
    SELECT
      source_daily_stats.source_id AS source_id,
      source_daily_stats.stat_date AS stat_date,
      source_daily_stats.interaction AS interaction,
      source_daily_stats.channel AS channel,
      CAST(SUM(source_daily_stats.event_count) AS BIGINT) AS event_count
    FROM "lake"."messaging"."source_daily_stats" FOR VERSION AS OF 6398 AS source_daily_stats
    GROUP BY
      source_daily_stats.source_id,
      source_daily_stats.stat_date,
      source_daily_stats.interaction,
      source_daily_stats.channel
  )
  SELECT
    counts.source_id AS source_id,
    known_sources.kind AS kind,
    known_sources.name AS name,
    counts.stat_date AS stat_date,
    counts.interaction AS interaction,
    counts.channel AS channel,
    counts.event_count AS event_count
  FROM source_analytics_counts AS counts
  LEFT JOIN known_sources AS known_sources
    ON counts.source_id = known_sources.source_id
), user_message_summary_latest AS (
  SELECT
    user_message_summary.user_id AS user_id,
    user_message_summary.measure AS measure,
    user_message_summary.dimension AS dimension,
    MAX(user_message_summary.last_at) AS last_at,
    CAST(SUM(user_message_summary.event_count) AS BIGINT) AS event_count
  FROM "lake"."messaging"."user_message_summary" FOR VERSION AS OF 7392 AS user_message_summary
  GROUP BY
    user_message_summary.user_id,
    user_message_summary.measure,
    user_message_summary.dimension
)
SELECT
  1 AS one
FROM source_availability AS source_availability, known_source_tags AS known_source_tags, hidden_sources AS hidden_sources, available_interactions AS available_interactions, campaign_interactions AS campaign_interactions, canvas_interactions AS canvas_interactions, source_analytics AS source_analytics, user_message_summary_latest AS user_message_summary_latest
-- retention_months = 3
