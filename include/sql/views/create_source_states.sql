-- State and clock of every source known (false: only moves know it). Active and deleted ones have no clock, times that
-- cannot be right are null. Reads known_sources, source_moves, retention. Rules: R2, R3, R8, R13, R18, R24.
CREATE VIEW source_states AS
WITH listed AS (
    -- Of a source that is listed twice, what keeps its data longest.
    SELECT
        source_id,
        max(kind) AS kind,
        max(name) AS name,
        CASE WHEN bool_or(status = 'active') THEN 'active' ELSE min(status) END AS status,
        max(created_at) FILTER (created_at >= TIMESTAMPTZ '2000-01-01 00:00:00 UTC') AS created_at,
        max(stopped_at) FILTER (stopped_at >= TIMESTAMPTZ '2000-01-01 00:00:00 UTC') AS stopped_at,
        max(last_sent_at) FILTER (last_sent_at >= TIMESTAMPTZ '2000-01-01 00:00:00 UTC') AS last_sent_at,
        max(interaction_data_deleted_at)
        FILTER (interaction_data_deleted_at BETWEEN TIMESTAMPTZ '2000-01-01 00:00:00 UTC' AND now()) AS deleted_at,
        max(vanished_at) AS vanished_at
    FROM known_sources
    GROUP BY source_id
),

clocks AS (
    SELECT
        *,
        listed.source_id IS NOT NULL AS known,
        CASE
            WHEN deleted_at IS NOT NULL THEN 'deleted'
            WHEN last_event = 'expired' THEN 'expired'
            ELSE 'available'
        END AS state,
        CASE
            WHEN deleted_at IS NULL AND status <> 'active'
                THEN greatest(created_at, stopped_at, last_sent_at, last_restored_at, vanished_at)
        END AS clock_started_at
    FROM listed
    FULL OUTER JOIN source_moves USING (source_id)
)

SELECT
    source_id,
    known,
    kind,
    name,
    status,
    state,
    created_at,
    stopped_at,
    last_sent_at,
    last_restored_at,
    vanished_at,
    CASE state WHEN 'deleted' THEN deleted_at ELSE coalesce(last_moved_at, created_at) END AS since,
    clock_started_at,
    -- Calendar months in UTC whatever the session's time zone; no later year than Python and Arrow know.
    CASE
        WHEN clock_started_at IS NOT NULL THEN least(
            (clock_started_at AT TIME ZONE 'UTC' + to_months(months)) AT TIME ZONE 'UTC',
            TIMESTAMPTZ '9999-12-31 00:00:00 UTC'
        )
    END AS expires_at
FROM clocks
CROSS JOIN retention
