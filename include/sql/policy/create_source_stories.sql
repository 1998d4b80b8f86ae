-- What a reason says of a source's clock, and the dates that it names.
-- Grain: one row a source of source_states. Reads source_states.
CREATE VIEW source_stories AS
WITH dates AS (
    SELECT
        source_id,
        strftime(created_at AT TIME ZONE 'UTC', '%Y-%m-%d') AS created_date,
        strftime(stopped_at AT TIME ZONE 'UTC', '%Y-%m-%d') AS stopped_date,
        strftime(last_sent_at AT TIME ZONE 'UTC', '%Y-%m-%d') AS last_sent_date,
        strftime(last_restored_at AT TIME ZONE 'UTC', '%Y-%m-%d') AS last_restored_date,
        strftime(vanished_at AT TIME ZONE 'UTC', '%Y-%m-%d') AS vanished_date,
        -- Where it started the clock (R24).
        CASE
            WHEN created_at > greatest(stopped_at, last_sent_at, last_restored_at, vanished_at)
                THEN strftime(created_at AT TIME ZONE 'UTC', '%Y-%m-%d')
        END AS later_created_date,
        strftime(since AT TIME ZONE 'UTC', '%Y-%m-%d') AS since_date,
        strftime(expires_at AT TIME ZONE 'UTC', '%Y-%m-%d') AS expiry_date
    FROM source_states
)

SELECT
    source_id,
    since_date,
    expiry_date,
    coalesce(' It is no longer in the platform, as of ' || vanished_date || '.', '') AS absence,
    CASE
        WHEN coalesce(stopped_date, last_sent_date, last_restored_date, vanished_date) IS NULL
            THEN 'created on ' || created_date || ', neither stopped nor sent'
        ELSE concat_ws(
            ', ',
            'stopped on ' || stopped_date,
            'last sent on ' || last_sent_date,
            'restored on ' || last_restored_date,
            'no longer in the platform as of ' || vanished_date,
            'created on ' || later_created_date
        )
    END AS story
FROM dates
