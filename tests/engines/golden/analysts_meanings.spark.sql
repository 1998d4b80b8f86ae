WITH retention AS (
  SELECT
    CAST(:retention_months AS INT) AS months
), missed AS (
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
      ORDER BY vanished_sources.missed_at DESC, vanished_sources.run_id ASC NULLS LAST
    ) AS place
  FROM `lake`.`messaging`.`vanished_sources` VERSION AS OF 19 AS vanished_sources
), absent_sources AS (
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
  FROM missed AS missed
  WHERE
    missed.place = 1
    AND NOT EXISTS(
      SELECT
        1 AS `1`
      FROM `lake`.`messaging`.`sources` VERSION AS OF 1 AS sources
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
    CAST(NULL AS TIMESTAMP) AS vanished_at
  FROM `lake`.`messaging`.`sources` VERSION AS OF 1 AS sources
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
), moves AS (
  SELECT
    lifecycle_events.source_id AS source_id,
    lifecycle_events.event AS event,
    lifecycle_events.occurred_at AS occurred_at,
    (
      COALESCE(lifecycle_events.recorded_at, lifecycle_events.occurred_at),
      lifecycle_events.occurred_at,
      lifecycle_events.event
    ) AS position
  FROM `lake`.`messaging`.`lifecycle_events` VERSION AS OF 11 AS lifecycle_events
  WHERE
    lifecycle_events.event IN ('expired', 'restored')
), source_moves AS (
  SELECT
    moves.source_id AS source_id,
    MAX_BY(moves.event, moves.position) AS last_event,
    MAX_BY(moves.occurred_at, moves.position) AS last_moved_at,
    MAX(moves.occurred_at) FILTER(WHERE
      moves.event = 'restored') AS last_restored_at
  FROM moves AS moves
  GROUP BY
    moves.source_id
), listed AS (
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
      known_sources.created_at >= CAST('2000-01-01 00:00:00 UTC' AS TIMESTAMP)) AS created_at,
    MAX(known_sources.stopped_at) FILTER(WHERE
      known_sources.stopped_at >= CAST('2000-01-01 00:00:00 UTC' AS TIMESTAMP)) AS stopped_at,
    MAX(known_sources.last_sent_at) FILTER(WHERE
      known_sources.last_sent_at >= CAST('2000-01-01 00:00:00 UTC' AS TIMESTAMP)) AS last_sent_at,
    MAX(known_sources.interaction_data_deleted_at) FILTER(WHERE
      known_sources.interaction_data_deleted_at BETWEEN CAST('2000-01-01 00:00:00 UTC' AS TIMESTAMP) AND NOW()) AS deleted_at,
    MAX(known_sources.vanished_at) AS vanished_at
  FROM known_sources AS known_sources
  GROUP BY
    known_sources.source_id
), clocks AS (
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
      THEN GREATEST(
        listed.created_at,
        listed.stopped_at,
        listed.last_sent_at,
        source_moves.last_restored_at,
        listed.vanished_at
      )
    END AS clock_started_at
  FROM listed AS listed
  FULL OUTER JOIN source_moves AS source_moves
    ON listed.source_id = source_moves.source_id
), source_states AS (
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
      THEN LEAST(
        CAST((
          CAST(clocks.clock_started_at AS TIMESTAMP_NTZ) + MAKE_YM_INTERVAL(0, retention.months)
        ) AS TIMESTAMP),
        CAST('9999-12-31 00:00:00 UTC' AS TIMESTAMP)
      )
    END AS expires_at
  FROM clocks AS clocks
  CROSS JOIN retention AS retention
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
  FROM `lake`.`messaging`.`interactions` VERSION AS OF 7 AS interactions
  WHERE
    NOT EXISTS(
      SELECT
        1 AS `1`
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
  LEFT JOIN `lake`.`messaging`.`source_variants` VERSION AS OF 3 AS variants
    ON interactions.variant_id = variants.variant_id
  WHERE
    interactions.source_kind = 'campaign'
)
SELECT
  CAST((
    UNIX_MICROS(DATE_TRUNC('MINUTE', CAST(:at AS TIMESTAMP))) - UNIX_MICROS(DATE_TRUNC('MINUTE', CAST(campaign_interactions.occurred_at AS TIMESTAMP)))
  ) DIV 60000000 AS BIGINT) AS minutes,
  CAST(DATEDIFF(CAST(:at AS DATE), CAST(campaign_interactions.occurred_at AS DATE)) DIV 7 AS BIGINT) AS weeks,
  CAST((
    (
      YEAR(CAST(:at AS DATE)) * 12 + MONTH(CAST(:at AS DATE))
    ) - (
      YEAR(CAST(campaign_interactions.occurred_at AS DATE)) * 12 + MONTH(CAST(campaign_interactions.occurred_at AS DATE))
    )
  ) AS BIGINT) AS months,
  (
    DAYOFWEEK(CAST(campaign_interactions.occurred_at AS DATE)) - 1
  ) AS sunday_0,
  (
    (
      DAYOFWEEK(CAST(campaign_interactions.occurred_at AS DATE)) + 5
    ) % 7 + 1
  ) AS monday_1,
  DATE_FORMAT(campaign_interactions.occurred_at, 'MMMM') AS month_name,
  DATE_FORMAT(campaign_interactions.occurred_at, 'EEEE') AS day_name,
  CASE
    WHEN CAST(FROM_UTC_TIMESTAMP(
      TO_UTC_TIMESTAMP(
        CAST(DATE_TRUNC(
          'DAY',
          CAST(FROM_UTC_TIMESTAMP(campaign_interactions.occurred_at, 'Europe/Berlin') AS TIMESTAMP_NTZ)
        ) AS TIMESTAMP),
        'Europe/Berlin'
      ) + INTERVAL '1' HOUR,
      'Europe/Berlin'
    ) AS TIMESTAMP_NTZ) = CAST(DATE_TRUNC(
      'DAY',
      CAST(FROM_UTC_TIMESTAMP(campaign_interactions.occurred_at, 'Europe/Berlin') AS TIMESTAMP_NTZ)
    ) AS TIMESTAMP_NTZ)
    THEN TO_UTC_TIMESTAMP(
      CAST(DATE_TRUNC(
        'DAY',
        CAST(FROM_UTC_TIMESTAMP(campaign_interactions.occurred_at, 'Europe/Berlin') AS TIMESTAMP_NTZ)
      ) AS TIMESTAMP),
      'Europe/Berlin'
    ) + INTERVAL '1' HOUR
    ELSE TO_UTC_TIMESTAMP(
      CAST(DATE_TRUNC(
        'DAY',
        CAST(FROM_UTC_TIMESTAMP(campaign_interactions.occurred_at, 'Europe/Berlin') AS TIMESTAMP_NTZ)
      ) AS TIMESTAMP),
      'Europe/Berlin'
    )
  END AS began_at,
  CAST(CASE
    WHEN ABS((
      COUNT(*) / 2
    ) % 1) = 0.5
    THEN 2 * ROUND((
      COUNT(*) / 2
    ) / 2)
    ELSE ROUND(COUNT(*) / 2)
  END AS BIGINT) AS half,
  CAST(ROUND(2.5) AS INT) AS three,
  TRANSFORM(
    SORT_ARRAY(
      CASE
        WHEN SIZE(
          COLLECT_LIST(
            NAMED_STRUCT(
              'n0',
              (
                NOT (
                  campaign_interactions.event_id IS NULL
                )
              ),
              'k0',
              campaign_interactions.event_id,
              'v',
              campaign_interactions.source_name
            )
          )
        ) > 0
        THEN COLLECT_LIST(
          NAMED_STRUCT(
            'n0',
            (
              NOT (
                campaign_interactions.event_id IS NULL
              )
            ),
            'k0',
            campaign_interactions.event_id,
            'v',
            campaign_interactions.source_name
          )
        )
      END,
      FALSE
    ),
    x -> x.v
  ) AS names,
  MEDIAN(campaign_interactions.conversion_index) AS middle,
  PRINTF('%d', COUNT(*)) AS printed
FROM campaign_interactions AS campaign_interactions
WHERE
  campaign_interactions.source_name LIKE 'a\\\\b%'
GROUP BY
  CAST((
    UNIX_MICROS(DATE_TRUNC('MINUTE', CAST(:at AS TIMESTAMP))) - UNIX_MICROS(DATE_TRUNC('MINUTE', CAST(campaign_interactions.occurred_at AS TIMESTAMP)))
  ) DIV 60000000 AS BIGINT),
  CAST(DATEDIFF(CAST(:at AS DATE), CAST(campaign_interactions.occurred_at AS DATE)) DIV 7 AS BIGINT),
  CAST((
    (
      YEAR(CAST(:at AS DATE)) * 12 + MONTH(CAST(:at AS DATE))
    ) - (
      YEAR(CAST(campaign_interactions.occurred_at AS DATE)) * 12 + MONTH(CAST(campaign_interactions.occurred_at AS DATE))
    )
  ) AS BIGINT),
  (
    DAYOFWEEK(CAST(campaign_interactions.occurred_at AS DATE)) - 1
  ),
  (
    (
      DAYOFWEEK(CAST(campaign_interactions.occurred_at AS DATE)) + 5
    ) % 7 + 1
  ),
  DATE_FORMAT(campaign_interactions.occurred_at, 'MMMM'),
  DATE_FORMAT(campaign_interactions.occurred_at, 'EEEE'),
  CASE
    WHEN CAST(FROM_UTC_TIMESTAMP(
      TO_UTC_TIMESTAMP(
        CAST(DATE_TRUNC(
          'DAY',
          CAST(FROM_UTC_TIMESTAMP(campaign_interactions.occurred_at, 'Europe/Berlin') AS TIMESTAMP_NTZ)
        ) AS TIMESTAMP),
        'Europe/Berlin'
      ) + INTERVAL '1' HOUR,
      'Europe/Berlin'
    ) AS TIMESTAMP_NTZ) = CAST(DATE_TRUNC(
      'DAY',
      CAST(FROM_UTC_TIMESTAMP(campaign_interactions.occurred_at, 'Europe/Berlin') AS TIMESTAMP_NTZ)
    ) AS TIMESTAMP_NTZ)
    THEN TO_UTC_TIMESTAMP(
      CAST(DATE_TRUNC(
        'DAY',
        CAST(FROM_UTC_TIMESTAMP(campaign_interactions.occurred_at, 'Europe/Berlin') AS TIMESTAMP_NTZ)
      ) AS TIMESTAMP),
      'Europe/Berlin'
    ) + INTERVAL '1' HOUR
    ELSE TO_UTC_TIMESTAMP(
      CAST(DATE_TRUNC(
        'DAY',
        CAST(FROM_UTC_TIMESTAMP(campaign_interactions.occurred_at, 'Europe/Berlin') AS TIMESTAMP_NTZ)
      ) AS TIMESTAMP),
      'Europe/Berlin'
    )
  END,
  CAST(ROUND(2.5) AS INT)
-- at = datetime.datetime(2026, 6, 1, 4, 0, tzinfo=datetime.timezone.utc)
-- retention_months = 3
