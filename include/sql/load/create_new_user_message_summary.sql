-- Purpose: the load's part of `user_message_summary` (R15: expiry never touches it), whether or not an event names a
-- source. An e-mail click with an alias counts twice: engaged, and clicked_alias.
-- Grain: user, measure, dimension.
CREATE TABLE new_user_message_summary AS
WITH measured AS (
    SELECT
        user_id,
        measure,
        CASE measure WHEN 'control' THEN source_kind WHEN 'sms_keyword' THEN action ELSE channel END AS dimension,
        occurred_at
    FROM fresh_events
    WHERE measure IS NOT NULL
    UNION ALL
    SELECT
        user_id,
        'clicked_alias' AS measure,
        link_alias AS dimension,
        occurred_at
    FROM fresh_events
    WHERE interaction = 'clicked' AND channel = 'email' AND link_alias IS NOT NULL
)

SELECT
    user_id,
    measure,
    dimension,
    max(occurred_at) AS last_at,
    count(*) AS event_count
FROM measured
WHERE dimension IS NOT NULL
GROUP BY user_id, measure, dimension
