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
), source_availability AS (
  WITH held AS (
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
  LEFT JOIN held AS held
    ON states.source_id = held.source_id
  WHERE
    states.known
)
SELECT
  source_availability.source_id AS source_id,
  source_availability.kind AS kind,
  source_availability.name AS name,
  source_availability.status AS status,
  source_availability.state AS state,
  source_availability.since AS since,
  source_availability.clock_started_at AS clock_started_at,
  source_availability.expires_at AS expires_at,
  source_availability.hot_rows AS hot_rows,
  source_availability.archived_rows AS archived_rows,
  source_availability.vanished_at AS vanished_at
FROM source_availability AS source_availability
-- retention_months = 3
