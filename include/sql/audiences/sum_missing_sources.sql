-- How many sources lists of what users received leave out, and how much of them lies in long-term storage (R16).
-- Grain: one row a state. Binds: $kinds, $named_ids as in page_missing_sources.sql. Reads missing_sources.
SELECT
    state,
    count(*) AS source_count,
    sum(archived_rows)::BIGINT AS archived_rows
FROM missing_sources
WHERE
    kind IN (SELECT unnest($kinds::VARCHAR[]))
    AND source_id NOT IN (SELECT unnest($named_ids::VARCHAR[]))
GROUP BY state
ORDER BY state
