-- How often each interaction with a source happened on each day, from the counts that loads keep.
-- Grain: one row a source, day, interaction and channel. Reads source_daily_stats, known_sources; never interactions.
-- Rules: R15 (the same before an expiry, after it, and after a restore).
CREATE VIEW source_analytics AS
WITH counts AS (
    SELECT
        source_id,
        stat_date,
        interaction,
        channel,
        sum(event_count)::BIGINT AS event_count
    FROM source_daily_stats
    GROUP BY source_id, stat_date, interaction, channel
)

SELECT
    counts.source_id,
    known_sources.kind,
    known_sources.name,
    counts.stat_date,
    counts.interaction,
    counts.channel,
    counts.event_count
FROM counts
LEFT JOIN known_sources ON counts.source_id = known_sources.source_id
