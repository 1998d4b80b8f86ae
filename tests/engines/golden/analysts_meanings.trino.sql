WITH retention AS (
  SELECT
    CAST(:retention_months AS INTEGER) AS months
), absent_sources AS (
  WITH missed AS (
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
    FROM "lake"."messaging"."vanished_sources" FOR VERSION AS OF 19 AS vanished_sources
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
  FROM missed AS missed
  WHERE
    missed.place = 1
    AND NOT EXISTS(
      SELECT
        1 AS "1"
      FROM "lake"."messaging"."sources" FOR VERSION AS OF 1 AS sources
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
  FROM "lake"."messaging"."sources" FOR VERSION AS OF 1 AS sources
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
  WITH moves AS (
    SELECT
      lifecycle_events.source_id AS source_id,
      lifecycle_events.event AS event,
      lifecycle_events.occurred_at AS occurred_at,
      (
        COALESCE(lifecycle_events.recorded_at, lifecycle_events.occurred_at),
        lifecycle_events.occurred_at,
        lifecycle_events.event
      ) AS position
    FROM "lake"."messaging"."lifecycle_events" FOR VERSION AS OF 11 AS lifecycle_events
    WHERE
      lifecycle_events.event IN ('expired', 'restored')
  )
  SELECT
    moves.source_id AS source_id,
    MAX_BY(moves.event, moves.position) AS last_event,
    MAX_BY(moves.occurred_at, moves.position) AS last_moved_at,
    MAX(moves.occurred_at) FILTER(WHERE
      moves.event = 'restored') AS last_restored_at
  FROM moves AS moves
  GROUP BY
    moves.source_id
), source_states AS (
  WITH listed AS (
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
        THEN ARRAY_MAX(
          FILTER(
            ARRAY[listed.created_at, listed.stopped_at, listed.last_sent_at, source_moves.last_restored_at, listed.vanished_at],
            x -> NOT x IS NULL
          )
        )
      END AS clock_started_at
    FROM listed AS listed
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
          ARRAY[AT_TIMEZONE(
            WITH_TIMEZONE(
              CAST((
                DATE_ADD(
                  'month',
                  retention.months,
                  CAST(AT_TIMEZONE(clocks.clock_started_at, 'UTC') AS TIMESTAMP(6))
                )
              ) AS TIMESTAMP(6)),
              'UTC'
            ),
            'UTC'
          ), CAST('9999-12-31 00:00:00 UTC' AS TIMESTAMP WITH TIME ZONE)],
          x -> NOT x IS NULL
        )
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
  FROM "lake"."messaging"."interactions" FOR VERSION AS OF 7 AS interactions
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
  LEFT JOIN "lake"."messaging"."source_variants" FOR VERSION AS OF 3 AS variants
    ON interactions.variant_id = variants.variant_id
  WHERE
    interactions.source_kind = 'campaign'
)
SELECT
  DATE_DIFF(
    'minute',
    DATE_TRUNC('minute', CAST(campaign_interactions.occurred_at AS TIMESTAMP(6))),
    DATE_TRUNC('minute', CAST(CAST(:at AS TIMESTAMP(6) WITH TIME ZONE) AS TIMESTAMP(6)))
  ) AS minutes,
  DATE_DIFF(
    'week',
    CAST(campaign_interactions.occurred_at AS DATE),
    CAST(CAST(:at AS TIMESTAMP(6) WITH TIME ZONE) AS DATE)
  ) AS weeks,
  DATE_DIFF(
    'month',
    DATE_TRUNC('month', CAST(campaign_interactions.occurred_at AS DATE)),
    DATE_TRUNC('month', CAST(CAST(:at AS TIMESTAMP(6) WITH TIME ZONE) AS DATE))
  ) AS months,
  (
    DAY_OF_WEEK(CAST(campaign_interactions.occurred_at AS DATE)) % 7
  ) AS sunday_0,
  DAY_OF_WEEK(CAST(campaign_interactions.occurred_at AS DATE)) AS monday_1,
  DATE_FORMAT(CAST(campaign_interactions.occurred_at AS TIMESTAMP(6)), '%M') AS month_name,
  DATE_FORMAT(CAST(campaign_interactions.occurred_at AS TIMESTAMP(6)), '%W') AS day_name,
  CASE
    WHEN CAST(AT_TIMEZONE(
      AT_TIMEZONE(
        WITH_TIMEZONE(
          CAST(DATE_TRUNC(
            'DAY',
            CAST(AT_TIMEZONE(campaign_interactions.occurred_at, 'Europe/Berlin') AS TIMESTAMP(6))
          ) AS TIMESTAMP(6)),
          'Europe/Berlin'
        ),
        'UTC'
      ) + INTERVAL '1' HOUR,
      'Europe/Berlin'
    ) AS TIMESTAMP(6)) = CAST(DATE_TRUNC(
      'DAY',
      CAST(AT_TIMEZONE(campaign_interactions.occurred_at, 'Europe/Berlin') AS TIMESTAMP(6))
    ) AS TIMESTAMP(6))
    THEN AT_TIMEZONE(
      WITH_TIMEZONE(
        CAST(DATE_TRUNC(
          'DAY',
          CAST(AT_TIMEZONE(campaign_interactions.occurred_at, 'Europe/Berlin') AS TIMESTAMP(6))
        ) AS TIMESTAMP(6)),
        'Europe/Berlin'
      ),
      'UTC'
    ) + INTERVAL '1' HOUR
    ELSE AT_TIMEZONE(
      WITH_TIMEZONE(
        CAST(DATE_TRUNC(
          'DAY',
          CAST(AT_TIMEZONE(campaign_interactions.occurred_at, 'Europe/Berlin') AS TIMESTAMP(6))
        ) AS TIMESTAMP(6)),
        'Europe/Berlin'
      ),
      'UTC'
    )
  END AS began_at,
  CAST(CASE
    WHEN ABS((
      CAST(COUNT(*) AS DOUBLE) / 2
    ) % 1) = 0.5
    THEN 2 * ROUND(CAST((
      CAST(COUNT(*) AS DOUBLE) / 2
    ) AS DOUBLE) / 2)
    ELSE ROUND(CAST(COUNT(*) AS DOUBLE) / 2)
  END AS BIGINT) AS half,
  CAST(2.5 AS INTEGER) AS three,
  ARRAY_AGG(campaign_interactions.source_name ORDER BY campaign_interactions.event_id DESC) AS names,
  (
    CAST((
      CAST(ELEMENT_AT(
        ARRAY_SORT(
          ARRAY_AGG(campaign_interactions.conversion_index) FILTER(WHERE
            NOT campaign_interactions.conversion_index IS NULL)
        ),
        (
          CARDINALITY(
            ARRAY_AGG(campaign_interactions.conversion_index) FILTER(WHERE
              NOT campaign_interactions.conversion_index IS NULL)
          ) + 1
        ) / 2
      ) AS DOUBLE) + CAST(ELEMENT_AT(
        ARRAY_SORT(
          ARRAY_AGG(campaign_interactions.conversion_index) FILTER(WHERE
            NOT campaign_interactions.conversion_index IS NULL)
        ),
        CARDINALITY(
          ARRAY_AGG(campaign_interactions.conversion_index) FILTER(WHERE
            NOT campaign_interactions.conversion_index IS NULL)
        ) / 2 + 1
      ) AS DOUBLE)
    ) AS DOUBLE) / 2
  ) AS middle,
  FORMAT('%d', COUNT(*)) AS printed
FROM campaign_interactions AS campaign_interactions
WHERE
  campaign_interactions.source_name LIKE 'a\b%'
GROUP BY
  DATE_DIFF(
    'minute',
    DATE_TRUNC('minute', CAST(campaign_interactions.occurred_at AS TIMESTAMP(6))),
    DATE_TRUNC('minute', CAST(CAST(:at AS TIMESTAMP(6) WITH TIME ZONE) AS TIMESTAMP(6)))
  ),
  DATE_DIFF(
    'week',
    CAST(campaign_interactions.occurred_at AS DATE),
    CAST(CAST(:at AS TIMESTAMP(6) WITH TIME ZONE) AS DATE)
  ),
  DATE_DIFF(
    'month',
    DATE_TRUNC('month', CAST(campaign_interactions.occurred_at AS DATE)),
    DATE_TRUNC('month', CAST(CAST(:at AS TIMESTAMP(6) WITH TIME ZONE) AS DATE))
  ),
  (
    DAY_OF_WEEK(CAST(campaign_interactions.occurred_at AS DATE)) % 7
  ),
  DAY_OF_WEEK(CAST(campaign_interactions.occurred_at AS DATE)),
  DATE_FORMAT(CAST(campaign_interactions.occurred_at AS TIMESTAMP(6)), '%M'),
  DATE_FORMAT(CAST(campaign_interactions.occurred_at AS TIMESTAMP(6)), '%W'),
  CASE
    WHEN CAST(AT_TIMEZONE(
      AT_TIMEZONE(
        WITH_TIMEZONE(
          CAST(DATE_TRUNC(
            'DAY',
            CAST(AT_TIMEZONE(campaign_interactions.occurred_at, 'Europe/Berlin') AS TIMESTAMP(6))
          ) AS TIMESTAMP(6)),
          'Europe/Berlin'
        ),
        'UTC'
      ) + INTERVAL '1' HOUR,
      'Europe/Berlin'
    ) AS TIMESTAMP(6)) = CAST(DATE_TRUNC(
      'DAY',
      CAST(AT_TIMEZONE(campaign_interactions.occurred_at, 'Europe/Berlin') AS TIMESTAMP(6))
    ) AS TIMESTAMP(6))
    THEN AT_TIMEZONE(
      WITH_TIMEZONE(
        CAST(DATE_TRUNC(
          'DAY',
          CAST(AT_TIMEZONE(campaign_interactions.occurred_at, 'Europe/Berlin') AS TIMESTAMP(6))
        ) AS TIMESTAMP(6)),
        'Europe/Berlin'
      ),
      'UTC'
    ) + INTERVAL '1' HOUR
    ELSE AT_TIMEZONE(
      WITH_TIMEZONE(
        CAST(DATE_TRUNC(
          'DAY',
          CAST(AT_TIMEZONE(campaign_interactions.occurred_at, 'Europe/Berlin') AS TIMESTAMP(6))
        ) AS TIMESTAMP(6)),
        'Europe/Berlin'
      ),
      'UTC'
    )
  END,
  CAST(2.5 AS INTEGER)
-- at = '2026-06-01 04:00:00.000000 UTC'
-- retention_months = 3
