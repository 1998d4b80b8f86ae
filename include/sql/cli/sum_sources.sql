-- How many sources are where, and what they hold.
-- Grain: one row a state. Reads listed_sources.
SELECT
    state,
    count(*) AS sources,
    count(kept_by) AS kept,
    count(vanished_at) AS vanished,
    sum(hot_rows)::BIGINT AS hot_rows,
    sum(archived_rows)::BIGINT AS archived_rows
FROM listed_sources
GROUP BY state
ORDER BY state
