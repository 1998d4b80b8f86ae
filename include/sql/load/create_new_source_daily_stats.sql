-- Purpose: the load's part of `source_daily_stats` (R15: expiry never touches it).
-- Grain: source, UTC day, interaction, channel.
CREATE TABLE new_source_daily_stats AS
SELECT
    source_id,
    cast(occurred_at AT TIME ZONE 'UTC' AS DATE) AS stat_date,
    interaction,
    channel,
    count(*) AS event_count
FROM new_interactions
GROUP BY source_id, stat_date, interaction, channel
