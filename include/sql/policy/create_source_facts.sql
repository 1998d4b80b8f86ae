-- What a decision is made from, and the words its reason is made of.
-- Grain: one row a source the platform has.
-- Reads source_states, source_keepers, hot_totals (source_id, row_count), held_sources (source_id), retention.
CREATE VIEW source_facts AS
WITH dates AS (
    SELECT
        source_id,
        strftime(created_at AT TIME ZONE 'UTC', '%Y-%m-%d') AS created_date,
        strftime(stopped_at AT TIME ZONE 'UTC', '%Y-%m-%d') AS stopped_date,
        strftime(last_sent_at AT TIME ZONE 'UTC', '%Y-%m-%d') AS last_sent_date,
        strftime(last_restored_at AT TIME ZONE 'UTC', '%Y-%m-%d') AS last_restored_date,
        strftime(since AT TIME ZONE 'UTC', '%Y-%m-%d') AS since_date,
        strftime(expires_at AT TIME ZONE 'UTC', '%Y-%m-%d') AS expiry_date
    FROM source_states
)

SELECT
    states.source_id,
    states.kind,
    states.name,
    states.status,
    states.state,
    states.since,
    states.created_at,
    states.stopped_at,
    states.last_sent_at,
    states.last_restored_at,
    states.clock_started_at,
    states.expires_at,
    dates.since_date,
    dates.expiry_date,
    coalesce(hot_totals.row_count, 0) AS hot_rows,
    held_sources.source_id IS NOT NULL AS held,
    keepers.referenced_by,
    keepers.keeping,
    'the ' || retention.months || if(retention.months = 1, ' month', ' months') AS period,
    CASE
        WHEN coalesce(dates.stopped_date, dates.last_sent_date, dates.last_restored_date) IS NULL
            THEN 'created on ' || dates.created_date || ', neither stopped nor sent'
        ELSE concat_ws(
            ', ',
            'stopped on ' || dates.stopped_date,
            'last sent on ' || dates.last_sent_date,
            'restored on ' || dates.last_restored_date,
            CASE
                WHEN states.created_at > greatest(states.stopped_at, states.last_sent_at, states.last_restored_at)
                    THEN 'created on ' || dates.created_date
            END
        )
    END AS story
FROM source_states AS states
INNER JOIN dates ON states.source_id = dates.source_id
INNER JOIN source_keepers AS keepers ON states.source_id = keepers.source_id
CROSS JOIN retention
LEFT JOIN hot_totals ON states.source_id = hot_totals.source_id
LEFT JOIN held_sources ON states.source_id = held_sources.source_id
WHERE states.known
