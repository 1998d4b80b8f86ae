-- Purpose: what each record means: its event type, its outcome (event, ignored or rejected), the reason of a rejection.
-- Grain: record. An empty id is an absent one. A type that is ignored is not looked at any further.
CREATE TABLE events AS
WITH typed AS (
    SELECT
        records.* REPLACE (
            coalesce(batch_files.event_type, nullif(records.event_type, '')) AS event_type,
            nullif(records.id, '') AS id,
            nullif(records.user_id, '') AS user_id,
            nullif(records.campaign_id, '') AS campaign_id,
            nullif(records.canvas_id, '') AS canvas_id,
            nullif(records.link_alias, '') AS link_alias,
            nullif(records.action, '') AS action
        ),
        records.reason IS NOT NULL AND records.event_type IS NULL AS unreadable
    FROM records
    INNER JOIN batch_files ON records.file_no = batch_files.file_no
),

explained AS (
    SELECT
        typed.*,
        types.interaction,
        types.channel,
        types.measure,
        types.source_kind,
        types.event_type IS NULL AND typed.event_type IS NOT NULL AND NOT typed.unreadable AS is_ignored,
        CASE
            WHEN typed.reason IS NOT NULL THEN typed.reason
            WHEN typed.event_type IS NULL THEN 'no event_type, neither in the path nor in the record'
            WHEN typed.id IS NULL THEN 'no id'
            WHEN typed.user_id IS NULL THEN 'no user_id'
            -- No request can be made for such an id, and a load must not fail for it.
            WHEN typed.event_type = 'users.UserDeleteRequest' AND regexp_matches(typed.user_id, '[\x00-\x1f\x7f]')
                THEN 'user_id has a control character; nobody is erased by it'
            WHEN typed.time IS NULL THEN 'no time'
            WHEN NOT (typed.time >= 0 AND typed.time < 253402300800)
                THEN 'time ' || typed.time || ' is outside the years 1970 to 9999; expected epoch seconds'
        END AS found_reason
    FROM typed
    LEFT JOIN event_types AS types ON typed.event_type = types.event_type
)

SELECT
    * EXCLUDE (reason, unreadable, is_ignored, found_reason, interaction, measure, source_kind),
    CASE WHEN NOT is_ignored THEN found_reason END AS reason,
    CASE WHEN is_ignored THEN 'ignored' WHEN found_reason IS NOT NULL THEN 'rejected' ELSE 'event' END AS outcome,
    CASE WHEN interaction = 'entered' AND in_control_group THEN 'control' ELSE interaction END AS interaction,
    CASE WHEN interaction = 'entered' AND in_control_group THEN 'control' ELSE measure END AS measure,
    CASE WHEN campaign_id IS NOT NULL THEN 'campaign' WHEN canvas_id IS NOT NULL THEN 'canvas' ELSE source_kind END
        AS source_kind,
    coalesce(campaign_id, canvas_id) AS source_id,
    CASE
        WHEN time >= 0 AND time < 253402300800 THEN make_timestamp(round(time * 1000000)::BIGINT) AT TIME ZONE 'UTC'
    END
        AS occurred_at
FROM explained
