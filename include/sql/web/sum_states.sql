-- How many sources there are in each state, and what is held of them.
-- Grain: one row a state. Reads listed_sources.
SELECT
    state,
    count(*) AS source_count,
    sum(hot_bytes)::BIGINT AS hot_bytes,
    sum(archived_bytes)::BIGINT AS archived_bytes
FROM listed_sources
GROUP BY state
