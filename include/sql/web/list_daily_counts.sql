-- How often each interaction with one source happened on each day.
-- Grain: one row a day and interaction, in order. Reads source_analytics. Binds: $source_id.
-- Rules: R15.
SELECT
    stat_date,
    interaction,
    sum(event_count)::BIGINT AS event_count
FROM source_analytics
WHERE source_id = $source_id
GROUP BY stat_date, interaction
ORDER BY stat_date, interaction
